package analyze

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// shadowedRoutes finds matches that no request gets to, because an earlier one is true
// of every request that they are true of. The proxy takes the first rule that matches.
// What stands behind a rule for everything, or stands twice, decoding has told.
func (a *analysis) shadowedRoutes() {
	each(a, "VirtualService", func(o *config.Object, v *networkingv1.VirtualService) {
		var before []placedMatch
		for i, r := range v.Spec.GetHttp() {
			if r.GetDelegate() != nil {
				continue // what a delegate leaves over, the delegate decides
			}
			before = append(before, a.shadowedMatches(o, &v.Spec, r, fmt.Sprintf("spec.http[%d]", i), before)...)
		}
	})
}

type placedMatch struct {
	path  string
	match *networkingpb.HTTPMatchRequest
}

// shadowedMatches reports the matches of one rule that others cover, and returns those
// that are reached.
func (a *analysis) shadowedMatches(o *config.Object, v *networkingpb.VirtualService, r *networkingpb.HTTPRoute, path string, before []placedMatch) []placedMatch {
	type shadow struct{ path, by string }
	var own []placedMatch
	var shadows []shadow
	matches := r.GetMatch()
	for j, m := range matches {
		at := fmt.Sprintf("%s.match[%d]", path, j)
		known := false
		var by string
		for _, b := range before {
			if told(b.match, m) {
				known = true
			} else if by == "" && covers(v.GetGateways(), b.match, m) {
				by = b.path
			}
		}
		if by != "" && !known {
			shadows = append(shadows, shadow{at, by})
		} else if i := slices.IndexFunc(own, func(b placedMatch) bool { return !told(b.match, m) && covers(v.GetGateways(), b.match, m) }); i >= 0 {
			a.report(o, config.Info, CodeShadowedMatch, at, fmt.Sprintf("%s in line %d of the same rule takes all that this match matches", own[i].path, o.At(own[i].path).Line), "leave it out")
		}
		own = append(own, placedMatch{at, m})
	}
	if len(matches) == 0 {
		return []placedMatch{{path, &networkingpb.HTTPMatchRequest{}}}
	}
	if len(shadows) == len(matches) {
		a.report(o, config.Warning, CodeShadowedRule, path, fmt.Sprintf("no request can get here: %s in line %d takes all that this rule matches",
			shadows[0].by, o.At(shadows[0].by).Line), "put the narrower rule first")
		return own
	}
	for _, s := range shadows {
		a.report(o, config.Warning, CodeShadowedMatch, s.path, fmt.Sprintf("no request can get to this match: %s in line %d takes all that it matches",
			s.by, o.At(s.by).Line), "put the narrower rule first")
	}
	return own
}

// told reports whether decoding has told already that b covers m.
func told(b, m *networkingpb.HTTPMatchRequest) bool {
	b, m = bare(b), bare(m)
	if proto.Equal(b, m) {
		return true
	}
	uri := b.GetUri()
	b.Uri, b.IgnoreUriCase = nil, false
	return proto.Equal(b, &networkingpb.HTTPMatchRequest{}) &&
		(uri.GetMatchType() == nil || uri.GetPrefix() == "/" || uri.GetRegex() == "*" || uri.GetRegex() == ".*")
}

// bare is a match without what says nothing about requests.
func bare(m *networkingpb.HTTPMatchRequest) *networkingpb.HTTPMatchRequest {
	m = proto.Clone(m).(*networkingpb.HTTPMatchRequest)
	m.Name, m.StatPrefix = "", ""
	return m
}

// covers reports whether every request that m matches is matched by e, too. False is
// the answer where that cannot be decided.
func covers(gateways []string, e, m *networkingpb.HTTPMatchRequest) bool {
	path := implies
	switch {
	case e.GetIgnoreUriCase() && e.GetUri().GetRegex() == "": // expressions mind case anyway
		path = func(m, e *networkingpb.StringMatch) bool { return implies(lower(m), lower(e)) }
	case m.GetIgnoreUriCase() && m.GetUri().GetRegex() == "":
		path = func(*networkingpb.StringMatch, *networkingpb.StringMatch) bool { return false }
	}
	return (all(e.GetUri(), true) || path(m.GetUri(), e.GetUri())) &&
		implies(m.GetScheme(), e.GetScheme()) && implies(m.GetMethod(), e.GetMethod()) && implies(m.GetAuthority(), e.GetAuthority()) &&
		named(e.GetHeaders(), m.GetHeaders(), foldHeader) && named(e.GetQueryParams(), m.GetQueryParams(), func(s string) string { return s }) &&
		without(e, m) &&
		(e.GetPort() == 0 || e.GetPort() == m.GetPort()) &&
		(e.GetSourceNamespace() == "" || e.GetSourceNamespace() == m.GetSourceNamespace()) &&
		subset(e.GetSourceLabels(), m.GetSourceLabels()) &&
		bound(gateways, e, m)
}

// bound reports whether e holds at every gateway that m holds at.
func bound(gateways []string, e, m *networkingpb.HTTPMatchRequest) bool {
	at := func(r *networkingpb.HTTPMatchRequest) []string {
		switch {
		case len(r.GetGateways()) > 0:
			return r.GetGateways()
		case len(gateways) > 0:
			return gateways
		}
		return []string{"mesh"}
	}
	have := at(e)
	return !slices.ContainsFunc(at(m), func(g string) bool { return !slices.Contains(have, g) })
}

func subset(e, m map[string]string) bool {
	for k, v := range e {
		if have, ok := m[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// named reports whether each condition of e about a header or parameter follows from
// one of m about the same.
func named(e, m map[string]*networkingpb.StringMatch, fold func(string) string) bool {
	own := map[string]*networkingpb.StringMatch{}
	for name, c := range m {
		own[fold(name)] = c
	}
	for name, c := range e {
		have, ok := own[fold(name)]
		if !ok || !present(c) && (present(have) || !implies(have, c)) {
			return false
		}
	}
	return true
}

// foldHeader makes equal what names the same header, or the same claim.
func foldHeader(name string) string {
	if path, ok := config.ClaimPath(name); ok {
		return "@" + strings.Join(path, "\x00")
	}
	return strings.ToLower(name)
}

// present reports whether a condition only asks that there is a value.
func present(c *networkingpb.StringMatch) bool {
	switch t := c.GetMatchType().(type) {
	case *networkingpb.StringMatch_Regex:
		return t.Regex == "*" || t.Regex == ""
	case *networkingpb.StringMatch_Prefix:
		return t.Prefix == ""
	case *networkingpb.StringMatch_Exact:
		return false
	}
	return true
}

// without reports whether each header that e does not want is one that m does not want,
// or wants with another value.
func without(e, m *networkingpb.HTTPMatchRequest) bool {
	for name, c := range e.GetWithoutHeaders() {
		ok := false
		_, claim := config.ClaimPath(name) // one that is a list may have the other value, too
		for other, w := range m.GetWithoutHeaders() {
			ok = ok || foldHeader(name) == foldHeader(other) && (present(w) || !present(c) && implies(c, w))
		}
		for other, h := range m.GetHeaders() {
			ok = ok || !claim && strings.EqualFold(name, other) && !present(c) && h.GetExact() != "" && !matches(c, h.GetExact())
		}
		if !ok {
			return false
		}
	}
	return true
}

// all reports whether a condition is true of every value; a path begins with "/".
func all(c *networkingpb.StringMatch, path bool) bool {
	switch t := c.GetMatchType().(type) {
	case nil:
		return true
	case *networkingpb.StringMatch_Prefix:
		return t.Prefix == "" || path && t.Prefix == "/"
	case *networkingpb.StringMatch_Regex:
		return t.Regex == ".*" || path && (t.Regex == "/.*" || t.Regex == "*")
	}
	return false
}

// implies reports whether every value that m is true of is one that e is true of.
func implies(m, e *networkingpb.StringMatch) bool {
	if all(e, false) {
		return true
	}
	switch t := m.GetMatchType().(type) {
	case *networkingpb.StringMatch_Exact:
		return matches(e, t.Exact)
	case *networkingpb.StringMatch_Prefix:
		prefix, ok := e.GetMatchType().(*networkingpb.StringMatch_Prefix)
		return ok && strings.HasPrefix(t.Prefix, prefix.Prefix) || openRegex(e, t.Prefix)
	case *networkingpb.StringMatch_Regex:
		if e.GetRegex() == t.Regex {
			return true
		}
		prefix, ok := e.GetMatchType().(*networkingpb.StringMatch_Prefix)
		if !ok {
			return false
		}
		r, err := regexp.Compile(t.Regex)
		if err != nil {
			return false
		}
		literal, _ := r.LiteralPrefix()
		return strings.HasPrefix(literal, prefix.Prefix)
	}
	return false
}

// openRegex reports whether e is a literal prefix of a prefix, with anything behind it.
func openRegex(e *networkingpb.StringMatch, prefix string) bool {
	literal, ok := strings.CutSuffix(e.GetRegex(), ".*")
	return ok && regexp.QuoteMeta(literal) == literal && strings.HasPrefix(prefix, literal)
}

// matches reports whether a condition is true of a value. Expressions match as a whole.
func matches(c *networkingpb.StringMatch, value string) bool {
	switch t := c.GetMatchType().(type) {
	case *networkingpb.StringMatch_Exact:
		return t.Exact == value
	case *networkingpb.StringMatch_Prefix:
		return strings.HasPrefix(value, t.Prefix)
	case *networkingpb.StringMatch_Regex:
		r, err := regexp.Compile(`\A(?:` + t.Regex + `)\z`)
		return err == nil && r.MatchString(value)
	}
	return true
}

// lower is a comparison that does not mind case, as one of lower-case values.
// Expressions stay: they are not to be changed.
func lower(c *networkingpb.StringMatch) *networkingpb.StringMatch {
	switch t := c.GetMatchType().(type) {
	case *networkingpb.StringMatch_Exact:
		return &networkingpb.StringMatch{MatchType: &networkingpb.StringMatch_Exact{Exact: strings.ToLower(t.Exact)}}
	case *networkingpb.StringMatch_Prefix:
		return &networkingpb.StringMatch{MatchType: &networkingpb.StringMatch_Prefix{Prefix: strings.ToLower(t.Prefix)}}
	}
	return c
}
