package incluster

import (
	"context"
	"errors"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/build"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

// ingresses tells the mesh's Ingresses where they are reached: at the addresses of the
// ingress gateway's Service, as Istio does. Views have the status of Ingresses: one that
// says so already costs nothing.
func (g *gateways) ingresses(ctx context.Context, v *store.View) error {
	mesh := g.mesh()
	addresses := ingressAddresses(v, g.inject.SystemNamespace, mesh.GetIngressService())
	var errs []error
	for _, o := range v.Of("Ingress") {
		i, ok := o.Value.(*networkingv1.Ingress)
		if !ok || !build.IngressOurs(v, i, mesh) || reflect.DeepEqual(ingressPoints(i), addresses) {
			continue
		}
		now, err := g.client.Get(ctx, kube.Resource("networking.k8s.io/v1", "Ingress"), o.Namespace, o.Name)
		if err == nil && now != nil && now.GetDeletionTimestamp() == nil {
			list := []any{}
			for _, a := range addresses {
				list = append(list, map[string]any{a[0]: a[1]})
			}
			err = g.write(ctx, now, map[string]any{"loadBalancer": map[string]any{"ingress": list}}, "")
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// point is an address, and under which field it stands: "ip" or "hostname".
type point [2]string

// ingressAddresses are those of the Service of the ingress gateway; none where it has none.
func ingressAddresses(v *store.View, namespace, name string) []point {
	o := v.Get("Service", namespace, name)
	if o == nil {
		return nil
	}
	s, ok := o.Value.(*corev1.Service)
	if !ok {
		return nil
	}
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		return []point{{"hostname", s.Spec.ExternalName}}
	}
	var list []point
	for _, in := range s.Status.LoadBalancer.Ingress {
		list = appendPoint(list, in.IP, in.Hostname)
	}
	for _, ip := range s.Spec.ExternalIPs {
		list = appendPoint(list, ip, "")
	}
	return list
}

// ingressPoints are what an Ingress's status says.
func ingressPoints(i *networkingv1.Ingress) []point {
	var list []point
	for _, in := range i.Status.LoadBalancer.Ingress {
		list = appendPoint(list, in.IP, in.Hostname)
	}
	return list
}

func appendPoint(list []point, ip, hostname string) []point {
	switch {
	case ip != "":
		return append(list, point{"ip", ip})
	case hostname != "":
		return append(list, point{"hostname", hostname})
	}
	return list
}
