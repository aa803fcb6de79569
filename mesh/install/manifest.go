package install

import (
	"bytes"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/incluster"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
)

// The names of the control plane in the cluster, which are Istio's: proxies, tools
// and people look for them.
const (
	controlPlane = "istiod"
	account      = "istiod"

	// componentLabel tells the installer's own objects from those that the control
	// plane makes: an upgrade removes the former where they are no longer wanted.
	componentLabel = "windtunnel.dev/component"
	component      = "install"
)

// Manifest returns all objects of an installation, in the order in which they are to
// be applied.
func Manifest(s Settings) ([]*unstructured.Unstructured, error) {
	mesh, err := s.Validate()
	if err != nil {
		return nil, err
	}
	values := []any{&corev1.Namespace{TypeMeta: kind("v1", "Namespace"), ObjectMeta: metav1.ObjectMeta{Name: s.Namespace}}}
	objects, err := convert(values)
	if err != nil {
		return nil, err
	}
	objects = append(objects, Definitions()...)
	values = append(s.permissions(),
		&corev1.ConfigMap{TypeMeta: kind("v1", "ConfigMap"), ObjectMeta: s.meta(incluster.MeshConfigMap), Data: map[string]string{"mesh": mesh}},
		s.service(), s.deployment(), s.disruption(controlPlane, map[string]string{"app": controlPlane}))
	for _, g := range []struct {
		name string
		Gateway
	}{{"istio-ingressgateway", s.IngressGateway}, {"istio-egressgateway", s.EgressGateway}} {
		if !g.Enabled {
			continue
		}
		made := inject.Gateway(inject.GatewayOptions{Name: g.name, Namespace: s.Namespace, Replicas: g.Replicas,
			ServiceType: corev1.ServiceType(g.ServiceType)}, s.Injection())
		for _, o := range made {
			values = append(values, o)
		}
		values = append(values, s.disruption(g.name, map[string]string{"app": g.name}))
	}
	values = append(values, s.mutating(), s.validating())
	more, err := convert(values)
	if err != nil {
		return nil, err
	}
	objects = append(objects, more...)
	for _, o := range objects {
		labels := o.GetLabels()
		if labels == nil {
			labels = make(map[string]string)
		}
		labels[kube.OwnerLabel], labels[componentLabel] = kube.OwnerValue, component
		o.SetLabels(labels)
	}
	return objects, nil
}

func convert(values []any) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for _, v := range values {
		o, err := kube.From(v)
		if err != nil {
			return nil, fmt.Errorf("%T: %w", v, err)
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// YAML writes objects as a stream that kubectl applies.
func YAML(objects []*unstructured.Unstructured) ([]byte, error) {
	var b bytes.Buffer
	for _, o := range objects {
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			return nil, err
		}
		b.WriteString("---\n")
		b.Write(text)
	}
	return b.Bytes(), nil
}

func kind(apiVersion, name string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: name}
}

func (s *Settings) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: s.Namespace, Labels: map[string]string{"app": controlPlane}}
}

func (s *Settings) image(name string) string { return s.Hub + "/" + name + ":" + s.Tag }

// Injection is what the webhook injects with; gateways are made by the same.
func (s *Settings) Injection() inject.Options {
	text, err := yaml.Marshal(s.MeshConfig)
	if err != nil { // it was YAML before
		panic(err)
	}
	mesh, _ := config.DecodeMeshConfig("meshConfig", 1, text) // Validate tells what is wrong with it
	return inject.Options{ProxyImage: s.image("meshproxy"), ImagePullPolicy: corev1.PullPolicy(s.ImagePullPolicy), SystemNamespace: s.Namespace}.Under(mesh)
}

// ports of the control plane: the Service's, and the containers' that they lead to.
var ports = []struct {
	name     string
	port, to int32
}{
	{"grpc-xds", 15010, 15010}, {"https-dns", 15012, 15012}, {"https-webhook", 443, 15017}, {"http-monitoring", 15014, 15014},
}

func (s *Settings) service() *corev1.Service {
	service := &corev1.Service{TypeMeta: kind("v1", "Service"), ObjectMeta: s.meta(controlPlane),
		Spec: corev1.ServiceSpec{Selector: map[string]string{"app": controlPlane}}}
	for _, p := range ports {
		service.Spec.Ports = append(service.Spec.Ports,
			corev1.ServicePort{Name: p.name, Port: p.port, TargetPort: intstr.FromInt32(p.to), Protocol: corev1.ProtocolTCP})
	}
	return service
}

func (s *Settings) deployment() *appsv1.Deployment {
	labels := map[string]string{"app": controlPlane}
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": controlPlane, "sidecar.istio.io/inject": "false"}},
		Spec: corev1.PodSpec{
			ServiceAccountName: account,
			Containers:         []corev1.Container{s.container()},
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: pointer(true), RunAsUser: pointer(inject.ProxyUser), RunAsGroup: pointer(inject.ProxyUser),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		},
	}
	return &appsv1.Deployment{TypeMeta: kind("apps/v1", "Deployment"), ObjectMeta: s.meta(controlPlane),
		Spec: appsv1.DeploymentSpec{
			Replicas: pointer(s.ControlPlane.Replicas),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			// A control plane is never away while another takes its place.
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: pointer(intstr.FromInt32(1)), MaxUnavailable: pointer(intstr.FromInt32(0))}},
			Template: template,
		}}
}

func (s *Settings) container() corev1.Container {
	c := corev1.Container{
		Name: "discovery", Image: s.image("meshd"), ImagePullPolicy: corev1.PullPolicy(s.ImagePullPolicy),
		Args: []string{"--in-cluster", "--namespace", s.Namespace, "--proxy-image", s.image("meshproxy"),
			"--proxy-image-pull-policy", s.ImagePullPolicy, "--log-level", s.ControlPlane.LogLevel},
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(s.ControlPlane.CPU), corev1.ResourceMemory: resource.MustParse(s.ControlPlane.Memory)}},
		// It is ready when it has read the cluster and every port is open. A process that
		// no longer answers is replaced: proxies keep what they have meanwhile.
		ReadinessProbe: ready(3, 3),
		StartupProbe:   ready(1, 120),
		LivenessProbe:  ready(10, 6),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: pointer(false), ReadOnlyRootFilesystem: pointer(true), RunAsNonRoot: pointer(true),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
	}
	for _, p := range ports {
		c.Ports = append(c.Ports, corev1.ContainerPort{ContainerPort: p.to, Protocol: corev1.ProtocolTCP})
	}
	return c
}

func ready(period, failures int32) *corev1.Probe {
	return &corev1.Probe{PeriodSeconds: period, FailureThreshold: failures, TimeoutSeconds: 5,
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromInt32(15014), Scheme: corev1.URISchemeHTTP}}}
}

// disruption keeps a drained node from taking more than one Pod at a time. It does
// not block the drain of a node that has the only one.
func (s *Settings) disruption(name string, labels map[string]string) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{TypeMeta: kind("policy/v1", "PodDisruptionBudget"),
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.Namespace, Labels: labels},
		Spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: pointer(intstr.FromInt32(1)),
			Selector: &metav1.LabelSelector{MatchLabels: labels}}}
}

func pointer[T any](v T) *T { return &v }
