package build

import (
	"fmt"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// connectionRules makes the rules of a TCPRoute or TLSRoute. Where no backend is left
// connections are closed.
func (a *gatewayAPI) connectionRules(o *config.Object, n int, backends func(i int) []gatewayv1.BackendRef, grants bool) []*model.TCPRule {
	var list []*model.TCPRule
	for i := range n {
		at := fmt.Sprintf("spec.rules[%d]", i)
		b := &apiBackends{kind: o.Kind, path: at + ".backendRefs", grants: grants}
		for _, ref := range backends(i) {
			b.refs = append(b.refs, gatewayv1.HTTPBackendRef{BackendRef: ref})
		}
		r := &model.TCPRule{Routes: a.destinations(o, b), Source: sourceAt(o, at)}
		if len(r.Routes) == 0 {
			r.Routes = []*model.Destination{{Source: r.Source}}
		}
		list = append(list, r)
	}
	return list
}

// connectToMesh makes a route the way of all clients to a Service, as attachToMesh does;
// port is 0 for all of its ports.
func (a *gatewayAPI) connectToMesh(r *apiRoute, port uint32, host, namespace string) {
	export, scope := model.Visibility{All: true}, "*"
	if namespace != r.object.Namespace {
		export, scope = model.Visibility{Namespaces: []string{r.object.Namespace}}, r.object.Namespace
	}
	for _, name := range r.hosts { // server names of a TLSRoute; any of a TCPRoute
		a.addConnections(r, fmt.Sprintf("mesh|%s|%s", scope, host), fmt.Sprintf("%d %s", port, name), name, port, false, &model.VirtualService{
			Hosts: []string{host}, Gateways: []string{model.MeshGateway}, Export: export})
	}
}

// addConnections is add for a route that is not HTTP's: name is the server name, "*" for
// any, and port the one that the rules are for, 0 for any.
func (a *gatewayAPI) addConnections(r *apiRoute, key, part, name string, port uint32, grants bool, v *model.VirtualService) {
	if r.known[key+"|"+part] {
		return
	}
	r.known[key+"|"+part] = true
	g := a.group(r, key, v)
	for _, rule := range r.connections(grants) {
		match := model.ConnectionMatch{Port: port}
		if r.object.Kind == "TLSRoute" {
			g.virtual.TLS = append(g.virtual.TLS, &model.TLSRule{Routes: rule.Routes, Source: rule.Source,
				Matches: []*model.TLSMatch{{ServerNames: []string{name}, ConnectionMatch: match, Source: rule.Source}}})
			continue
		}
		if port != 0 {
			rule.Matches = []*model.ConnectionMatch{&match}
		}
		g.virtual.TCP = append(g.virtual.TCP, rule)
	}
}
