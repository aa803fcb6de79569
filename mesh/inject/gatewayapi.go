package inject

import (
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// The label by which what was made for a Gateway is told from what people made.
const (
	ManagedLabel = "gateway.istio.io/managed"
	ManagedValue = "istio.io-gateway-controller"
)

// serviceType is the annotation of a Gateway that chooses its Service's type.
const serviceType = "networking.istio.io/service-type"

// GatewayAPI makes what Istio's template for the Gateway API makes: the ServiceAccount,
// the Service and the Deployment of a Gateway, all called name. The Pods listen where
// the listeners say, and any port may be opened. Problems are those of its annotations,
// with paths from the Gateway.
func GatewayAPI(g *gatewayv1.Gateway, gateway, namespace, name string, o Options) ([]Object, Problems) {
	labels, annotations, _ := infrastructure(g)
	labels[config.GatewayNameLabel] = gateway
	labels["gateway.networking.k8s.io/gateway-class-name"] = string(g.Spec.GatewayClassName)
	labels[ManagedLabel] = ManagedValue
	options := GatewayOptions{
		Name: name, Namespace: namespace, Account: name, Labels: labels, Annotations: annotations,
		ServiceType: corev1.ServiceType(g.Annotations[serviceType]),
		Ports: []corev1.ServicePort{{Name: "status-port", Port: HealthPort, TargetPort: intstr.FromInt32(HealthPort),
			Protocol: corev1.ProtocolTCP}},
	}
	if options.ServiceType == "" {
		options.ServiceType = corev1.ServiceTypeLoadBalancer
	}
	known := map[int32]bool{HealthPort: true}
	for _, l := range g.Spec.Listeners {
		if known[l.Port] {
			continue
		}
		known[l.Port] = true
		protocol := strings.ToLower(string(l.Protocol))
		options.Ports = append(options.Ports, corev1.ServicePort{
			Name: string(l.Name), Port: l.Port, TargetPort: intstr.FromInt32(l.Port), Protocol: corev1.ProtocolTCP, AppProtocol: &protocol})
	}
	objects, problems := deployed(options, o)
	if len(problems) > 0 {
		return nil, ofGateway(g, problems)
	}
	// The other labels may change with the Gateway, and a Deployment's selector may not.
	selector := map[string]string{config.GatewayNameLabel: gateway}
	for _, made := range objects {
		switch made := made.(type) {
		case *corev1.Service:
			made.Spec.Selector = selector
		case *appsv1.Deployment:
			made.Spec.Selector = &metav1.LabelSelector{MatchLabels: selector}
			pod := &made.Spec.Template.Spec
			// Without container ports a new listener needs no new Pods.
			pod.Containers[0].Ports = nil
			openLowPorts(pod)
		}
	}
	return objects, nil
}

// notHandedOn are annotations of Gateways that are about the Gateway itself.
var notHandedOn = []string{corev1.LastAppliedConfigAnnotation, "gateway.istio.io/name-override", "gateway.istio.io/service-account",
	"gateway.istio.io/controller-version"}

// infrastructure are the labels and annotations of what is made for a Gateway: those of its
// spec.infrastructure, or, where that has none, the Gateway's own; at is the annotations'
// path.
func infrastructure(g *gatewayv1.Gateway) (labels, annotations map[string]string, at string) {
	labels, annotations, at = maps.Clone(g.Labels), maps.Clone(g.Annotations), annotationsPath
	if i := g.Spec.Infrastructure; i != nil && i.Labels != nil {
		labels = plain(i.Labels)
	}
	if i := g.Spec.Infrastructure; i != nil && i.Annotations != nil {
		annotations, at = plain(i.Annotations), "spec.infrastructure.annotations."
	}
	if labels == nil {
		labels = map[string]string{}
	}
	maps.DeleteFunc(annotations, func(key, _ string) bool { return slices.Contains(notHandedOn, key) })
	return labels, annotations, at
}

// plain are labels or annotations as Kubernetes' objects have them. The prefix of the
// Gateway API is the controller's.
func plain[K, V ~string](of map[K]V) map[string]string {
	all := make(map[string]string, len(of))
	for k, v := range of {
		if !strings.HasPrefix(string(k), "gateway.networking.k8s.io/") {
			all[string(k)] = string(v)
		}
	}
	return all
}

// ofGateway gives problems of a gateway's Pods their paths in the Gateway.
func ofGateway(g *gatewayv1.Gateway, problems Problems) Problems {
	_, _, at := infrastructure(g)
	for i := range problems {
		problems[i].Path = at + strings.TrimPrefix(problems[i].Path, annotationsPath)
	}
	return problems
}

// checkGateway finds what is wrong with the annotations of a Gateway for which proxies are
// made.
func checkGateway(object *config.Object, g *gatewayv1.Gateway, o Options) []config.Diagnostic {
	name, made := config.GatewayService(object.Name, g)
	if !made {
		return nil
	}
	_, problems := GatewayAPI(g, object.Name, object.Namespace, name, o)
	return problems.Place(object, "")
}
