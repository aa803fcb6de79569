package incluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/build"
)

// owns tells whether a reference is to an object.
func owns(u *unstructured.Unstructured) func(metav1.OwnerReference) bool {
	return func(r metav1.OwnerReference) bool { return r.UID == u.GetUID() }
}

// status tells a Gateway what became of it: that it is accepted, and whether it can be
// reached, and where.
func (g *gateways) status(ctx context.Context, now *unstructured.Unstructured, b basis, problem string) error {
	accepted := condition{"Accepted", true, string(gatewayv1.GatewayReasonAccepted), "the mesh serves this Gateway"}
	for _, l := range b.listeners {
		if !l.Accepted.Good() || !l.Resolved.Good() {
			accepted.reason, accepted.message = string(gatewayv1.GatewayReasonListenersNotValid), "the mesh serves this Gateway, but not all of its listeners: see their conditions"
		}
	}
	programmed := condition{kind: "Programmed", reason: string(gatewayv1.GatewayReasonPending)}
	var addresses []any
	var service *corev1.Service
	text := ""
	if b.service != nil {
		service, _ = b.service.Value.(*corev1.Service)
	}
	if service != nil {
		text = fmt.Sprintf("Service %s/%s", service.Namespace, service.Name)
	}
	switch {
	case problem != "":
		programmed.reason, programmed.message = string(gatewayv1.GatewayReasonInvalid), problem
	case service == nil:
		programmed.message = "its Service is not there yet"
	default:
		addresses = addressesOf(service)
		switch {
		case len(addresses) == 0:
			programmed.reason = string(gatewayv1.GatewayReasonAddressNotAssigned)
			programmed.message = text + " is of type LoadBalancer, and nobody has given it an address; the annotation networking.istio.io/service-type: ClusterIP on the Gateway makes one that needs none"
		case b.ready == 0:
			programmed.message = fmt.Sprintf("%s has %d Pods, of which none is ready", text, b.pods)
		default:
			programmed.is, programmed.reason = true, string(gatewayv1.GatewayReasonProgrammed)
			programmed.message = text + " has Pods that are ready"
		}
	}
	live, _ := now.Object["status"].(map[string]any)
	if addresses == nil {
		addresses = []any{}
	}
	return g.write(ctx, now, map[string]any{
		"conditions": stamped(now, live["conditions"], []condition{accepted, programmed}),
		"addresses":  addresses, "listeners": listenersStatus(now, live["listeners"], b.listeners),
	}, "")
}

// listenersStatus is what became of a Gateway's listeners.
func listenersStatus(gateway *unstructured.Unstructured, live any, listeners []build.Listener) []any {
	list := []any{}
	for _, l := range listeners {
		kinds := []any{}
		for _, k := range l.Kinds {
			kinds = append(kinds, map[string]any{"group": gatewayGroup, "kind": k})
		}
		// One that is not accepted is not opened, and neither is one that has no certificate.
		programmed := conditionOf("Programmed", build.Verdict{}, "the proxies have it")
		if l.Closed {
			programmed = condition{"Programmed", false, string(gatewayv1.ListenerReasonInvalid), "the proxies do not have it: see the other conditions"}
		}
		list = append(list, map[string]any{"name": l.Name, "attachedRoutes": int64(l.Attached), "supportedKinds": kinds,
			"conditions": stamped(gateway, named(live, "name", l.Name)["conditions"], []condition{
				conditionOf("Accepted", l.Accepted, "the protocol is served"),
				programmed,
				conditionOf("ResolvedRefs", l.Resolved, "certificates and kinds of routes are there"),
			})})
	}
	return list
}

// addressesOf are those by which a Service is reached: what a load balancer gave it, or
// its name in the cluster where it asks for none.
func addressesOf(s *corev1.Service) []any {
	address := func(kind gatewayv1.AddressType, value string) any {
		return map[string]any{"type": string(kind), "value": value}
	}
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return []any{address(gatewayv1.HostnameAddressType, s.Name+"."+s.Namespace+".svc.cluster.local")}
	}
	var list []any
	for _, in := range s.Status.LoadBalancer.Ingress {
		if in.IP != "" {
			list = append(list, address(gatewayv1.IPAddressType, in.IP))
		} else if in.Hostname != "" {
			list = append(list, address(gatewayv1.HostnameAddressType, in.Hostname))
		}
	}
	return list
}
