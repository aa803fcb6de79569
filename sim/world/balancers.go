package world

import (
	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// gatewaysBehind are Istio's Gateways on the Pods of a Service that clients outside can
// reach: gateways that people deployed themselves.
func (w *World) gatewaysBehind(s *corev1.Service) []*networkingpb.Gateway {
	if len(s.Spec.Selector) == 0 || s.Spec.Type != corev1.ServiceTypeLoadBalancer && s.Spec.Type != corev1.ServiceTypeNodePort {
		return nil
	}
	var pod *corev1.Pod
	for _, o := range w.store.View().Of("Pod") {
		if p := o.Value.(*corev1.Pod); p.Namespace == s.Namespace && model.Selects(s.Spec.Selector, p.Labels) {
			pod = p
			break
		}
	}
	if pod == nil {
		return nil
	}
	var list []*networkingpb.Gateway
	for _, o := range w.store.View().Of("Gateway") {
		if g, ok := o.Value.(*networkingv1.Gateway); ok && len(g.Spec.GetSelector()) > 0 && model.Selects(g.Spec.GetSelector(), pod.Labels) {
			list = append(list, &g.Spec)
		}
	}
	return list
}

// ownBalancers are the Services of gateways that people deployed, with the rank that they
// have for a host and port.
func (w *World) ownBalancers(host string, port uint32) []loadBalancer {
	var list []loadBalancer
	for _, o := range w.store.View().Of("Service") {
		if o.Namespace == systemNamespace && o.Name == ingressGateway {
			continue
		}
		l := loadBalancer{namespace: o.Namespace, name: o.Name}
		for _, g := range w.gatewaysBehind(o.Value.(*corev1.Service)) {
			l.rank = max(l.rank, config.ServerRank(g, host, port))
		}
		if l.rank > 0 {
			list = append(list, l)
		}
	}
	return list
}
