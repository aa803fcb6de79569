package config

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func validateHTTPRoute(c *checker) {
	s := &c.o.Value.(*gatewayv1.HTTPRoute).Spec
	c.routeCommon(&s.CommonRouteSpec, s.Hostnames)
	for i, r := range s.Rules {
		at := index("spec.rules", i)
		for j, m := range r.Matches {
			c.httpRouteMatch(index(join(at, "matches"), j), m)
		}
		c.routeFilters(join(at, "filters"), r.Filters)
		c.filterRules(at, &r)
		for j, b := range r.BackendRefs {
			c.backendRef(index(join(at, "backendRefs"), j), b.BackendRef)
			c.routeFilters(join(index(join(at, "backendRefs"), j), "filters"), b.Filters)
		}
		c.routeTimes(at, &r)
	}
}

func validateGRPCRoute(c *checker) {
	s := &c.o.Value.(*gatewayv1.GRPCRoute).Spec
	c.routeCommon(&s.CommonRouteSpec, s.Hostnames)
	for i, r := range s.Rules {
		at := index("spec.rules", i)
		for j, m := range r.Matches {
			c.grpcRouteMatch(index(join(at, "matches"), j), m)
		}
		c.routeFilters(join(at, "filters"), grpcFilters(r.Filters))
		for j, b := range r.BackendRefs {
			c.backendRef(index(join(at, "backendRefs"), j), b.BackendRef)
			c.routeFilters(join(index(join(at, "backendRefs"), j), "filters"), grpcFilters(b.Filters))
		}
	}
}

func validateTCPRoute(c *checker) {
	s := &c.o.Value.(*gatewayv1.TCPRoute).Spec
	c.routeCommon(&s.CommonRouteSpec, nil)
	c.connectionRules(len(s.Rules), func(i int) []gatewayv1.BackendRef { return s.Rules[i].BackendRefs })
}

func validateTLSRoute(c *checker) {
	s := &c.o.Value.(*gatewayv1.TLSRoute).Spec
	c.routeCommon(&s.CommonRouteSpec, s.Hostnames)
	c.connectionRules(len(s.Rules), func(i int) []gatewayv1.BackendRef { return s.Rules[i].BackendRefs })
}

// connectionRules are those of routes that are not HTTP's: at least one, each with a backend.
func (c *checker) connectionRules(n int, backends func(i int) []gatewayv1.BackendRef) {
	if n == 0 {
		c.errorf(CodeMissing, "spec", "", "rules is required")
	}
	for i := range n {
		at := index("spec.rules", i)
		if len(backends(i)) == 0 {
			c.errorf(CodeMissing, at, "", "backendRefs is required")
		}
		for j, b := range backends(i) {
			c.backendRef(index(join(at, "backendRefs"), j), b)
		}
	}
}

// grpcFilters are the filters of gRPC as those of HTTP, of which they are some.
func grpcFilters(filters []gatewayv1.GRPCRouteFilter) []gatewayv1.HTTPRouteFilter {
	var list []gatewayv1.HTTPRouteFilter
	for _, f := range filters {
		list = append(list, gatewayv1.HTTPRouteFilter{
			Type: gatewayv1.HTTPRouteFilterType(f.Type), RequestHeaderModifier: f.RequestHeaderModifier,
			ResponseHeaderModifier: f.ResponseHeaderModifier, RequestMirror: f.RequestMirror, ExtensionRef: f.ExtensionRef,
		})
	}
	return list
}

func (c *checker) routeCommon(s *gatewayv1.CommonRouteSpec, hosts []gatewayv1.Hostname) {
	if len(s.ParentRefs) == 0 && s.UseDefaultGateways == "" {
		c.warnf(CodeIneffective, "spec", "write parentRefs: [{name: GATEWAY}]", "without parentRefs the route has no effect")
	}
	for i, p := range s.ParentRefs {
		at := index("spec.parentRefs", i)
		if p.Name == "" {
			c.errorf(CodeRequired, at, "", "a name is required")
		}
		if p.Port != nil {
			c.port(join(at, "port"), uint32(max(*p.Port, 0)))
		}
	}
	for i, h := range hosts {
		c.apiHostname(index("spec.hostnames", i), string(h), true)
	}
}

// badPaths are parts that a path to match cannot have, as no normalized path has them.
var badPaths = []string{"//", "/./", "/../", "%2f", "%2F", "#"}

func (c *checker) httpRouteMatch(at string, m gatewayv1.HTTPRouteMatch) {
	if p := m.Path; p != nil && p.Value != nil {
		where := join(at, "path.value")
		if p.Type != nil && *p.Type == gatewayv1.PathMatchRegularExpression {
			c.regex(where, *p.Value)
		} else {
			c.routePath(where, *p.Value)
		}
	}
	for i, h := range m.Headers {
		where := index(join(at, "headers"), i)
		c.header(join(where, "name"), string(h.Name))
		if h.Type != nil && *h.Type == gatewayv1.HeaderMatchRegularExpression {
			c.regex(join(where, "value"), h.Value)
		}
	}
	for i, q := range m.QueryParams {
		where := index(join(at, "queryParams"), i)
		if q.Name == "" {
			c.errorf(CodeRequired, where, "", "a name is required")
		}
		if q.Type != nil && *q.Type == gatewayv1.QueryParamMatchRegularExpression {
			c.regex(join(where, "value"), q.Value)
		}
	}
}

func (c *checker) routePath(at, path string) {
	if !strings.HasPrefix(path, "/") {
		c.errorf(CodeValue, at, "", `%q does not begin with "/"`, clip(path))
		return
	}
	for _, bad := range badPaths {
		if strings.Contains(path, bad) {
			c.errorf(CodeValue, at, "", "a path to match cannot have %q", bad)
			return
		}
	}
	if strings.HasSuffix(path, "/..") || strings.HasSuffix(path, "/.") {
		c.errorf(CodeValue, at, "", `a path to match cannot end in "/." or "/.."`)
	}
}

func (c *checker) grpcRouteMatch(at string, m gatewayv1.GRPCRouteMatch) {
	if g := m.Method; g != nil {
		set := false
		for i, v := range []*string{g.Service, g.Method} {
			if v == nil || *v == "" {
				continue
			}
			set = true
			name := [...]string{"service", "method"}[i]
			if g.Type != nil && *g.Type == gatewayv1.GRPCMethodMatchRegularExpression {
				c.regex(join(at, "method."+name), *v)
			} else if strings.Contains(*v, "/") {
				c.errorf(CodeValue, join(at, "method."+name), "", `%q cannot have a "/"`, clip(*v))
			}
		}
		if !set {
			c.errorf(CodeMissing, join(at, "method"), "", "service or method is required")
		}
	}
	for i, h := range m.Headers {
		where := index(join(at, "headers"), i)
		c.header(join(where, "name"), string(h.Name))
		if h.Type != nil && *h.Type == gatewayv1.GRPCHeaderMatchRegularExpression {
			c.regex(join(where, "value"), h.Value)
		}
	}
}

// routeFilters checks that each filter has the settings of its type and no others, and
// that of each type there is one, mirrors excepted.
func (c *checker) routeFilters(at string, filters []gatewayv1.HTTPRouteFilter) {
	seen := map[gatewayv1.HTTPRouteFilterType]bool{}
	for i, f := range filters {
		where := index(at, i)
		for _, s := range []struct {
			of    gatewayv1.HTTPRouteFilterType
			field string
			set   bool
		}{
			{gatewayv1.HTTPRouteFilterRequestHeaderModifier, "requestHeaderModifier", f.RequestHeaderModifier != nil},
			{gatewayv1.HTTPRouteFilterResponseHeaderModifier, "responseHeaderModifier", f.ResponseHeaderModifier != nil},
			{gatewayv1.HTTPRouteFilterRequestMirror, "requestMirror", f.RequestMirror != nil},
			{gatewayv1.HTTPRouteFilterRequestRedirect, "requestRedirect", f.RequestRedirect != nil},
			{gatewayv1.HTTPRouteFilterURLRewrite, "urlRewrite", f.URLRewrite != nil},
			{gatewayv1.HTTPRouteFilterCORS, "cors", f.CORS != nil},
			{gatewayv1.HTTPRouteFilterExternalAuth, "externalAuth", f.ExternalAuth != nil},
			{gatewayv1.HTTPRouteFilterExtensionRef, "extensionRef", f.ExtensionRef != nil},
		} {
			switch {
			case f.Type == s.of && !s.set:
				c.errorf(CodeMissing, where, "", "a filter of type %s needs %s", f.Type, s.field)
			case f.Type != s.of && s.set:
				c.errorf(CodeExclusive, join(where, s.field), "", "a filter of type %s has no %s", f.Type, s.field)
			}
		}
		if seen[f.Type] && f.Type != gatewayv1.HTTPRouteFilterRequestMirror && f.Type != gatewayv1.HTTPRouteFilterExtensionRef {
			c.errorf(CodeRepeated, where, "", "a filter of type %s stands twice", f.Type)
		}
		seen[f.Type] = true
		c.routeFilter(where, &f)
	}
	if seen[gatewayv1.HTTPRouteFilterRequestRedirect] && seen[gatewayv1.HTTPRouteFilterURLRewrite] {
		c.errorf(CodeExclusive, at, "", "RequestRedirect and URLRewrite exclude each other")
	}
}

func (c *checker) routeFilter(at string, f *gatewayv1.HTTPRouteFilter) {
	c.headerFilter(join(at, "requestHeaderModifier"), f.RequestHeaderModifier)
	c.headerFilter(join(at, "responseHeaderModifier"), f.ResponseHeaderModifier)
	if m := f.RequestMirror; m != nil {
		where := join(at, "requestMirror")
		c.backendRef(join(where, "backendRef"), gatewayv1.BackendRef{BackendObjectReference: m.BackendRef})
		if m.Percent != nil {
			c.between(join(where, "percent"), float64(*m.Percent), 0, 100)
		}
		if m.Percent != nil && m.Fraction != nil {
			c.errorf(CodeExclusive, join(where, "fraction"), "", "percent and fraction exclude each other")
		}
		if q := m.Fraction; q != nil {
			whole := int32(100)
			if q.Denominator != nil {
				whole = *q.Denominator
			}
			if whole < 1 || q.Numerator < 0 || q.Numerator > whole {
				c.errorf(CodeValue, join(where, "fraction"), "", "%d of %d is not a fraction", q.Numerator, whole)
			}
		}
	}
	if r := f.RequestRedirect; r != nil {
		where := join(at, "requestRedirect")
		if r.Scheme != nil && *r.Scheme != "http" && *r.Scheme != "https" {
			c.errorf(CodeEnum, join(where, "scheme"), "", "%q is neither http nor https", clip(*r.Scheme))
		}
		if r.StatusCode != nil && *r.StatusCode != 301 && *r.StatusCode != 302 && *r.StatusCode != 303 && *r.StatusCode != 307 && *r.StatusCode != 308 {
			c.errorf(CodeEnum, join(where, "statusCode"), "", "%d is none of 301, 302, 303, 307 and 308", *r.StatusCode)
		}
		if r.Port != nil {
			c.port(join(where, "port"), uint32(max(*r.Port, 0)))
		}
		c.preciseHost(join(where, "hostname"), r.Hostname)
		c.pathModifier(join(where, "path"), r.Path)
	}
	if r := f.URLRewrite; r != nil {
		c.preciseHost(join(at, "urlRewrite.hostname"), r.Hostname)
		c.pathModifier(join(at, "urlRewrite.path"), r.Path)
	}
}

func (c *checker) preciseHost(at string, host *gatewayv1.PreciseHostname) {
	if host != nil {
		c.apiHostname(at, string(*host), false)
	}
}

func (c *checker) headerFilter(at string, f *gatewayv1.HTTPHeaderFilter) {
	if f == nil {
		return
	}
	for i, h := range f.Set {
		c.header(join(index(join(at, "set"), i), "name"), string(h.Name))
	}
	for i, h := range f.Add {
		c.header(join(index(join(at, "add"), i), "name"), string(h.Name))
	}
	for i, name := range f.Remove {
		c.header(index(join(at, "remove"), i), name)
	}
}

func (c *checker) pathModifier(at string, p *gatewayv1.HTTPPathModifier) {
	if p == nil {
		return
	}
	full, prefix := p.ReplaceFullPath != nil, p.ReplacePrefixMatch != nil
	switch {
	case p.Type == gatewayv1.FullPathHTTPPathModifier && (!full || prefix):
		c.errorf(CodeMissing, at, "", "type ReplaceFullPath has replaceFullPath alone")
	case p.Type == gatewayv1.PrefixMatchHTTPPathModifier && (!prefix || full):
		c.errorf(CodeMissing, at, "", "type ReplacePrefixMatch has replacePrefixMatch alone")
	}
}

// filterRules checks what filters ask of the rest of their rule.
func (c *checker) filterRules(at string, r *gatewayv1.HTTPRouteRule) {
	check := func(path string, p *gatewayv1.HTTPPathModifier) {
		if p == nil || p.Type != gatewayv1.PrefixMatchHTTPPathModifier {
			return
		}
		if len(r.Matches) > 1 || len(r.Matches) == 1 && r.Matches[0].Path != nil && r.Matches[0].Path.Type != nil && *r.Matches[0].Path.Type != gatewayv1.PathMatchPathPrefix {
			c.errorf(CodeExclusive, path, "", "ReplacePrefixMatch needs exactly one match, with a path of type PathPrefix")
		}
	}
	for i, f := range r.Filters {
		where := index(join(at, "filters"), i)
		if f.RequestRedirect != nil {
			if len(r.BackendRefs) > 0 {
				c.errorf(CodeExclusive, join(at, "backendRefs"), "", "a rule that redirects has no backendRefs")
			}
			check(join(where, "requestRedirect.path"), f.RequestRedirect.Path)
		}
		if f.URLRewrite != nil {
			check(join(where, "urlRewrite.path"), f.URLRewrite.Path)
		}
	}
}

func (c *checker) backendRef(at string, b gatewayv1.BackendRef) {
	if b.Name == "" {
		c.errorf(CodeRequired, at, "", "a name is required")
	}
	if b.Weight != nil {
		c.between(join(at, "weight"), float64(*b.Weight), 0, 1e6)
	}
	if b.Namespace != nil {
		c.named(join(at, "namespace"), string(*b.Namespace), validation.IsDNS1123Label)
	}
	switch {
	case b.Port != nil:
		c.port(join(at, "port"), uint32(max(*b.Port, 0)))
	case (b.Group == nil || *b.Group == "") && (b.Kind == nil || *b.Kind == "Service"):
		c.errorf(CodeRequired, at, "", "a Service needs a port")
	}
}

// routeTimes checks timeouts and retries. Zero switches a timeout off.
func (c *checker) routeTimes(at string, r *gatewayv1.HTTPRouteRule) {
	if t := r.Timeouts; t != nil && t.Request != nil && t.BackendRequest != nil {
		request, err := time.ParseDuration(string(*t.Request))
		attempt, err2 := time.ParseDuration(string(*t.BackendRequest))
		if err == nil && err2 == nil && request > 0 && attempt > request {
			c.errorf(CodeValue, join(at, "timeouts.backendRequest"), "", "%s is longer than the whole request may take: %s", attempt, request)
		}
	}
	if r.Retry == nil {
		return
	}
	for i, code := range r.Retry.Codes {
		c.between(index(join(at, "retry.codes"), i), float64(code), 400, 599)
	}
	if r.Retry.Attempts != nil {
		c.between(join(at, "retry.attempts"), float64(*r.Retry.Attempts), 0, 1<<31-1)
	}
}
