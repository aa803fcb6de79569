package build

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

func (b *builder) httpRule(o *config.Object, r *networkingpb.HTTPRoute, path string) *model.HTTPRule {
	rule := &model.HTTPRule{
		Name: r.GetName(), Timeout: r.GetTimeout().AsDuration(),
		Rewrite: rewrite(r.GetRewrite()), Fault: fault(r.GetFault()), CORS: cors(r.GetCorsPolicy()),
		Headers: headerRules(r.GetHeaders()), Source: sourceAt(o, path),
	}
	if r.GetRetries() != nil {
		rule.Retry = retry(r.GetRetries())
	}
	for i, m := range r.GetMatch() {
		rule.Matches = append(rule.Matches, b.httpMatch(o, m, fmt.Sprintf("%s.match[%d]", path, i)))
	}
	for i, d := range r.GetRoute() {
		at := fmt.Sprintf("%s.route[%d].destination", path, i)
		dest := b.destination(o, d.GetDestination(), at)
		dest.Weight, dest.Headers = uint32(max(d.GetWeight(), 0)), headerRules(d.GetHeaders())
		rule.Routes = append(rule.Routes, dest)
	}
	if d := r.GetRedirect(); d != nil {
		rule.Redirect = redirect(d)
	}
	if d := r.GetDirectResponse(); d != nil {
		rule.Direct = &model.Direct{Status: d.GetStatus()}
		switch body := d.GetBody().GetSpecifier().(type) {
		case *networkingpb.HTTPBody_String_:
			rule.Direct.Body, rule.Direct.Text = []byte(body.String_), true
		case *networkingpb.HTTPBody_Bytes:
			rule.Direct.Body = body.Bytes
		}
	}
	rule.Mirrors = b.mirrors(o, r, path)
	return rule
}

func (b *builder) destination(o *config.Object, d *networkingpb.Destination, path string) *model.Destination {
	dest := &model.Destination{
		Host: b.resolve(d.GetHost(), o.Namespace), Subset: d.GetSubset(), Port: d.GetPort().GetNumber(), Source: sourceAt(o, path),
	}
	b.origin.paths[dest] = place{o, path}
	return dest
}

func (b *builder) httpMatch(o *config.Object, m *networkingpb.HTTPMatchRequest, path string) *model.HTTPMatch {
	return &model.HTTPMatch{
		Name: m.GetName(),
		URI:  stringMatch(m.GetUri()), Scheme: stringMatch(m.GetScheme()),
		Method: stringMatch(m.GetMethod()), Authority: stringMatch(m.GetAuthority()),
		IgnoreURICase: m.GetIgnoreUriCase(),
		Headers:       namedMatches(m.GetHeaders(), true), Without: namedMatches(m.GetWithoutHeaders(), true),
		Claims: slices.Concat(claimMatches(m.GetHeaders(), false), claimMatches(m.GetWithoutHeaders(), true)),
		Query:  namedMatches(m.GetQueryParams(), false),
		Port:   m.GetPort(), SourceLabels: m.GetSourceLabels(), SourceNamespace: m.GetSourceNamespace(),
		Gateways:   b.gatewayRefs(o, path+".gateways", m.GetGateways(), o.Namespace),
		StatPrefix: m.GetStatPrefix(), Source: sourceAt(o, path),
	}
}

func stringMatch(m *networkingpb.StringMatch) *model.StringMatch {
	switch t := m.GetMatchType().(type) {
	case *networkingpb.StringMatch_Exact:
		return &model.StringMatch{Kind: model.Exact, Value: t.Exact}
	case *networkingpb.StringMatch_Prefix:
		return &model.StringMatch{Kind: model.Prefix, Value: t.Prefix}
	case *networkingpb.StringMatch_Regex:
		return &model.StringMatch{Kind: model.Regex, Value: t.Regex}
	default:
		return nil
	}
}

// namedMatches sorts the map that headers and parameters are written as. A match
// that says nothing, or the regex "*", asks for presence; so do empty prefixes and
// regexes of headers.
func namedMatches(matches map[string]*networkingpb.StringMatch, header bool) []model.NamedMatch {
	var list []model.NamedMatch
	for _, name := range slices.Sorted(maps.Keys(matches)) {
		// The pseudo fields have matches of their own; here Istio ignores them, with a warning.
		if header && slices.Contains([]string{"uri", "scheme", "method", "authority"}, name) {
			continue
		}
		if _, claim := config.ClaimPath(name); header && claim {
			continue
		}
		n := model.NamedMatch{Name: name, StringMatch: model.StringMatch{Kind: model.Present}}
		if m := stringMatch(matches[name]); m != nil && (m.Kind != model.Regex || m.Value != "*") {
			n.StringMatch = *m
			if m.Value == "" && m.Kind != model.Exact {
				n.StringMatch = model.StringMatch{Kind: model.Present}
			}
		}
		list = append(list, n)
	}
	return list
}

// claimMatches are the matches of headers that stand for claims.
func claimMatches(matches map[string]*networkingpb.StringMatch, not bool) []model.ClaimMatch {
	var list []model.ClaimMatch
	for _, name := range slices.Sorted(maps.Keys(matches)) {
		if path, ok := config.ClaimPath(name); ok {
			if m := stringMatch(matches[name]); m != nil {
				list = append(list, model.ClaimMatch{Path: path, StringMatch: *m, Not: not})
			}
		}
	}
	return list
}

func headerRules(h *networkingpb.Headers) model.HeaderRules {
	return model.HeaderRules{Request: headerOps(h.GetRequest()), Response: headerOps(h.GetResponse())}
}

func headerOps(h *networkingpb.Headers_HeaderOperations) model.HeaderOps {
	return model.HeaderOps{Set: sortedOps(h.GetSet()), Add: sortedOps(h.GetAdd()), Remove: slices.Clone(h.GetRemove())}
}

func sortedOps(ops map[string]string) []model.HeaderOp {
	var list []model.HeaderOp
	for _, name := range slices.Sorted(maps.Keys(ops)) {
		list = append(list, model.HeaderOp{Name: name, Value: ops[name]})
	}
	return list
}

func redirect(r *networkingpb.HTTPRedirect) *model.Redirect {
	return &model.Redirect{
		URI: r.GetUri(), PrefixRewrite: r.GetPrefixRewrite(), Authority: r.GetAuthority(), Scheme: r.GetScheme(), Port: r.GetPort(),
		FromRequestPort: r.GetDerivePort() == networkingpb.HTTPRedirect_FROM_REQUEST_PORT,
		Code:            cmp.Or(r.GetRedirectCode(), 301),
	}
}

func rewrite(r *networkingpb.HTTPRewrite) *model.Rewrite {
	if r == nil {
		return nil
	}
	return &model.Rewrite{
		URI: r.GetUri(), Authority: r.GetAuthority(),
		RegexMatch: r.GetUriRegexRewrite().GetMatch(), Substitution: r.GetUriRegexRewrite().GetRewrite(),
	}
}

// fault reads percentages as Istio does: without percentage the deprecated percent
// holds, and without that nothing happens.
func fault(f *networkingpb.HTTPFaultInjection) *model.Fault {
	if f.GetDelay() == nil && f.GetAbort() == nil {
		return nil
	}
	m := &model.Fault{}
	if d := f.GetDelay(); d != nil && d.GetFixedDelay() != nil {
		m.HasDelay, m.Delay = true, d.GetFixedDelay().AsDuration()
		//lint:ignore SA1019 deprecated, and still written
		m.DelayPercent = float64(d.GetPercent())
		if d.GetPercentage() != nil {
			m.DelayPercent = d.GetPercentage().GetValue()
		}
	}
	if a := f.GetAbort(); a != nil {
		m.AbortStatus, m.AbortGRPC, m.AbortPercent = uint32(a.GetHttpStatus()), a.GetGrpcStatus(), a.GetPercentage().GetValue()
	}
	return m
}

func retry(r *networkingpb.HTTPRetry) *model.Retry {
	return &model.Retry{
		Attempts: r.GetAttempts(), PerTry: r.GetPerTryTimeout().AsDuration(), On: strings.TrimSpace(r.GetRetryOn()),
		BackOff:             r.GetBackoff().AsDuration(),
		RemoteLocalities:    r.GetRetryRemoteLocalities().GetValue(),
		IgnorePreviousHosts: r.GetRetryIgnorePreviousHosts() == nil || r.GetRetryIgnorePreviousHosts().GetValue(),
	}
}

func cors(c *networkingpb.CorsPolicy) *model.CORS {
	if c == nil {
		return nil
	}
	m := &model.CORS{
		Methods: c.GetAllowMethods(), Allow: c.GetAllowHeaders(), Expose: c.GetExposeHeaders(),
		IgnorePreflights: c.GetUnmatchedPreflights() == networkingpb.CorsPolicy_IGNORE,
	}
	for _, origin := range c.GetAllowOrigins() {
		if s := stringMatch(origin); s != nil {
			m.Origins = append(m.Origins, *s)
		}
	}
	//lint:ignore SA1019 deprecated, and still written
	for _, origin := range c.GetAllowOrigin() {
		m.Origins = append(m.Origins, model.StringMatch{Kind: model.Exact, Value: origin})
	}
	if c.GetMaxAge() != nil {
		age := c.GetMaxAge().AsDuration()
		m.MaxAge = &age
	}
	if c.GetAllowCredentials() != nil {
		v := c.GetAllowCredentials().GetValue()
		m.Credentials = &v
	}
	return m
}

// mirrors reads mirror with its percentage, or mirrors. No percentage is all of
// the requests; zero is none, and leaves the mirror out.
func (b *builder) mirrors(o *config.Object, r *networkingpb.HTTPRoute, path string) []*model.Mirror {
	var list []*model.Mirror
	if r.GetMirror() != nil {
		percent := 100.0
		switch {
		case r.GetMirrorPercentage() != nil:
			percent = r.GetMirrorPercentage().GetValue()
		//lint:ignore SA1019 deprecated, and still written
		case r.GetMirrorPercent() != nil:
			//lint:ignore SA1019 deprecated, and still written
			percent = float64(r.GetMirrorPercent().GetValue())
		}
		if percent > 0 {
			list = append(list, &model.Mirror{Destination: b.destination(o, r.GetMirror(), path+".mirror"), Percent: percent})
		}
	}
	for i, m := range r.GetMirrors() {
		percent := 100.0
		if m.GetPercentage() != nil {
			percent = m.GetPercentage().GetValue()
		}
		if percent > 0 {
			list = append(list, &model.Mirror{
				Destination: b.destination(o, m.GetDestination(), fmt.Sprintf("%s.mirrors[%d].destination", path, i)), Percent: percent})
		}
	}
	return list
}
