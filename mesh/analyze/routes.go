package analyze

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// claimRoutes finds routes by claims at gateways where no RequestAuthentication checks
// tokens: such a match is never true.
func (a *analysis) claimRoutes() {
	each(a, "VirtualService", func(o *config.Object, v *networkingv1.VirtualService) {
		for i, r := range v.Spec.GetHttp() {
			for j, m := range r.GetMatch() {
				for _, field := range []struct {
					name    string
					headers map[string]*networkingpb.StringMatch
				}{{"headers", m.GetHeaders()}, {"withoutHeaders", m.GetWithoutHeaders()}} {
					for _, name := range slices.Sorted(maps.Keys(field.headers)) {
						if _, claim := config.ClaimPath(name); claim && !a.tokensAt(o, append(v.Spec.GetGateways(), m.GetGateways()...)) {
							a.report(o, config.Error, CodeClaimRoute, fmt.Sprintf("spec.http[%d].match[%d].%s.%s", i, j, field.name, name),
								"no RequestAuthentication checks tokens at the gateways of this VirtualService: they have no claims", "add a RequestAuthentication for the gateway's Pods")
						}
					}
				}
			}
		}
	})
}

// tokensAt reports whether tokens are checked at one of the gateways.
func (a *analysis) tokensAt(o *config.Object, refs []string) bool {
	for _, g := range a.mesh.Gateways {
		if !slices.Contains(refs, g.Ref()) && !(g.Namespace == o.Namespace && slices.Contains(refs, g.Name)) {
			continue
		}
		for _, w := range a.workloads {
			if model.Selects(g.Selector, w.Labels) && len(a.mesh.Authentications(w.Namespace, w.Labels)) > 0 {
				return true
			}
		}
	}
	return false
}

// visibleHosts finds destinations that exist, but are exported to none of the namespaces
// where the routes hold: proxies there have no such cluster.
func (a *analysis) visibleHosts() {
	namespaces, gateways := a.places()
	services := map[string][]*model.Service{}
	for _, s := range a.mesh.Services {
		services[s.Host] = append(services[s.Host], s)
	}
	for _, v := range a.mesh.Virtual {
		o := a.view.Get("VirtualService", v.Namespace, v.Name)
		spec, ok := valueOf[*networkingv1.VirtualService](o)
		if !ok {
			continue
		}
		where := holdsIn(v, namespaces, gateways)
		check := func(path string, d *networkingpb.Destination) {
			host := a.full(d.GetHost(), v.Namespace)
			var only []string
			for _, s := range services[host] {
				if slices.ContainsFunc(where, s.Export.To) {
					return
				}
				only = append(only, s.Export.Namespaces...)
			}
			if a.mesh.Hosts(host) && len(where) > 0 {
				to := "nobody"
				if len(only) > 0 {
					to = strings.Join(only, ", ")
				}
				a.report(o, config.Warning, CodeInvisibleHost, path+".host", fmt.Sprintf("%q is exported to %s, and this route holds in %s: requests would be answered with 503",
					host, to, strings.Join(where, ", ")), "export the host to the namespaces of its clients")
			}
		}
		for i, r := range spec.Spec.GetHttp() {
			for j, d := range r.GetRoute() {
				check(fmt.Sprintf("spec.http[%d].route[%d].destination", i, j), d.GetDestination())
			}
		}
		for i, r := range spec.Spec.GetTls() {
			for j, d := range r.GetRoute() {
				check(fmt.Sprintf("spec.tls[%d].route[%d].destination", i, j), d.GetDestination())
			}
		}
		for i, r := range spec.Spec.GetTcp() {
			for j, d := range r.GetRoute() {
				check(fmt.Sprintf("spec.tcp[%d].route[%d].destination", i, j), d.GetDestination())
			}
		}
	}
}

// places are the namespaces that have workloads, and those of each gateway's Pods.
func (a *analysis) places() (namespaces map[string]bool, gateways map[string]map[string]bool) {
	namespaces, gateways = map[string]bool{}, map[string]map[string]bool{}
	for _, w := range a.workloads {
		namespaces[w.Namespace] = true
	}
	for _, g := range a.mesh.Gateways {
		own := map[string]bool{}
		for _, w := range a.workloads {
			if model.Selects(g.Selector, w.Labels) {
				own[w.Namespace] = true
			}
		}
		gateways[g.Ref()] = own
	}
	return namespaces, gateways
}

// holdsIn are the namespaces in which proxies have a VirtualService's routes, as far as
// they have workloads; its own counts always where it is seen there.
func holdsIn(v *model.VirtualService, namespaces map[string]bool, gateways map[string]map[string]bool) []string {
	set := map[string]bool{}
	if v.Bound(model.MeshGateway) {
		if v.Export.All {
			set[v.Namespace] = true
		}
		for _, n := range v.Export.Namespaces {
			set[n] = true
		}
		for n := range namespaces {
			if v.Export.To(n) {
				set[n] = true
			}
		}
	}
	for _, ref := range v.Gateways {
		maps.Copy(set, gateways[ref])
	}
	return slices.Sorted(maps.Keys(set))
}

// full is the full name of a host that a resource of a namespace names.
func (a *analysis) full(host, namespace string) string {
	host = strings.ToLower(host)
	if strings.Contains(host, ".") || model.IsWildcard(host) {
		return host
	}
	return host + "." + namespace + ".svc." + a.mesh.Settings.ClusterDomain
}

// delegates finds VirtualServices without hosts that no other one delegates to.
func (a *analysis) delegates() {
	used := map[string]bool{}
	each(a, "VirtualService", func(o *config.Object, v *networkingv1.VirtualService) {
		for _, r := range v.Spec.GetHttp() {
			if d := r.GetDelegate(); d != nil {
				namespace := d.GetNamespace()
				if namespace == "" {
					namespace = o.Namespace
				}
				used[namespace+"/"+d.GetName()] = true
			}
		}
	})
	each(a, "VirtualService", func(o *config.Object, v *networkingv1.VirtualService) {
		if len(v.Spec.GetHosts()) == 0 && !used[o.Namespace+"/"+o.Name] {
			a.report(o, config.Info, CodeUnusedDelegate, "metadata.name", "without hosts it is a delegate, and no VirtualService delegates to it: its rules have no effect",
				"write hosts, or name it as a delegate")
		}
	})
}

// valueOf is the value of an object that may be nil.
func valueOf[T any](o *config.Object) (v T, ok bool) {
	if o == nil {
		return v, false
	}
	v, ok = o.Value.(T)
	return v, ok
}
