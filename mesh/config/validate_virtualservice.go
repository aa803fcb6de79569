package config

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// meshGateway is the name by which a VirtualService means all sidecars.
const meshGateway = "mesh"

func validateVirtualService(c *checker) {
	v := &c.o.Value.(*networkingv1.VirtualService).Spec
	delegated := len(v.Hosts) == 0
	c.exportTo(v.ExportTo)
	c.gateways("spec.gateways", v.Gateways)
	if delegated {
		c.delegatedService(v)
	}
	inMesh := len(v.Gateways) == 0 || slices.Contains(v.Gateways, meshGateway)
	for i, h := range v.Hosts {
		at := index("spec.hosts", i)
		if c.host(at, h, true) && h == "*" && inMesh {
			c.errorf(CodeHost, at, "name the hosts, or the gateways that the rules are for", `"*" may not be the host of rules for the sidecars (gateway "mesh")`)
		}
	}
	c.repeated("spec.hosts", v.Hosts, "host")
	if len(v.Http)+len(v.Tls)+len(v.Tcp) == 0 {
		c.errorf(CodeMissing, "spec", "", "one of http, tls and tcp is required")
	}
	for i, r := range v.Http {
		c.httpRoute(index("spec.http", i), r, delegated, !inMesh)
	}
	c.reachable(v.Http)
	for i, r := range v.Tls {
		c.tlsRoute(index("spec.tls", i), r, v.Hosts)
	}
	for i, r := range v.Tcp {
		c.tcpRoute(index("spec.tcp", i), r)
	}
}

// delegatedService checks a VirtualService without hosts, which others delegate to.
func (c *checker) delegatedService(v *networkingpb.VirtualService) {
	if len(v.Gateways) > 0 {
		c.errorf(CodeDelegate, "spec.gateways", "add hosts, or leave out the gateways", "a VirtualService without hosts is for delegation and has no gateways of its own")
	}
	if len(v.Tls) > 0 {
		c.errorf(CodeDelegate, "spec.tls", "", "only http rules can be delegated to")
	}
	if len(v.Tcp) > 0 {
		c.errorf(CodeDelegate, "spec.tcp", "", "only http rules can be delegated to")
	}
}

func (c *checker) gateways(path string, names []string) {
	for i, g := range names {
		at := index(path, i)
		namespace, name, ok := strings.Cut(g, "/")
		if !ok {
			c.named(at, g, validation.IsDNS1123Subdomain)
			continue
		}
		if namespace == "" {
			c.errorf(CodeName, at, "leave the slash out for the namespace of the VirtualService", "%q has no namespace in front of the slash; expected NAME or NAMESPACE/NAME", clip(g))
			continue
		}
		if namespace != "." {
			c.named(at, namespace, validation.IsDNS1123Label)
		}
		c.named(at, name, validation.IsDNS1123Subdomain)
	}
}

func (c *checker) httpRoute(path string, r *networkingpb.HTTPRoute, delegated, atGateways bool) {
	for i, m := range r.Match {
		c.httpMatch(index(join(path, "match"), i), m, atGateways)
	}
	if r.Delegate != nil {
		c.delegatingRoute(path, r, delegated)
	} else {
		c.action(path, r)
	}
	c.destinations(path, r.Route)
	c.headers(join(path, "headers"), r.Headers)
	c.atLeastMillisecond(join(path, "timeout"), "leave it out for no timeout", r.Timeout)
	c.retries(join(path, "retries"), r.Retries)
	c.fault(join(path, "fault"), r.Fault)
	c.mirrors(path, r)
	c.cors(join(path, "corsPolicy"), r.CorsPolicy)
	c.redirect(join(path, "redirect"), r.Redirect)
	c.directResponse(join(path, "directResponse"), r.DirectResponse)
	c.rewrite(join(path, "rewrite"), r.Rewrite)
}

func (c *checker) delegatingRoute(path string, r *networkingpb.HTTPRoute, delegated bool) {
	at := join(path, "delegate")
	if delegated {
		c.errorf(CodeDelegate, at, "", "a VirtualService that is delegated to cannot delegate")
	}
	if r.Delegate.Name == "" {
		c.errorf(CodeRequired, at, "", "a name is required")
	}
	if len(r.Route) > 0 {
		c.errorf(CodeDelegate, join(path, "route"), "", "a rule that delegates has no route")
	}
	if r.Redirect != nil {
		c.errorf(CodeDelegate, join(path, "redirect"), "", "a rule that delegates has no redirect")
	}
	if r.DirectResponse != nil {
		c.errorf(CodeDelegate, join(path, "directResponse"), "", "a rule that delegates has no directResponse")
	}
}

// action checks that a rule says what to do, once.
func (c *checker) action(path string, r *networkingpb.HTTPRoute) {
	var set []string
	if len(r.Route) > 0 {
		set = append(set, "route")
	}
	if r.Redirect != nil {
		set = append(set, "redirect")
	}
	if r.DirectResponse != nil {
		set = append(set, "directResponse")
	}
	if len(set) == 0 {
		c.errorf(CodeMissing, path, "", "one of route, redirect, directResponse and delegate is required")
	}
	if len(set) > 1 {
		c.errorf(CodeExclusive, join(path, set[1]), "", "only one of route, redirect and directResponse may be set, and %s is", set[0])
	}
	if r.Redirect == nil && r.DirectResponse == nil {
		return
	}
	what := set[len(set)-1]
	if r.Fault != nil {
		c.errorf(CodeExclusive, join(path, "fault"), "", "fault cannot be used with %s", what)
	}
	if r.Rewrite != nil {
		c.errorf(CodeExclusive, join(path, "rewrite"), "", "rewrite cannot be used with %s", what)
	}
}

func (c *checker) destinations(path string, list []*networkingpb.HTTPRouteDestination) {
	weights := make([]int32, len(list))
	for i, d := range list {
		at := index(join(path, "route"), i)
		weights[i] = d.Weight
		c.destination(join(at, "destination"), d.Destination)
		c.headers(join(at, "headers"), d.Headers)
	}
	c.weights(join(path, "route"), weights)
}

// weights checks that none is negative, and that of several one is above 0.
func (c *checker) weights(path string, weights []int32) {
	var sum, bad int64
	for i, w := range weights {
		if w < 0 {
			bad++
			c.errorf(CodeWeight, join(index(path, i), "weight"), "", "%d is negative", w)
		}
		sum += int64(w)
	}
	if len(weights) > 1 && sum == 0 && bad == 0 {
		c.errorf(CodeWeight, path, "", "the weights sum to 0, so that no destination gets a request")
	}
	if sum > 1<<32-1 {
		c.errorf(CodeWeight, path, "", "the weights sum to %d; Envoy can add up to 4294967295", sum)
	}
}

func (c *checker) destination(path string, d *networkingpb.Destination) {
	if d == nil {
		c.errorf(CodeRequired, path, "", "a destination is required")
		return
	}
	at := join(path, "host")
	switch {
	case d.Host == "*":
		c.errorf(CodeHost, at, "", `a destination cannot be "*"`)
	default:
		c.host(at, d.Host, true)
	}
	if d.Subset != "" {
		c.named(join(path, "subset"), d.Subset, validation.IsDNS1123Label)
	}
	if d.Port != nil {
		c.port(join(path, "port.number"), d.Port.Number)
	}
}

// reachable warns of rules that stand behind one that takes every request, and of
// matches that stand there twice. Envoy takes the first rule that matches.
func (c *checker) reachable(rules []*networkingpb.HTTPRoute) {
	all := -1
	type place struct {
		path  string
		match *networkingpb.HTTPMatchRequest
	}
	var seen []place
	for i, r := range rules {
		at := index("spec.http", i)
		if all >= 0 {
			c.warnf(CodeUnreachable, at, "put it before the rule that takes everything", "no request can get here: spec.http[%d] in line %d takes every request", all, c.o.At(index("spec.http", all)).Line)
			continue
		}
		if len(r.Match) == 0 {
			all = i
		}
		for j, m := range r.Match {
			bare := proto.Clone(m).(*networkingpb.HTTPMatchRequest)
			bare.Name = ""
			path := index(join(at, "match"), j)
			if before := slices.IndexFunc(seen, func(p place) bool { return proto.Equal(p.match, bare) }); before >= 0 {
				code := CodeRepeatedMatch
				if len(r.Match) == 1 {
					code = CodeUnreachable
				}
				c.warnf(code, path, "", "the same match as %s in line %d, which comes first", seen[before].path, c.o.At(seen[before].path).Line)
			}
			seen = append(seen, place{path, bare})
			if takesAll(bare) {
				all = i
			}
		}
	}
}

// takesAll reports whether a match is true of every request.
func takesAll(m *networkingpb.HTTPMatchRequest) bool {
	rest := proto.Clone(m).(*networkingpb.HTTPMatchRequest)
	rest.Uri, rest.StatPrefix, rest.IgnoreUriCase = nil, "", false
	if !proto.Equal(rest, &networkingpb.HTTPMatchRequest{}) {
		return false
	}
	return m.Uri.GetMatchType() == nil || m.Uri.GetPrefix() == "/" || m.Uri.GetRegex() == "*" || m.Uri.GetRegex() == ".*"
}

func (c *checker) tlsRoute(path string, r *networkingpb.TLSRoute, hosts []string) {
	if len(r.Match) == 0 {
		c.errorf(CodeMissing, path, "", "a tls rule needs a match with sniHosts")
	}
	for i, m := range r.Match {
		at := index(join(path, "match"), i)
		if len(m.SniHosts) == 0 {
			c.errorf(CodeMissing, at, "", "sniHosts is required")
		}
		for j, h := range m.SniHosts {
			sni := index(join(at, "sniHosts"), j)
			if c.host(sni, h, true) && !slices.ContainsFunc(hosts, func(host string) bool { return covers(host, h) }) {
				c.errorf(CodeHost, sni, "", "%q is none of the VirtualService's hosts", h)
			}
		}
		c.l4Match(at, m.DestinationSubnets, m.Port, m.SourceLabels, m.SourceNamespace, m.Gateways)
	}
	c.l4Destinations(path, r.Route)
}

// covers reports whether a host, which may be a wildcard, includes another.
func covers(host, other string) bool {
	host, other = strings.ToLower(host), strings.ToLower(other)
	if host == "*" || host == other {
		return true
	}
	suffix, ok := strings.CutPrefix(host, "*")
	return ok && strings.HasSuffix(strings.TrimPrefix(other, "*"), suffix)
}

func (c *checker) tcpRoute(path string, r *networkingpb.TCPRoute) {
	for i, m := range r.Match {
		at := index(join(path, "match"), i)
		if m.SourceSubnet != "" {
			c.errorf(CodeValue, join(at, "sourceSubnet"), "", "Istio accepts this field and does not implement it")
		}
		c.l4Match(at, m.DestinationSubnets, m.Port, m.SourceLabels, m.SourceNamespace, m.Gateways)
	}
	c.l4Destinations(path, r.Route)
}

func (c *checker) l4Match(path string, subnets []string, port uint32, labels map[string]string, namespace string, gateways []string) {
	for i, s := range subnets {
		c.prefix(index(join(path, "destinationSubnets"), i), s)
	}
	c.matchSource(path, port, labels, namespace, gateways)
}

func (c *checker) l4Destinations(path string, list []*networkingpb.RouteDestination) {
	if len(list) == 0 {
		c.errorf(CodeMissing, path, "", "a route is required")
	}
	weights := make([]int32, len(list))
	for i, d := range list {
		weights[i] = d.Weight
		c.destination(join(index(join(path, "route"), i), "destination"), d.Destination)
	}
	c.weights(join(path, "route"), weights)
}
