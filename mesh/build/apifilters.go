package build

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// filters adds what a rule's filters do. A rule has one of each kind, mirrors excepted.
func (a *gatewayAPI) filters(o *config.Object, r *model.HTTPRule, m *model.HTTPMatch, filters []gatewayv1.HTTPRouteFilter, path string, b *apiBackends) {
	for i, f := range filters {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case f.RequestHeaderModifier != nil:
			r.Headers.Request = filterOps(f.RequestHeaderModifier)
		case f.ResponseHeaderModifier != nil:
			r.Headers.Response = filterOps(f.ResponseHeaderModifier)
		case f.RequestRedirect != nil:
			r.Redirect = filterRedirect(f.RequestRedirect, m)
		case f.URLRewrite != nil:
			r.Rewrite = filterRewrite(f.URLRewrite, m)
		case f.RequestMirror != nil:
			a.mirror(o, r, f.RequestMirror, at+".requestMirror", b)
		case f.CORS != nil:
			r.CORS = filterCORS(f.CORS)
		} // other filters are refused
	}
}

// filterOps keeps the first of several changes of one header, as the Gateway API wants it.
func filterOps(f *gatewayv1.HTTPHeaderFilter) model.HeaderOps {
	ops := func(list []gatewayv1.HTTPHeader) []model.HeaderOp {
		var out []model.HeaderOp
		for _, h := range list {
			name := strings.ToLower(string(h.Name))
			if !slices.ContainsFunc(out, func(op model.HeaderOp) bool { return op.Name == name }) {
				out = append(out, model.HeaderOp{Name: name, Value: h.Value})
			}
		}
		slices.SortFunc(out, func(a, b model.HeaderOp) int { return strings.Compare(a.Name, b.Name) })
		return out
	}
	return model.HeaderOps{Set: ops(f.Set), Add: ops(f.Add), Remove: slices.Clone(f.Remove)}
}

// pathChange is what a path modifier makes of a path: a prefix in place of the matched
// one, or an expression with its substitution.
func pathChange(p *gatewayv1.HTTPPathModifier, m *model.HTTPMatch) (prefix, pattern, substitution string) {
	if p.Type == gatewayv1.FullPathHTTPPathModifier {
		return "", "^.*$", literal(text(p.ReplaceFullPath))
	}
	replacement := strings.TrimSuffix(text(p.ReplacePrefixMatch), "/")
	switch {
	case m.URI.Kind == model.Prefix && replacement == "": // "/" by "/"
		return "/", "", ""
	case m.URI.Kind == model.Prefix: // the slash that was matched stays between the two
		return replacement + "/", "", ""
	case replacement == "": // the prefix goes away, but for one slash
		return "", "^" + regexp.QuoteMeta(m.URI.Value) + "/?(.*)$", `/\1`
	default:
		return replacement, "", ""
	}
}

// literal is text as a substitution of an expression.
func literal(s string) string { return strings.ReplaceAll(s, `\`, `\\`) }

func filterRewrite(f *gatewayv1.HTTPURLRewriteFilter, m *model.HTTPMatch) *model.Rewrite {
	r := &model.Rewrite{}
	if f.Hostname != nil {
		r.Authority = string(*f.Hostname)
	}
	if f.Path != nil {
		r.URI, r.RegexMatch, r.Substitution = pathChange(f.Path, m)
	}
	if *r == (model.Rewrite{}) {
		return nil
	}
	return r
}

// filterRedirect: without port the one of the listener stays, or with a scheme that
// scheme's own; 302 is the default. Well-known ports are not written.
func filterRedirect(f *gatewayv1.HTTPRequestRedirectFilter, m *model.HTTPMatch) *model.Redirect {
	r := &model.Redirect{Scheme: text(f.Scheme), Code: 302}
	if f.StatusCode != nil {
		r.Code = uint32(*f.StatusCode)
	}
	if f.Hostname != nil {
		r.Authority = string(*f.Hostname)
	}
	switch {
	case f.Port == nil:
		r.FromRequestPort = r.Scheme == ""
	case *f.Port == 80 && r.Scheme == "http" || *f.Port == 443 && r.Scheme == "https":
	default:
		r.Port = uint32(*f.Port)
	}
	if f.Path != nil && f.Path.Type == gatewayv1.FullPathHTTPPathModifier {
		r.URI = text(f.Path.ReplaceFullPath)
	} else if f.Path != nil {
		r.PrefixRewrite, r.RegexMatch, r.Substitution = pathChange(f.Path, m)
	}
	return r
}

// mirror copies requests to a backend; one that may not be used is left out.
func (a *gatewayAPI) mirror(o *config.Object, r *model.HTTPRule, f *gatewayv1.HTTPRequestMirrorFilter, path string, b *apiBackends) {
	d, ok := a.backend(o, b.kind, f.BackendRef, path+".backendRef", b.grants)
	if !ok {
		return
	}
	percent := 100.0
	switch {
	case f.Fraction != nil:
		whole := int32(100)
		if f.Fraction.Denominator != nil {
			whole = *f.Fraction.Denominator
		}
		percent = 100 * float64(f.Fraction.Numerator) / float64(whole)
	case f.Percent != nil:
		percent = float64(*f.Percent)
	}
	if percent > 0 {
		r.Mirrors = append(r.Mirrors, &model.Mirror{Destination: d, Percent: percent})
	}
}

// filterCORS: an origin may have one wildcard for everything before its domain.
func filterCORS(f *gatewayv1.HTTPCORSFilter) *model.CORS {
	m := &model.CORS{}
	for _, origin := range f.AllowOrigins {
		s := model.StringMatch{Kind: model.Exact, Value: string(origin)}
		if s.Value != "*" && strings.Contains(s.Value, "*") {
			s = model.StringMatch{Kind: model.Regex, Value: strings.ReplaceAll(regexp.QuoteMeta(s.Value), `\*`, `.+`)}
		}
		m.Origins = append(m.Origins, s)
	}
	for _, v := range f.AllowMethods {
		m.Methods = append(m.Methods, string(v))
	}
	for _, v := range f.AllowHeaders {
		m.Allow = append(m.Allow, string(v))
	}
	for _, v := range f.ExposeHeaders {
		m.Expose = append(m.Expose, string(v))
	}
	age := time.Duration(cmp.Or(f.MaxAge, 5)) * time.Second
	m.MaxAge = &age
	if f.AllowCredentials != nil && *f.AllowCredentials {
		m.Credentials = f.AllowCredentials
	}
	return m
}

// apiBackends are the backends of one rule.
type apiBackends struct {
	kind   string // of the route
	refs   []gatewayv1.HTTPBackendRef
	path   string
	grants bool // those in other namespaces need a ReferenceGrant
}

// destinations are a rule's backends with a weight. One that may not be used keeps its
// share of the requests, which fail with 500.
func (a *gatewayAPI) destinations(o *config.Object, b *apiBackends) []*model.Destination {
	var list []*model.Destination
	for i, ref := range b.refs {
		path := fmt.Sprintf("%s[%d]", b.path, i)
		weight := int32(1)
		if ref.Weight != nil {
			weight = *ref.Weight
		}
		d, _ := a.backend(o, b.kind, ref.BackendObjectReference, path, b.grants)
		d.Weight = uint32(max(weight, 0))
		for j, f := range ref.Filters {
			switch {
			case f.RequestHeaderModifier != nil:
				d.Headers.Request = filterOps(f.RequestHeaderModifier)
			case f.ResponseHeaderModifier != nil:
				d.Headers.Response = filterOps(f.ResponseHeaderModifier)
			case f.ExtensionRef == nil && f.ExternalAuth == nil: // those are refused everywhere
				a.unsupportedAt(o, fmt.Sprintf("%s.filters[%d]", path, j), fmt.Sprintf("filter %s of a backend", f.Type))
			}
		}
		if weight > 0 {
			list = append(list, d)
		}
	}
	return list
}

// backend resolves a reference, and tells whether it can be used. Where Istio refuses
// it there is no host, and where it leads nowhere no cluster: requests fail with 500.
func (a *gatewayAPI) backend(o *config.Object, route string, ref gatewayv1.BackendObjectReference, path string, grants bool) (*model.Destination, bool) {
	group, kind, namespace := "", "Service", o.Namespace
	if ref.Group != nil {
		group = string(*ref.Group)
	}
	if ref.Kind != nil {
		kind = string(*ref.Kind)
	}
	if ref.Namespace != nil {
		namespace = string(*ref.Namespace)
	}
	d := &model.Destination{Source: sourceAt(o, path)}
	consequence := ": requests would be answered with 500"
	if route == "TCPRoute" || route == "TLSRoute" {
		consequence = ": connections would be closed"
	}
	fail := func(field string, reason gatewayv1.RouteConditionReason, message, hint string) (*model.Destination, bool) {
		a.note(o, grants, Verdict{string(reason), message})
		a.warn(o, CodeBackend, path+field, message+consequence, hint)
		return d, false
	}
	host := string(ref.Name) + "." + namespace + ".svc." + a.options.ClusterDomain
	switch {
	case group == "networking.istio.io" && kind == "Hostname":
		host = strings.ToLower(string(ref.Name))
	case group != "" || kind != "Service":
		return fail(".kind", gatewayv1.RouteReasonInvalidKind, fmt.Sprintf("a backend of kind %s (group %q) is not known", kind, group), "Service is")
	case grants && namespace != o.Namespace && !a.granted(route, o.Namespace, group, kind, namespace, string(ref.Name)):
		return fail(".namespace", gatewayv1.RouteReasonRefNotPermitted, fmt.Sprintf("Service %s/%s may not be used by %ss in namespace %s", namespace, ref.Name, route, o.Namespace),
			grantHint(route, o.Namespace, kind, namespace))
	}
	services := a.matching(host)
	if ref.Port == nil {
		return fail("", gatewayv1.RouteReasonUnsupportedValue, "a backend needs a port", "")
	}
	d.Host, d.Port = host, uint32(*ref.Port)
	switch {
	case len(services) == 0:
		return fail(".name", gatewayv1.RouteReasonBackendNotFound, fmt.Sprintf("no service has the host %q", host), suggestHost(host, a.visible))
	case services[0].Port(d.Port) == nil:
		return fail(".port", gatewayv1.RouteReasonBackendNotFound, fmt.Sprintf("service %q has no port %d: it has %s", host, d.Port, portList(services[0])), "")
	}
	return d, true
}
