package build

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// httpRules makes one rule of every match, as the Gateway API orders matches one by one.
func (a *gatewayAPI) httpRules(o *config.Object, rules []gatewayv1.HTTPRouteRule, grants bool) []*model.HTTPRule {
	if len(rules) == 0 && !o.Has("spec.rules") { // the API server's default
		rules = []gatewayv1.HTTPRouteRule{{}}
	}
	var list []*model.HTTPRule
	for i, r := range rules {
		at := fmt.Sprintf("spec.rules[%d]", i)
		matches := []*model.HTTPMatch{{URI: &model.StringMatch{Kind: model.Prefix, Value: "/"}}}
		if len(r.Matches) > 0 {
			matches = nil
		}
		for j, m := range r.Matches {
			matches = append(matches, httpRouteMatch(o, m, fmt.Sprintf("%s.matches[%d]", at, j)))
		}
		common := &model.HTTPRule{Name: ruleName(o, r.Name, i), Source: sourceAt(o, at), Retry: routeRetry(r.Retry)}
		routeTimeouts(common, r.Timeouts)
		backends := &apiBackends{kind: "HTTPRoute", refs: r.BackendRefs, path: at + ".backendRefs", grants: grants}
		list = append(list, a.perMatch(o, common, matches, r.Filters, at+".filters", backends)...)
	}
	return list
}

// grpcRules does the same for gRPC, whose services and methods are paths.
func (a *gatewayAPI) grpcRules(o *config.Object, rules []gatewayv1.GRPCRouteRule, grants bool) []*model.HTTPRule {
	var list []*model.HTTPRule
	for i, r := range rules {
		at := fmt.Sprintf("spec.rules[%d]", i)
		matches := []*model.HTTPMatch{{}}
		if len(r.Matches) > 0 {
			matches = nil
		}
		for j, m := range r.Matches {
			matches = append(matches, grpcRouteMatch(o, m, fmt.Sprintf("%s.matches[%d]", at, j)))
		}
		backends := &apiBackends{kind: "GRPCRoute", path: at + ".backendRefs", grants: grants}
		for _, b := range r.BackendRefs {
			backends.refs = append(backends.refs, gatewayv1.HTTPBackendRef{BackendRef: b.BackendRef, Filters: httpFilters(b.Filters)})
		}
		common := &model.HTTPRule{Name: ruleName(o, r.Name, i), Source: sourceAt(o, at)}
		list = append(list, a.perMatch(o, common, matches, httpFilters(r.Filters), at+".filters", backends)...)
	}
	return list
}

// httpFilters are gRPC's filters, which are HTTP's, fewer.
func httpFilters(filters []gatewayv1.GRPCRouteFilter) []gatewayv1.HTTPRouteFilter {
	var list []gatewayv1.HTTPRouteFilter
	for _, f := range filters {
		list = append(list, gatewayv1.HTTPRouteFilter{
			Type: gatewayv1.HTTPRouteFilterType(f.Type), RequestHeaderModifier: f.RequestHeaderModifier,
			ResponseHeaderModifier: f.ResponseHeaderModifier, RequestMirror: f.RequestMirror, ExtensionRef: f.ExtensionRef,
		})
	}
	return list
}

// ruleName is what routes are called in access logs: the rule's name, or Istio's
// NAMESPACE.NAME.INDEX.
func ruleName(o *config.Object, name *gatewayv1.SectionName, i int) string {
	if name != nil && *name != "" {
		return string(*name)
	}
	return fmt.Sprintf("%s.%s.%d", o.Namespace, o.Name, i)
}

func (a *gatewayAPI) unsupportedAt(o *config.Object, path, what string) {
	a.once(o, config.Error, CodeUnsupported, path, what+" is not supported yet", "")
}

// perMatch completes a rule and copies it for each match.
func (a *gatewayAPI) perMatch(o *config.Object, common *model.HTTPRule, matches []*model.HTTPMatch, filters []gatewayv1.HTTPRouteFilter, path string, b *apiBackends) []*model.HTTPRule {
	destinations := a.destinations(o, b)
	var list []*model.HTTPRule
	for _, m := range matches {
		r := *common
		r.Matches = []*model.HTTPMatch{m}
		if m.URI == nil && len(m.Headers) == 0 { // it says nothing
			r.Matches = nil
		}
		a.filters(o, &r, m, filters, path, b)
		switch {
		case r.Redirect != nil:
		case len(destinations) == 0: // no backend, or all of weight 0
			r.Direct = &model.Direct{Status: 500}
		default:
			r.Routes = destinations
		}
		list = append(list, &r)
	}
	return list
}

func httpRouteMatch(o *config.Object, m gatewayv1.HTTPRouteMatch, path string) *model.HTTPMatch {
	match := &model.HTTPMatch{Source: sourceAt(o, path), URI: pathMatch(m.Path)}
	for _, h := range m.Headers {
		kind := model.Exact
		if h.Type != nil && *h.Type == gatewayv1.HeaderMatchRegularExpression {
			kind = model.Regex
		}
		match.Headers = addMatch(match.Headers, strings.ToLower(string(h.Name)), kind, h.Value)
	}
	for _, q := range m.QueryParams {
		kind := model.Exact
		if q.Type != nil && *q.Type == gatewayv1.QueryParamMatchRegularExpression {
			kind = model.Regex
		}
		match.Query = addMatch(match.Query, string(q.Name), kind, q.Value)
	}
	if m.Method != nil {
		match.Method = &model.StringMatch{Kind: model.Exact, Value: string(*m.Method)}
	}
	return match
}

// addMatch keeps the first match of a name, as the Gateway API wants it, in order of names.
func addMatch(list []model.NamedMatch, name string, kind model.MatchKind, value string) []model.NamedMatch {
	i, found := slices.BinarySearchFunc(list, name, func(m model.NamedMatch, name string) int { return strings.Compare(m.Name, name) })
	if found {
		return list
	}
	return slices.Insert(list, i, model.NamedMatch{Name: name, StringMatch: model.StringMatch{Kind: kind, Value: value}})
}

// pathMatch is a prefix of whole segments unless it says otherwise; a slash at its end
// does not count. No path is the prefix "/", which takes everything.
func pathMatch(p *gatewayv1.HTTPPathMatch) *model.StringMatch {
	kind, value := gatewayv1.PathMatchPathPrefix, "/"
	if p != nil && p.Type != nil {
		kind = *p.Type
	}
	if p != nil && p.Value != nil {
		value = *p.Value
	}
	switch kind {
	case gatewayv1.PathMatchExact:
		return &model.StringMatch{Kind: model.Exact, Value: value}
	case gatewayv1.PathMatchRegularExpression:
		return &model.StringMatch{Kind: model.Regex, Value: value}
	}
	if value = strings.TrimSuffix(value, "/"); value == "" {
		return &model.StringMatch{Kind: model.Prefix, Value: "/"}
	}
	return &model.StringMatch{Kind: model.Segments, Value: value}
}

// grpcRouteMatch: a method of gRPC is the path /SERVICE/METHOD.
func grpcRouteMatch(o *config.Object, m gatewayv1.GRPCRouteMatch, path string) *model.HTTPMatch {
	match := &model.HTTPMatch{Source: sourceAt(o, path)}
	for _, h := range m.Headers {
		kind := model.Exact
		if h.Type != nil && *h.Type == gatewayv1.GRPCHeaderMatchRegularExpression {
			kind = model.Regex
		}
		match.Headers = addMatch(match.Headers, strings.ToLower(string(h.Name)), kind, h.Value)
	}
	if m.Method == nil {
		return match
	}
	service, method := text(m.Method.Service), text(m.Method.Method)
	regex := m.Method.Type != nil && *m.Method.Type == gatewayv1.GRPCMethodMatchRegularExpression
	switch {
	case service != "" && method == "" && !regex:
		match.URI = &model.StringMatch{Kind: model.Segments, Value: "/" + service}
	case service != "" && method == "":
		match.URI = &model.StringMatch{Kind: model.Regex, Value: "/" + service + "/.+"}
	case service == "" && !regex:
		match.URI = &model.StringMatch{Kind: model.Regex, Value: "/[^/]+/" + regexp.QuoteMeta(method)}
	case service == "":
		match.URI = &model.StringMatch{Kind: model.Regex, Value: "/[^/]+/" + method}
	case regex:
		match.URI = &model.StringMatch{Kind: model.Regex, Value: "/" + service + "/" + method}
	default:
		match.URI = &model.StringMatch{Kind: model.Exact, Value: "/" + service + "/" + method}
	}
	return match
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// duration reads a duration that the decoder has checked.
func duration(d *gatewayv1.Duration) time.Duration {
	if d == nil {
		return 0
	}
	v, err := time.ParseDuration(string(*d))
	if err != nil {
		return 0
	}
	return v
}

// routeRetry: where retries are asked for, failures to connect are retried too, and
// twice unless attempts are said.
func routeRetry(r *gatewayv1.HTTPRouteRetry) *model.Retry {
	if r == nil {
		return nil
	}
	on := []string{"connect-failure", "refused-stream", "unavailable", "cancelled"}
	for _, code := range r.Codes {
		on = append(on, fmt.Sprint(int(code)))
	}
	m := &model.Retry{Attempts: 2, On: strings.Join(on, ","), BackOff: duration(r.Backoff), IgnorePreviousHosts: true}
	if r.Attempts != nil {
		m.Attempts = int32(*r.Attempts)
	}
	return m
}

// routeTimeouts: the time for one attempt is a timeout per try where retries are asked
// for, and else the time for the request, as Istio has it.
func routeTimeouts(rule *model.HTTPRule, t *gatewayv1.HTTPRouteTimeouts) {
	if t == nil {
		return
	}
	rule.Timeout = duration(t.Request)
	attempt := duration(t.BackendRequest)
	switch {
	case attempt == 0:
	case rule.Retry != nil:
		rule.Retry.PerTry = attempt
	default:
		rule.Timeout = attempt
	}
}
