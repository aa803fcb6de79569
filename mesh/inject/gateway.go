package inject

import (
	"fmt"
	"maps"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Object is a typed Kubernetes object with its kind filled in.
type Object interface {
	metav1.Object
	runtime.Object
}

// GatewayOptions for Gateway. The name "istio-ingressgateway" gives what Istio
// installs under it; "istio-egressgateway" likewise.
type GatewayOptions struct {
	Name      string
	Namespace string // istio-system
	// Labels select the gateway's Pods; by default app: NAME and istio: NAME without
	// "istio-", as Gateways select them.
	Labels map[string]string
	// Annotations are those of all that is made, the Pods included: they say how proxies are
	// configured.
	Annotations map[string]string
	Replicas    int32 // 1
	// Account is the Pods' ServiceAccount: NAME-service-account by default.
	Account string
	// ServiceType is LoadBalancer, and ClusterIP for names that end in "egressgateway".
	ServiceType corev1.ServiceType
	// Ports are 15021, http2 80 to 8080 and https 443 to 8443 by default, and tcp 31400
	// for names that end in "ingressgateway": Istio's demo profile has them.
	Ports []corev1.ServicePort
}

func (g *GatewayOptions) setDefaults() {
	if g.Namespace == "" {
		g.Namespace = "istio-system"
	}
	if g.Labels == nil {
		g.Labels = map[string]string{"app": g.Name, "istio": strings.TrimPrefix(g.Name, "istio-")}
	}
	if g.Account == "" {
		g.Account = g.Name + "-service-account"
	}
	if g.Replicas == 0 {
		g.Replicas = 1
	}
	if g.ServiceType == "" {
		g.ServiceType = corev1.ServiceTypeLoadBalancer
		if strings.HasSuffix(g.Name, "egressgateway") {
			g.ServiceType = corev1.ServiceTypeClusterIP
		}
	}
	if g.Ports == nil {
		type port struct {
			name       string
			number, to int32
		}
		ports := []port{{"status-port", HealthPort, HealthPort}, {"http2", 80, 8080}, {"https", 443, 8443}}
		if strings.HasSuffix(g.Name, "ingressgateway") {
			ports = append(ports, port{"tcp", 31400, 31400})
		}
		for _, p := range ports {
			g.Ports = append(g.Ports, corev1.ServicePort{Name: p.name, Port: p.number, TargetPort: intstr.FromInt32(p.to), Protocol: corev1.ProtocolTCP})
		}
	}
}

// Gateway makes a gateway's ServiceAccount, Service and Deployment. Its Pods are the
// proxy alone, of type router, and are not injected. It panics where deployed refuses:
// what is in the options is the program's, not a user's.
func Gateway(g GatewayOptions, o Options) []Object {
	objects, problems := deployed(g, o)
	if len(problems) > 0 {
		panic(problems)
	}
	return objects
}

// deployed makes a gateway's objects, unless there are problems with its annotations. It
// panics without a name and a proxy image.
func deployed(g GatewayOptions, o Options) ([]Object, Problems) {
	if g.Name == "" {
		panic("inject: a gateway without a name")
	}
	if err := o.setDefaults(); err != nil {
		panic(err)
	}
	g.setDefaults()
	meta := func() metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: g.Name, Namespace: g.Namespace, Labels: maps.Clone(g.Labels), Annotations: maps.Clone(g.Annotations)}
	}
	template, problems := g.template(&o)
	if len(problems) > 0 {
		return nil, problems
	}
	account := &corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}, ObjectMeta: meta()}
	account.Name = g.Account
	service := &corev1.Service{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: meta(),
		Spec: corev1.ServiceSpec{Type: g.ServiceType, Selector: maps.Clone(g.Labels), Ports: g.Ports},
	}
	deployment := &appsv1.Deployment{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: meta(),
		Spec: appsv1.DeploymentSpec{
			Replicas: &g.Replicas,
			Selector: &metav1.LabelSelector{MatchLabels: maps.Clone(g.Labels)},
			Template: template,
		},
	}
	return []Object{account, service, deployment}, nil
}

func (g *GatewayOptions) template(o *Options) (corev1.PodTemplateSpec, Problems) {
	w := workload{namespace: g.Namespace, name: g.Name, account: g.Account,
		owner: fmt.Sprintf("kubernetes://apis/apps/v1/namespaces/%s/deployments/%s", g.Namespace, g.Name)}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: maps.Clone(g.Labels), Annotations: maps.Clone(g.Annotations)}}
	pod.Labels = addLabels(pod.Labels, w)
	pod.Labels[injectKey] = "false"
	// A gateway's ports speak what its servers say: clients must not take them for a
	// sidecar's, which ends mutual TLS on all.
	delete(pod.Labels, tlsModeKey)
	s, problems := o.annotated(pod, g.Namespace)
	if len(problems) > 0 {
		return corev1.PodTemplateSpec{}, problems
	}
	proxy, err := o.proxy(bootstrapOf{"router", pod, w, s})
	if err != nil {
		panic(err) // the bootstrap is plain data
	}
	for _, p := range g.Ports {
		if target := p.TargetPort; target.Type == intstr.Int {
			number := target.IntVal
			if number == 0 {
				number = p.Port
			}
			proxy.Ports = append(proxy.Ports, corev1.ContainerPort{ContainerPort: number, Protocol: corev1.ProtocolTCP})
		}
	}
	return corev1.PodTemplateSpec{
		ObjectMeta: pod.ObjectMeta,
		Spec: corev1.PodSpec{
			ServiceAccountName: g.Account,
			Containers:         []corev1.Container{*proxy},
			Volumes:            volumes(),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsUser: pointer(ProxyUser), RunAsGroup: pointer(ProxyUser), RunAsNonRoot: pointer(true)},
		},
	}, nil
}
