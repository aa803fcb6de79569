package diff

import (
	"cmp"
	"slices"
	"strings"

	networkingk8sv1 "k8s.io/api/networking/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// ingress asks for the paths of each rule, by https where the Ingress has a certificate
// for the host, too.
func (d *derivation) ingress(i *networkingk8sv1.Ingress) {
	for _, r := range i.Spec.Rules {
		if r.HTTP == nil {
			continue
		}
		host := strings.Replace(r.Host, "*.", "any.", 1)
		if host == "" {
			host = "any.example"
		}
		bases := []string{"http://" + host}
		for _, t := range i.Spec.TLS {
			if len(t.Hosts) == 0 || slices.Contains(t.Hosts, r.Host) {
				bases = append(bases, "https://"+host)
				break
			}
		}
		list := slices.Clone(d.extras)
		for _, p := range r.HTTP.Paths {
			list = append(list, ingressVariants(p)...)
		}
		for _, base := range bases {
			for _, v := range list {
				d.add(true, base, v)
			}
		}
	}
}

// ingressVariants are those of a path in the words of the Gateway API, which says the same.
func ingressVariants(p networkingk8sv1.HTTPIngressPath) []variant {
	path, exact := config.IngressPath(&p)
	kind := gatewayv1.PathMatchPathPrefix
	if exact {
		kind = gatewayv1.PathMatchExact
	}
	path = cmp.Or(path, "/")
	return httpVariants(gatewayv1.HTTPRouteMatch{Path: &gatewayv1.HTTPPathMatch{Type: &kind, Value: &path}})
}
