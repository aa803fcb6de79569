package build

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// apiRoute is a route of any kind.
type apiRoute struct {
	object  *config.Object
	parents []gatewayv1.ParentReference
	hosts   []string
	// grants: backends in other namespaces need one. Istio asks for them at gateways
	// only; within the mesh anybody may call anybody.
	convert func(grants bool) []*model.HTTPRule
	rules   map[bool][]*model.HTTPRule // by grants, once they are made
	// connections, in place of convert, makes the rules of a route that is not HTTP's.
	connections func(grants bool) []*model.TCPRule
	made        int // VirtualServices so far, for names
	known       map[string]bool
}

// with returns a route's rules.
func (r *apiRoute) with(grants bool) []*model.HTTPRule {
	list, ok := r.rules[grants]
	if !ok && r.convert != nil {
		list = r.convert(grants)
		r.rules[grants] = list
	}
	return list
}

// apiGroup is the VirtualService that all routes of one listener and host become, or
// those of one Service of the mesh.
type apiGroup struct {
	virtual *model.VirtualService
	object  *config.Object
}

// routes are all of them, oldest first, then by namespace and name: so ties are
// settled between routes of different objects.
func (a *gatewayAPI) routes() []*apiRoute {
	var list []*apiRoute
	for _, o := range slices.Concat(a.view.Of("HTTPRoute"), a.view.Of("GRPCRoute"), a.view.Of("TLSRoute"), a.view.Of("TCPRoute")) {
		r := &apiRoute{object: o, known: map[string]bool{}, rules: map[bool][]*model.HTTPRule{}}
		var hosts []gatewayv1.Hostname
		switch v := o.Value.(type) {
		case *gatewayv1.HTTPRoute:
			r.parents, hosts = v.Spec.ParentRefs, v.Spec.Hostnames
			r.convert = func(grants bool) []*model.HTTPRule { return a.httpRules(o, v.Spec.Rules, grants) }
		case *gatewayv1.GRPCRoute:
			r.parents, hosts = v.Spec.ParentRefs, v.Spec.Hostnames
			r.convert = func(grants bool) []*model.HTTPRule { return a.grpcRules(o, v.Spec.Rules, grants) }
		case *gatewayv1.TLSRoute:
			r.parents, hosts = v.Spec.ParentRefs, v.Spec.Hostnames
			r.connections = func(grants bool) []*model.TCPRule {
				return a.connectionRules(o, len(v.Spec.Rules), func(i int) []gatewayv1.BackendRef { return v.Spec.Rules[i].BackendRefs }, grants)
			}
		case *gatewayv1.TCPRoute:
			r.parents = v.Spec.ParentRefs
			r.connections = func(grants bool) []*model.TCPRule {
				return a.connectionRules(o, len(v.Spec.Rules), func(i int) []gatewayv1.BackendRef { return v.Spec.Rules[i].BackendRefs }, grants)
			}
		default:
			continue
		}
		for _, h := range hosts {
			r.hosts = append(r.hosts, strings.ToLower(string(h)))
		}
		if len(r.hosts) == 0 {
			r.hosts = []string{"*"}
		}
		list = append(list, r)
	}
	slices.SortStableFunc(list, func(a, b *apiRoute) int {
		return cmp.Or(a.object.Created.Compare(b.object.Created), cmp.Compare(a.object.Namespace, b.object.Namespace),
			cmp.Compare(a.object.Name, b.object.Name), cmp.Compare(a.object.Kind, b.object.Kind))
	})
	return list
}

// route attaches a route to its parents.
func (a *gatewayAPI) route(r *apiRoute) {
	for i, p := range r.parents {
		path := fmt.Sprintf("spec.parentRefs[%d]", i)
		group, kind, namespace := groupGateway, "Gateway", r.object.Namespace
		if p.Group != nil {
			group = string(*p.Group)
		}
		if p.Kind != nil {
			kind = string(*p.Kind)
		}
		if p.Namespace != nil {
			namespace = string(*p.Namespace)
		}
		switch {
		case group == groupGateway && kind == "Gateway":
			a.attachToGateway(r, &p, path, namespace+"/"+string(p.Name))
		case group == "" && kind == "Service":
			host := string(p.Name) + "." + namespace + ".svc." + a.options.ClusterDomain
			a.attachToMesh(r, &p, path, namespace, []string{host})
		case group == "networking.istio.io" && kind == "ServiceEntry":
			a.attachToMesh(r, &p, path, namespace, a.entryHosts(namespace, string(p.Name)))
		default:
			a.report(r.object, config.Error, CodeUnsupported, path, fmt.Sprintf("a parent of kind %s is not supported yet", kind), "Gateway, Service and ServiceEntry are")
		}
	}
}

func (a *gatewayAPI) entryHosts(namespace, name string) []string {
	o := a.view.Get("ServiceEntry", namespace, name)
	if o == nil {
		return nil
	}
	var hosts []string
	if e, ok := o.Value.(*networkingv1.ServiceEntry); ok {
		for _, h := range e.Spec.GetHosts() {
			hosts = append(hosts, strings.ToLower(h))
		}
	}
	return hosts
}

// attachToMesh makes a route the way of all clients to a Service; one in another
// namespace than the Service's is the way of that namespace's clients only.
func (a *gatewayAPI) attachToMesh(r *apiRoute, p *gatewayv1.ParentReference, path, namespace string, hosts []string) {
	known := false
	accepted := Verdict{}
	for _, h := range hosts {
		services := a.visible[h]
		if len(services) == 0 {
			continue
		}
		known = true
		port := uint32(0)
		if p.Port != nil {
			port = uint32(*p.Port)
			if services[0].Port(port) == nil {
				accepted = a.rejected(r, path+".port", gatewayv1.RouteReasonNoMatchingParent, fmt.Sprintf("%q has no port %d: it has %s", h, port, portList(services[0])))
				continue
			}
		}
		if r.connections != nil {
			a.connectToMesh(r, port, h, namespace)
			continue
		}
		rules := r.with(false)
		if port != 0 {
			rules = onPort(rules, port)
		}
		export, scope := model.Visibility{All: true}, "*"
		if namespace != r.object.Namespace {
			export, scope = model.Visibility{Namespaces: []string{r.object.Namespace}}, r.object.Namespace
		}
		a.add(r, fmt.Sprintf("mesh|%s|%s", scope, h), fmt.Sprint(port), rules, &model.VirtualService{
			Hosts: []string{h}, Gateways: []string{model.MeshGateway}, Export: export})
	}
	if !known {
		accepted = a.rejected(r, path+".name", gatewayv1.RouteReasonNoMatchingParent, fmt.Sprintf("there is no such parent in namespace %s", namespace))
	}
	a.parent(r, p, false, accepted)
	if p.SectionName != nil && *p.SectionName != "" {
		a.report(r.object, config.Error, CodeUnsupported, path+".sectionName", "sectionName of a Service is not supported yet", "port is")
	}
}

// rejected reports that a parent does not take a route.
func (a *gatewayAPI) rejected(r *apiRoute, path string, reason gatewayv1.RouteConditionReason, message string) Verdict {
	a.warn(r.object, CodeParent, path, "not accepted: "+message, "")
	return Verdict{string(reason), message}
}

// onPort restricts rules to a port of the mesh.
func onPort(rules []*model.HTTPRule, port uint32) []*model.HTTPRule {
	list := make([]*model.HTTPRule, 0, len(rules))
	for _, r := range rules {
		copied := *r
		m := model.HTTPMatch{Source: r.Source}
		if len(r.Matches) > 0 {
			m = *r.Matches[0]
		}
		m.Port = port
		copied.Matches = []*model.HTTPMatch{&m}
		list = append(list, &copied)
	}
	return list
}

// attachToGateway attaches a route to all listeners of a Gateway that take it.
func (a *gatewayAPI) attachToGateway(r *apiRoute, p *gatewayv1.ParentReference, path, ref string) {
	listeners, ok := a.listeners[ref]
	if !ok {
		// It may be another controller's, to whom it is left to say so.
		a.warn(r.object, CodeParent, path+".name", fmt.Sprintf("not accepted: there is no Gateway %s (of the Gateway API)", ref), "")
		return
	}
	taken, reason := false, Verdict{}
	for _, l := range listeners {
		hosts, why := l.takes(r, p)
		if !why.Good() {
			// What the last condition says is the nearest to being right.
			if reason.Good() || why.Reason != string(gatewayv1.RouteReasonNoMatchingParent) {
				reason = why
			}
			continue
		}
		taken = true
		a.attached(r, l)
		for _, h := range hosts {
			if !isolated(l, listeners, h) {
				continue
			}
			if r.connections != nil {
				a.addConnections(r, l.ref+"|"+h, "", h, 0, true, &model.VirtualService{Hosts: []string{h}, Gateways: []string{l.ref}, Export: model.Visibility{All: true}})
			} else {
				a.add(r, l.ref+"|"+h, "", r.with(true), &model.VirtualService{Hosts: []string{h}, Gateways: []string{l.ref}, Export: model.Visibility{All: true}})
			}
		}
	}
	accepted := Verdict{}
	if !taken && !reason.Good() {
		accepted = a.rejected(r, path, gatewayv1.RouteConditionReason(reason.Reason), reason.Message)
	}
	if len(listeners) > 0 { // another controller's Gateway has none
		a.parent(r, p, true, accepted)
	}
}

// takes returns the hosts of a route that a listener serves, or why there are none.
func (l *apiListener) takes(r *apiRoute, p *gatewayv1.ParentReference) (hosts []string, why Verdict) {
	not := func(reason gatewayv1.RouteConditionReason, format string, args ...any) ([]string, Verdict) {
		return nil, Verdict{string(reason), fmt.Sprintf(format, args...)}
	}
	switch {
	case p.SectionName != nil && *p.SectionName != "" && string(*p.SectionName) != l.name:
		return not(gatewayv1.RouteReasonNoMatchingParent, "no listener of the Gateway is called %q", *p.SectionName)
	case p.Port != nil && *p.Port != l.port:
		return not(gatewayv1.RouteReasonNoMatchingParent, "no listener of the Gateway has port %d", *p.Port)
	case !slices.Contains(l.kinds, r.object.Kind):
		return not(gatewayv1.RouteReasonNotAllowedByListeners, "listener %q does not allow the kind %s", l.name, r.object.Kind)
	case !l.from(r.object.Namespace):
		return not(gatewayv1.RouteReasonNotAllowedByListeners, "listener %q does not allow routes of namespace %s (allowedRoutes.namespaces)", l.name, r.object.Namespace)
	}
	for _, h := range r.hosts {
		switch {
		case model.MatchesWildcard(l.host, h):
			hosts = append(hosts, h)
		case model.MatchesWildcard(h, l.host):
			hosts = append(hosts, l.host)
		}
	}
	if len(hosts) == 0 {
		return not(gatewayv1.RouteReasonNoMatchingListenerHostname, "none of its hostnames is within %q, that of listener %q", l.host, l.name)
	}
	slices.Sort(hosts)
	return slices.Compact(hosts), Verdict{}
}

// isolated reports whether a host on a listener is not another listener's: of those on
// one port with one protocol, only the most specific takes a request.
func isolated(l *apiListener, all []*apiListener, host string) bool {
	for _, other := range all {
		if other != l && other.port == l.port && other.protocol == l.protocol && len(other.host) > len(l.host) && model.MatchesWildcard(other.host, host) {
			return false
		}
	}
	return true
}

// add puts a route's rules into a group. part tells parents of one group apart: a
// route is not added twice for one of them.
func (a *gatewayAPI) add(r *apiRoute, key, part string, rules []*model.HTTPRule, v *model.VirtualService) {
	if r.known[key+"|"+part] || len(rules) == 0 {
		return
	}
	r.known[key+"|"+part] = true
	g := a.group(r, key, v)
	g.virtual.HTTP = append(g.virtual.HTTP, rules...)
}

// group returns the group of a key, which is v where it is new.
func (a *gatewayAPI) group(r *apiRoute, key string, v *model.VirtualService) *apiGroup {
	g := a.groups[key]
	if g == nil {
		o := r.object
		v.Name, v.Namespace = fmt.Sprintf("%s~%d~%s", o.Name, r.made, generated), o.Namespace
		v.GatewayAPI, v.Created, v.Source = true, o.Created, sourceAt(o, "")
		v.Source.Config = "/apis/networking.istio.io/v1/namespaces/" + v.Namespace + "/virtual-service/" + v.Name
		if o.Kind != "HTTPRoute" { // names are unique among all that Istio knows as VirtualServices
			v.Name = strings.ToLower(o.Kind) + "~" + v.Name
		}
		g = &apiGroup{virtual: v, object: o}
		a.groups[key] = g
		a.order = append(a.order, g)
		r.made++
	}
	return g
}

// finish sorts the rules of each group by precedence and hands the groups over. In the
// mesh they take the place of VirtualServices.
func (a *gatewayAPI) finish() {
	for _, g := range a.order {
		slices.SortStableFunc(g.virtual.HTTP, precedence)
		if g.virtual.Bound(model.MeshGateway) {
			for _, v := range a.parts.Virtual {
				if o := a.origin.virtual[v]; o != nil && v.Bound(model.MeshGateway) && slices.Contains(v.Hosts, g.virtual.Hosts[0]) && len(v.HTTP) > 0 {
					a.warn(o, CodeConflictingHost, fmt.Sprintf("spec.hosts[%d]", slices.Index(v.Hosts, g.virtual.Hosts[0])),
						fmt.Sprintf("host %q is routed by %s, which takes the place of VirtualServices on its ports", g.virtual.Hosts[0], g.object.Key()), "keep one of them")
				}
			}
		}
	}
	for _, g := range a.order {
		a.parts.Virtual = append(a.parts.Virtual, g.virtual)
	}
}

// precedence is the Gateway API's order of rules: an exact path before prefixes, and
// these before regular expressions; then the longer path, a method, more headers, more
// query parameters. What is equal stays in order: the older object's rules first, and
// within one object as written.
func precedence(x, y *model.HTTPRule) int {
	m, n := only(x), only(y)
	return cmp.Or(
		cmp.Compare(pathRank(n), pathRank(m)),
		cmp.Compare(pathLength(n), pathLength(m)),
		cmp.Compare(isSet(n.Method), isSet(m.Method)),
		cmp.Compare(len(n.Headers), len(m.Headers)),
		cmp.Compare(len(n.Query), len(m.Query)),
	)
}

// only is the match of a rule, which has at most one.
func only(r *model.HTTPRule) *model.HTTPMatch {
	if len(r.Matches) == 0 {
		return &model.HTTPMatch{}
	}
	return r.Matches[0]
}

func pathRank(m *model.HTTPMatch) int {
	if m.URI == nil {
		return 0
	}
	switch m.URI.Kind {
	case model.Exact:
		return 3
	case model.Regex:
		return 1
	default:
		return 2
	}
}

func pathLength(m *model.HTTPMatch) int {
	if m.URI == nil {
		return 0
	}
	return len(m.URI.Value)
}

func isSet(m *model.StringMatch) int {
	if m != nil {
		return 1
	}
	return 0
}
