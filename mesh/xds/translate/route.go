package translate

import (
	"cmp"
	"strconv"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
)

// maxDirectBody is the longest body of a direct response, in bytes.
const maxDirectBody = 1 << 20

func routeTable(name string) *routepb.RouteConfiguration {
	return &routepb.RouteConfiguration{
		Name: name, ValidateClusters: wrapperspb.Bool(false),
		MaxDirectResponseBodySizeBytes: wrapperspb.UInt32(maxDirectBody), IgnorePortInHostMatching: true,
	}
}

func prefixMatch(prefix string) *routepb.RouteMatch {
	return &routepb.RouteMatch{PathSpecifier: &routepb.RouteMatch_Prefix{Prefix: prefix}}
}

// forward is an action without time limit: not of its own, nor of grpc-timeout.
func forward() *routepb.RouteAction {
	//lint:ignore SA1019 as istiod sends it
	return &routepb.RouteAction{Timeout: durationpb.New(0), MaxGrpcTimeout: durationpb.New(0)}
}

func decorate(operation string) *routepb.Decorator { return &routepb.Decorator{Operation: operation} }

// defaultRoute is what a service has without a VirtualService.
func (p *proxy) defaultRoute(s *model.Service, port uint32) *routepb.Route {
	a := forward()
	a.ClusterSpecifier = &routepb.RouteAction_Cluster{Cluster: names.Outbound(port, "", s.Host)}
	a.HashPolicy = p.hashPolicy(s.Host, "", port)
	a.RetryPolicy = p.retryPolicy(nil, len(a.HashPolicy) > 0)
	return &routepb.Route{
		Name: "default", Match: prefixMatch("/"), Action: &routepb.Route_Route{Route: a},
		Decorator: decorate(names.VirtualHost(s.Host, port) + "/*"),
		Metadata:  provenance(model.Source{File: s.Source.File, Line: s.Source.Line}, nil),
	}
}

// virtualRoutes are a VirtualService's rules as a port of the mesh, or of a gateway,
// has them. What follows the first rule that takes everything is left out.
func (p *proxy) virtualRoutes(v *model.VirtualService, port uint32, gateway string) []*routepb.Route {
	var list []*routepb.Route
	for _, r := range v.HTTP {
		if len(r.Matches) == 0 {
			if !v.Bound(gateway) {
				continue
			}
			return append(list, p.virtualRoute(v, r, nil, port))
		}
		for _, m := range r.Matches {
			if m.Port != 0 && m.Port != port || !p.sourceApplies(v, gateway, m.Gateways, m.SourceLabels, m.SourceNamespace) {
				continue
			}
			route := p.virtualRoute(v, r, m, port)
			list = append(list, route)
			if takesAll(route.Match) {
				return list
			}
		}
	}
	return list
}

// takesAll tells a match that no request fails.
func takesAll(m *routepb.RouteMatch) bool {
	if len(m.Headers) > 0 || len(m.QueryParameters) > 0 || len(m.DynamicMetadata) > 0 {
		return false
	}
	switch path := m.PathSpecifier.(type) {
	case *routepb.RouteMatch_Prefix:
		return path.Prefix == "/"
	case *routepb.RouteMatch_SafeRegex:
		return path.SafeRegex.GetRegex() == "*" || path.SafeRegex.GetRegex() == ".*"
	default:
		return false
	}
}

func (p *proxy) virtualRoute(v *model.VirtualService, r *model.HTTPRule, m *model.HTTPMatch, port uint32) *routepb.Route {
	source := r.Source
	if m != nil && m.Source.Line != 0 && m.Source.Config == r.Source.Config {
		source.Line = m.Source.Line
	}
	source.Config = v.Source.Config
	route := &routepb.Route{Name: r.Name, Match: routeMatch(m), Metadata: provenance(source, nil)}
	if m != nil {
		if m.Name != "" {
			route.Name = r.Name + "." + m.Name
		}
		route.StatPrefix = m.StatPrefix
	}
	addHeaders(&route.RequestHeadersToAdd, &route.RequestHeadersToRemove, r.Headers.Request)
	addHeaders(&route.ResponseHeadersToAdd, &route.ResponseHeadersToRemove, r.Headers.Response)
	switch {
	case r.Redirect != nil:
		route.Action = &routepb.Route_Redirect{Redirect: redirectAction(r.Redirect, port)}
	case r.Direct != nil:
		route.Action = &routepb.Route_DirectResponse{DirectResponse: directAction(r.Direct)}
	default:
		p.forwardTo(route, r, port)
		if v.GatewayAPI {
			route.GetRoute().ClusterNotFoundResponseCode = routepb.RouteAction_INTERNAL_SERVER_ERROR
		}
	}
	route.Decorator = decorate(p.operation(v, r, port) + pathOf(m))
	if r.Fault != nil {
		setFilter(route, "envoy.filters.http.fault", faultFilter(r.Fault))
	}
	if r.CORS != nil {
		setFilter(route, "envoy.filters.http.cors", corsPolicy(r.CORS))
	}
	return route
}

// operation names spans: the one destination, or the VirtualService.
func (p *proxy) operation(v *model.VirtualService, r *model.HTTPRule, port uint32) string {
	if to := weighted(r.Routes); len(to) == 1 && to[0].Host != "" {
		return names.VirtualHost(to[0].Host, p.portOf(to[0], port))
	}
	return v.Name + ":" + strconv.Itoa(int(port))
}

func pathOf(m *model.HTTPMatch) string {
	if m == nil || m.URI == nil {
		return "/*"
	}
	if m.URI.Kind == model.Prefix || m.URI.Kind == model.Segments {
		return m.URI.Value + "*"
	}
	return m.URI.Value
}

// portOf settles a destination's port: as said, else the service's only one, else
// the port that the request came to.
func (p *proxy) portOf(d *model.Destination, port uint32) uint32 {
	if d.Port != 0 {
		return d.Port
	}
	if s := p.scope.byHost[d.Host]; s != nil && len(s.Ports) == 1 && !p.serviceless {
		return s.Ports[0].Number
	}
	return port
}

func (p *proxy) clusterOf(d *model.Destination, port uint32) string {
	if d.Host == "" {
		return names.UnknownService
	}
	return names.Outbound(p.portOf(d, port), d.Subset, d.Host)
}

func (p *proxy) forwardTo(route *routepb.Route, r *model.HTTPRule, port uint32) {
	a := forward()
	a.Timeout = durationpb.New(r.Timeout)
	//lint:ignore SA1019 as istiod sends it: it caps grpc-timeout, or stands in for it
	a.MaxGrpcTimeout = a.Timeout
	to := weighted(r.Routes)
	if len(to) == 1 {
		d := to[0]
		a.ClusterSpecifier = &routepb.RouteAction_Cluster{Cluster: p.clusterOf(d, port)}
		a.HashPolicy = p.hashPolicy(d.Host, d.Subset, p.portOf(d, port))
		addHeaders(&route.RequestHeadersToAdd, &route.RequestHeadersToRemove, d.Headers.Request)
		addHeaders(&route.ResponseHeadersToAdd, &route.ResponseHeadersToRemove, d.Headers.Response)
		if host := hostHeader(d.Headers.Request); host != "" {
			a.HostRewriteSpecifier = &routepb.RouteAction_HostRewriteLiteral{HostRewriteLiteral: host}
		}
	} else {
		w := &routepb.WeightedCluster{}
		for _, d := range to {
			c := &routepb.WeightedCluster_ClusterWeight{Name: p.clusterOf(d, port), Weight: wrapperspb.UInt32(d.Weight)}
			addHeaders(&c.RequestHeadersToAdd, &c.RequestHeadersToRemove, d.Headers.Request)
			addHeaders(&c.ResponseHeadersToAdd, &c.ResponseHeadersToRemove, d.Headers.Response)
			if host := hostHeader(d.Headers.Request); host != "" {
				c.HostRewriteSpecifier = &routepb.WeightedCluster_ClusterWeight_HostRewriteLiteral{HostRewriteLiteral: host}
			}
			w.Clusters = append(w.Clusters, c)
			a.HashPolicy = append(a.HashPolicy, p.hashPolicy(d.Host, d.Subset, p.portOf(d, port))...)
		}
		a.ClusterSpecifier = &routepb.RouteAction_WeightedClusters{WeightedClusters: w}
	}
	a.RetryPolicy = p.retryPolicy(r.Retry, len(to) == 1 && len(a.HashPolicy) > 0)
	rewriteAction(a, r)
	for _, m := range r.Mirrors {
		a.RequestMirrorPolicies = append(a.RequestMirrorPolicies, &routepb.RouteAction_RequestMirrorPolicy{
			Cluster:         p.clusterOf(m.Destination, port),
			RuntimeFraction: &corepb.RuntimeFractionalPercent{DefaultValue: fraction(m.Percent)},
			TraceSampled:    wrapperspb.Bool(false), DisableShadowHostSuffixAppend: true,
		})
	}
	route.Action = &routepb.Route_Route{Route: a}
}

// rewriteAction sets what the rule changes of path and host. The rule's own
// authority wins over a Host header of the rule, and that over its destination's.
func rewriteAction(a *routepb.RouteAction, r *model.HTTPRule) {
	host := hostHeader(r.Headers.Request)
	if r.Rewrite != nil {
		host = cmp.Or(r.Rewrite.Authority, host)
		switch {
		case r.Rewrite.URI != "":
			a.PrefixRewrite = r.Rewrite.URI
		case r.Rewrite.RegexMatch != "":
			a.RegexRewrite = &matcherpb.RegexMatchAndSubstitute{
				Pattern: regex(r.Rewrite.RegexMatch), Substitution: r.Rewrite.Substitution}
		}
	}
	if host != "" {
		a.HostRewriteSpecifier = &routepb.RouteAction_HostRewriteLiteral{HostRewriteLiteral: host}
	}
}

func redirectAction(r *model.Redirect, port uint32) *routepb.RedirectAction {
	a := &routepb.RedirectAction{HostRedirect: r.Authority}
	switch {
	case r.URI != "":
		a.PathRewriteSpecifier = &routepb.RedirectAction_PathRedirect{PathRedirect: r.URI}
	case r.PrefixRewrite != "":
		a.PathRewriteSpecifier = &routepb.RedirectAction_PrefixRewrite{PrefixRewrite: r.PrefixRewrite}
	case r.RegexMatch != "":
		a.PathRewriteSpecifier = &routepb.RedirectAction_RegexRewrite{RegexRewrite: &matcherpb.RegexMatchAndSubstitute{
			Pattern: regex(r.RegexMatch), Substitution: r.Substitution}}
	}
	if r.Scheme != "" {
		a.SchemeRewriteSpecifier = &routepb.RedirectAction_SchemeRedirect{SchemeRedirect: r.Scheme}
	}
	a.PortRedirect = r.Port
	if r.FromRequestPort {
		a.PortRedirect = port
	}
	if a.PortRedirect == 80 && (r.Scheme == "http" || r.Scheme == "") && r.Port == 0 || a.PortRedirect == 443 && (r.Scheme == "https" || r.Scheme == "" && r.FromRequestPort) {
		a.PortRedirect = 0
	}
	a.ResponseCode = map[uint32]routepb.RedirectAction_RedirectResponseCode{
		302: routepb.RedirectAction_FOUND, 303: routepb.RedirectAction_SEE_OTHER,
		307: routepb.RedirectAction_TEMPORARY_REDIRECT, 308: routepb.RedirectAction_PERMANENT_REDIRECT,
	}[r.Code]
	return a
}

func directAction(d *model.Direct) *routepb.DirectResponseAction {
	a := &routepb.DirectResponseAction{Status: d.Status}
	switch {
	case len(d.Body) == 0:
	case d.Text:
		a.Body = &corepb.DataSource{Specifier: &corepb.DataSource_InlineString{InlineString: string(d.Body)}}
	default:
		a.Body = &corepb.DataSource{Specifier: &corepb.DataSource_InlineBytes{InlineBytes: d.Body}}
	}
	return a
}

// hashPolicy is what the destination's consistent hash is made of.
func (p *proxy) hashPolicy(host, subset string, port uint32) []*routepb.RouteAction_HashPolicy {
	s := p.scope.byHost[host]
	if s == nil {
		return nil
	}
	d := p.scope.policies[s]
	b := p.policyFor(d, d.Subset(subset), port).Balancer
	if b == nil || b.Hash == nil {
		return nil
	}
	h := &routepb.RouteAction_HashPolicy{}
	switch k := b.Hash; {
	case k.Header != "":
		h.PolicySpecifier = &routepb.RouteAction_HashPolicy_Header_{Header: &routepb.RouteAction_HashPolicy_Header{HeaderName: k.Header}}
	case k.Query != "":
		h.PolicySpecifier = &routepb.RouteAction_HashPolicy_QueryParameter_{
			QueryParameter: &routepb.RouteAction_HashPolicy_QueryParameter{Name: k.Query}}
	case k.SourceIP:
		h.PolicySpecifier = &routepb.RouteAction_HashPolicy_ConnectionProperties_{
			ConnectionProperties: &routepb.RouteAction_HashPolicy_ConnectionProperties{SourceIp: true}}
	case k.Cookie != nil:
		c := &routepb.RouteAction_HashPolicy_Cookie{Name: k.Cookie.Name, Path: k.Cookie.Path}
		if k.Cookie.TTL != nil {
			c.Ttl = durationpb.New(*k.Cookie.TTL)
		}
		for _, a := range k.Cookie.Attributes {
			c.Attributes = append(c.Attributes, &routepb.RouteAction_HashPolicy_CookieAttribute{Name: a.Name, Value: a.Value})
		}
		h.PolicySpecifier = &routepb.RouteAction_HashPolicy_Cookie_{Cookie: c}
	default:
		return nil
	}
	return []*routepb.RouteAction_HashPolicy{h}
}
