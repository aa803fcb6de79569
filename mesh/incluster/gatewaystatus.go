package incluster

import (
	"context"
	"fmt"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// condition is one of an object's, as the Gateway API has them.
type condition struct {
	kind            string
	is              bool
	reason, message string
}

// owns tells whether a reference is to an object.
func owns(u *unstructured.Unstructured) func(metav1.OwnerReference) bool {
	return func(r metav1.OwnerReference) bool { return r.UID == u.GetUID() }
}

// status tells a Gateway what became of it: that it is accepted, and whether it can be
// reached, and where.
func (g *gateways) status(ctx context.Context, now *unstructured.Unstructured, b basis, problem string) error {
	accepted := condition{"Accepted", true, string(gatewayv1.GatewayReasonAccepted), "the mesh serves this Gateway"}
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
	return g.write(ctx, now, []condition{accepted, programmed}, addresses)
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

// write puts conditions and addresses into an object's status, where it says anything else.
func (g *gateways) write(ctx context.Context, now *unstructured.Unstructured, conditions []condition, addresses []any) error {
	old, _, _ := unstructured.NestedSlice(now.Object, "status", "conditions")
	before := make(map[string]map[string]any)
	for _, c := range old {
		if m, ok := c.(map[string]any); ok {
			kind, _ := m["type"].(string)
			before[kind] = m
		}
	}
	var list []any
	changed := false
	for _, c := range conditions {
		status := map[bool]string{true: "True", false: "False"}[c.is]
		m := map[string]any{"type": c.kind, "status": status, "reason": c.reason, "message": c.message,
			"observedGeneration": now.GetGeneration(), "lastTransitionTime": time.Now().UTC().Format(time.RFC3339)}
		was := before[c.kind]
		if was["status"] == status {
			m["lastTransitionTime"] = was["lastTransitionTime"] // it is the status' alone
		}
		changed = changed || !reflect.DeepEqual(was, m)
		list = append(list, m)
	}
	status := map[string]any{"conditions": list}
	had, _, _ := unstructured.NestedSlice(now.Object, "status", "addresses")
	if len(addresses) > 0 {
		status["addresses"] = addresses
	}
	if !changed && reflect.DeepEqual(had, addresses) {
		return nil
	}
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": now.GetAPIVersion(), "kind": now.GetKind(), "status": status}}
	u.SetName(now.GetName())
	u.SetNamespace(now.GetNamespace())
	return g.client.ApplyStatus(ctx, u, owner)
}
