package inject

import (
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
// the listeners say, and any port may be opened.
func GatewayAPI(gateway, namespace, name string, g *gatewayv1.Gateway, o Options) []Object {
	labels := map[string]string{
		config.GatewayNameLabel:                        gateway,
		"gateway.networking.k8s.io/gateway-class-name": string(g.Spec.GatewayClassName),
		ManagedLabel: ManagedValue,
	}
	if g.Spec.Infrastructure != nil {
		for k, v := range g.Spec.Infrastructure.Labels {
			labels[string(k)] = string(v)
		}
	}
	options := GatewayOptions{
		Name: name, Namespace: namespace, Account: name, Labels: labels,
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
	objects := Gateway(options, o)
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
	return objects
}
