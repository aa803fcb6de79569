package analyze

import (
	"fmt"
	"slices"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/spelling"
)

// sidecarHosts finds hosts that a Sidecar lets its workloads see, and that do not exist.
func (a *analysis) sidecarHosts() {
	each(a, "Sidecar", func(o *config.Object, s *networkingv1.Sidecar) {
		for i, e := range s.Spec.GetEgress() {
			for j, h := range e.GetHosts() {
				namespace, host, _ := strings.Cut(strings.ToLower(h), "/")
				if namespace == "~" || model.IsWildcard(host) || a.exists(host, namespace, o.Namespace) {
					continue
				}
				a.report(o, config.Warning, CodeSidecarHost, fmt.Sprintf("spec.egress[%d].hosts[%d]", i, j),
					fmt.Sprintf("no service has the host %q: the workloads see nothing by it", h), a.similar(host))
			}
		}
	})
}

// exists reports whether a service or a VirtualService has a host, in the namespace that a
// Sidecar names.
func (a *analysis) exists(host, namespace, own string) bool {
	if namespace == "." {
		namespace = own
	}
	for _, s := range a.mesh.Services {
		if (namespace == "*" || s.Namespace == namespace) && model.MatchesWildcard(s.Host, host) {
			return true
		}
	}
	for _, v := range a.mesh.Virtual {
		if (namespace == "*" || v.Namespace == namespace) && slices.ContainsFunc(v.Hosts, func(h string) bool { return model.MatchesWildcard(h, host) }) {
			return true
		}
	}
	return false
}

// similar is a hint at the host that was meant, or that its name has to be written in full.
func (a *analysis) similar(host string) string {
	if !strings.Contains(host, ".") {
		return "write the full name: HOST.NAMESPACE.svc." + a.mesh.Settings.ClusterDomain
	}
	var names []string
	for _, s := range a.mesh.Services {
		names = append(names, s.Host)
	}
	if near := spelling.Nearest(host, names); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return ""
}

// principals tells of identities in AuthorizationPolicies that no workload has. Those of
// Gateways and of clients elsewhere may be right, so it is no more than worth knowing.
func (a *analysis) principals() {
	known := map[string]bool{}
	for _, w := range a.workloads {
		known["ns/"+w.Namespace+"/sa/"+w.Account] = true
	}
	if len(a.others()) == 0 {
		return
	}
	each(a, "AuthorizationPolicy", func(o *config.Object, p *securityv1.AuthorizationPolicy) {
		for i, r := range p.Spec.GetRules() {
			for j, f := range r.GetFrom() {
				for k, principal := range f.GetSource().GetPrincipals() {
					_, account, ok := strings.Cut(principal, "/")
					if !ok || strings.Contains(principal, "*") || known[account] {
						continue
					}
					a.report(o, config.Info, CodeUnknownPrincipal, fmt.Sprintf("spec.rules[%d].from[%d].source.principals[%d]", i, j, k),
						fmt.Sprintf("no workload runs as %s", principal), "TRUSTDOMAIN/ns/NAMESPACE/sa/SERVICEACCOUNT, without spiffe://")
				}
			}
		}
	})
}

// meshOnlyRules tells of routes from a gateway to a host for which another VirtualService
// chooses subsets in the mesh: its rules are for sidecars, and do not hold at the gateway.
func (a *analysis) meshOnlyRules() {
	for _, v := range a.mesh.Virtual {
		o := a.view.Get("VirtualService", v.Namespace, v.Name)
		spec, ok := valueOf[*networkingv1.VirtualService](o)
		if !ok || !slices.ContainsFunc(v.Gateways, func(g string) bool { return g != model.MeshGateway }) {
			continue
		}
		for i, r := range spec.Spec.GetHttp() {
			for j, d := range r.GetRoute() {
				if d.GetDestination().GetSubset() != "" {
					continue
				}
				if by := a.subsetRules(v, a.full(d.GetDestination().GetHost(), v.Namespace)); by != nil {
					a.report(o, config.Info, CodeMeshOnlyRule, fmt.Sprintf("spec.http[%d].route[%d].destination", i, j),
						fmt.Sprintf("the subsets that VirtualService %s/%s chooses for this host are chosen by sidecars: requests that come in at the gateway go to all endpoints", by.Namespace, by.Name),
						"choose the subset here, or bind the other VirtualService to the gateway")
				}
			}
		}
	}
}

// subsetRules is a VirtualService for sidecars that routes a host to subsets of itself.
func (a *analysis) subsetRules(at *model.VirtualService, host string) *model.VirtualService {
	for _, v := range a.mesh.Virtual {
		if v == at || !v.Bound(model.MeshGateway) || !slices.Contains(v.Hosts, host) || slices.ContainsFunc(at.Gateways, func(g string) bool { return g != model.MeshGateway && v.Bound(g) }) {
			continue
		}
		spec, ok := valueOf[*networkingv1.VirtualService](a.view.Get("VirtualService", v.Namespace, v.Name))
		if ok && slices.ContainsFunc(spec.Spec.GetHttp(), func(r *networkingpb.HTTPRoute) bool {
			return slices.ContainsFunc(r.GetRoute(), func(d *networkingpb.HTTPRouteDestination) bool {
				return d.GetDestination().GetSubset() != "" && a.full(d.GetDestination().GetHost(), v.Namespace) == host
			})
		}) {
			return v
		}
	}
	return nil
}
