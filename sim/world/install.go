package world

import (
	"context"
	"errors"
	"fmt"
	"time"

	meshpb "istio.io/api/mesh/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/identity"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/meshd"
)

const (
	systemNamespace = "istio-system"
	ingressGateway  = "istio-ingressgateway"
	meshdImage      = "windtunnel.dev/meshd"
	proxyImage      = "windtunnel.dev/meshproxy"
	controlPlane    = "istiod"
)

// injection is the injector's configuration, as the webhook would have it.
func injection(mesh *meshpb.MeshConfig) inject.Options {
	return inject.Options{ProxyImage: proxyImage}.Under(mesh)
}

// keyType: Ed25519 keys and signatures have one size, so that a handshake has
// the same shape on every run.
func (w *World) keyType() identity.KeyType { return identity.Ed25519 }

// installLimit is how long the mesh may take to come up, in the world's time.
const installLimit = 2 * time.Minute

// install brings up what every scenario starts from: the default namespace with
// injection enabled, the control plane and the ingress gateway.
func (w *World) install() error {
	ctx, cancel := context.WithTimeoutCause(w.ctx, installLimit, errors.New("the mesh was not up after "+installLimit.String()))
	defer cancel()
	objects := []*config.Object{
		object("Namespace", "", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: systemNamespace}}),
		object("Namespace", "", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default",
			Labels: map[string]string{"istio-injection": "enabled"}}}),
	}
	objects = append(objects, controlPlaneObjects()...)
	objects = append(objects, Given(w.o.Scenario)...)
	if err := w.cluster.Apply(ctx, objects); err != nil {
		return fmt.Errorf("start the control plane: %w", err)
	}
	var gateway []*config.Object
	for _, name := range gateways(w.o.Scenario) {
		for _, o := range inject.Gateway(inject.GatewayOptions{Name: name, Namespace: systemNamespace}, w.inject) {
			gateway = append(gateway, object(kindOf(o), groupOf(o), o))
		}
	}
	if err := w.cluster.Apply(ctx, gateway); err != nil {
		return fmt.Errorf("start the gateways: %w", err)
	}
	return w.settle(ctx)
}

func object(kind, group string, value metav1.Object) *config.Object {
	return &config.Object{Kind: kind, Group: group, Version: "v1", Namespace: value.GetNamespace(), Name: value.GetName(), Value: value}
}

// kindOf and groupOf say what an object that the installer made is.
func kindOf(o inject.Object) string { return o.GetObjectKind().GroupVersionKind().Kind }

func groupOf(o inject.Object) string { return o.GetObjectKind().GroupVersionKind().Group }

// controlPlaneObjects are istiod's Service and Deployment; its container is meshd.
func controlPlaneObjects() []*config.Object {
	meta := metav1.ObjectMeta{Name: controlPlane, Namespace: systemNamespace, Labels: map[string]string{"app": controlPlane}}
	service := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Selector: meta.Labels}}
	for _, p := range []struct {
		name string
		port int32
	}{{"grpc-xds", 15010}, {"https-dns", 15012}, {"http-monitoring", 15014}} {
		service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{
			Name: p.name, Port: p.port, TargetPort: intstr.FromInt32(p.port), Protocol: corev1.ProtocolTCP})
	}
	deployment := &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: meta.Labels},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": controlPlane, "sidecar.istio.io/inject": "false"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "discovery", Image: meshdImage}}},
		},
	}}
	return []*config.Object{object("Service", "", service), object("Deployment", "apps", deployment)}
}

func isMeshd(pod *corev1.Pod) bool {
	for _, c := range pod.Spec.Containers {
		if c.Image == meshdImage {
			return true
		}
	}
	return false
}

// startMeshd runs the control plane in its Pod.
func (w *World) startMeshd(ctx context.Context, n *node, c corev1.Container) error {
	mesh, err := w.meshConfig()
	if err != nil {
		return err
	}
	w.meshd, err = meshd.New(meshd.Options{
		Network:       n.host.Network(0, 0),
		Source:        w.store,
		MeshConfig:    mesh,
		CA:            w.ca,
		Authenticator: identity.AnyOf(w.tokens, identity.PeerAuthenticator{}),
		Seed:          w.o.Seed.Sub("meshd"),
		Logger:        w.o.Logger.With("pod", n.pod.Name),
		OnPush:        w.log.push,
	})
	if err != nil {
		return err
	}
	control := w.meshd
	w.metrics.add(n.pod, controlPlanePort, control.Stats())
	w.startDaemon(ctx, n, c, "control plane", control.Ready(), func(ctx context.Context) error {
		defer w.metrics.remove(n.pod)
		return control.Run(ctx)
	})
	return nil
}
