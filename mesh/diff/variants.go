package diff

import (
	"maps"
	"regexp/syntax"
	"slices"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// variants are the requests that a VirtualService's matches make a difference for: for
// each match one that it is true of, and for each of its conditions some at its
// boundary, where the condition alone does not hold any more.
func variants(v *networkingpb.VirtualService) []variant {
	var list []variant
	for _, r := range v.GetHttp() {
		for _, m := range r.GetMatch() {
			list = append(list, matchVariants(m)...)
		}
	}
	return list
}

func matchVariants(m *networkingpb.HTTPMatchRequest) []variant {
	hit := variant{method: "GET", path: "/", headers: map[string]string{}}
	paths, missed := values(m.GetUri())
	if len(paths) > 0 {
		hit.path = paths[0]
	}
	if methods, _ := values(m.GetMethod()); len(methods) > 0 {
		hit.method = methods[0]
	}
	if authorities, _ := values(m.GetAuthority()); len(authorities) > 0 {
		hit.authority = authorities[0]
	}
	for _, name := range headerNames(m.GetHeaders()) {
		hit.headers[name] = "x"
		if good, _ := values(m.GetHeaders()[name]); len(good) > 0 {
			hit.headers[name] = good[0]
		}
	}
	var query []string
	for _, name := range slices.Sorted(maps.Keys(m.GetQueryParams())) {
		value := "x"
		if good, _ := values(m.GetQueryParams()[name]); len(good) > 0 {
			value = good[0]
		}
		query = append(query, name+"="+value)
	}
	path := hit.path
	with := func(path string) string {
		if len(query) == 0 {
			return path
		}
		return path + "?" + strings.Join(query, "&")
	}
	hit.path = with(path)
	list := []variant{hit}
	for _, other := range slices.Concat(paths, missed) {
		v := hit
		v.path = with(other)
		list = append(list, v)
	}
	if len(query) > 0 {
		v := hit
		v.path = path
		list = append(list, v)
	}
	claims := matchClaims(m.GetHeaders())
	list = append(list, claimVariants(hit, claims)...)
	if unwanted := matchClaims(m.GetWithoutHeaders()); unwanted != nil {
		list = append(list, claimVariants(hit, append(claims, unwanted...))...)
	}
	return append(list, headerVariants(m, hit)...)
}

// headerVariants leave out one header at a time, or change it, and add those that the
// match does not want; another method is asked, too.
func headerVariants(m *networkingpb.HTTPMatchRequest, hit variant) []variant {
	var list []variant
	for _, name := range headerNames(m.GetHeaders()) {
		v := hit
		v.headers = maps.Clone(hit.headers)
		delete(v.headers, name)
		list = append(list, v)
		if _, bad := values(m.GetHeaders()[name]); len(bad) > 0 {
			w := hit
			w.headers = maps.Clone(hit.headers)
			w.headers[name] = bad[0]
			list = append(list, w)
		}
	}
	for _, name := range headerNames(m.GetWithoutHeaders()) {
		v := hit
		v.headers = maps.Clone(hit.headers)
		v.headers[name] = "x"
		if good, _ := values(m.GetWithoutHeaders()[name]); len(good) > 0 {
			v.headers[name] = good[0]
		}
		list = append(list, v)
	}
	if m.GetMethod() != nil {
		v := hit
		v.method = "PUT"
		list = append(list, v)
	}
	return list
}

// headerNames are the names of headers in order. A claim is none: it is in a token.
func headerNames(matches map[string]*networkingpb.StringMatch) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(matches)), func(name string) bool {
		_, claim := config.ClaimPath(name)
		return claim
	})
}

// values are some that a condition is true of, and some at its boundary.
func values(c *networkingpb.StringMatch) (hits, misses []string) {
	switch t := c.GetMatchType().(type) {
	case *networkingpb.StringMatch_Exact:
		return []string{t.Exact}, []string{t.Exact + "x"}
	case *networkingpb.StringMatch_Prefix:
		if short := strings.TrimSuffix(t.Prefix, "/"); short != t.Prefix && short != "" {
			misses = append(misses, short)
		}
		return []string{t.Prefix, t.Prefix + "x"}, misses
	case *networkingpb.StringMatch_Regex:
		if example, ok := example(t.Regex); ok {
			return []string{example}, []string{example + "~"}
		}
	}
	return nil, nil
}

// example is a text that an expression matches: of each choice the first, of each
// repetition the least, of each class one character that URLs and headers may have.
func example(expression string) (string, bool) {
	re, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return "", false
	}
	var b strings.Builder
	ok := write(&b, re.Simplify())
	return b.String(), ok
}

func write(b *strings.Builder, re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		for i := 0; i+1 < len(re.Rune); i += 2 {
			for r := max(re.Rune[i], '0'); r <= min(re.Rune[i+1], 'z'); r++ {
				if r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' {
					b.WriteRune(r)
					return true
				}
			}
		}
		return false
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte('x')
	case syntax.OpPlus, syntax.OpCapture:
		return write(b, re.Sub[0])
	case syntax.OpAlternate:
		return write(b, re.Sub[0])
	case syntax.OpConcat:
		for _, s := range re.Sub {
			if !write(b, s) {
				return false
			}
		}
	case syntax.OpNoMatch, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return false
	}
	return true
}
