package route

import (
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// claim is a matcher as Istio sends it: of a string, or of one in a list.
func claim(value *snapshot.StringMatch, path ...string) snapshot.MetadataMatch {
	one := snapshot.ValueMatch{String: value}
	return snapshot.MetadataMatch{Filter: snapshot.JWT{}.FilterName(), Path: append([]string{"payload"}, path...),
		Value: snapshot.ValueMatch{Or: []snapshot.ValueMatch{{OneOf: &one}, one}}}
}

func TestRoutesByClaims(t *testing.T) {
	token := Metadata{snapshot.JWT{}.FilterName(): {"payload": map[string]any{
		"sub": "jason", "groups": []any{"readers", "beta"}, "account": map[string]any{"plan": "gold"}, "age": 7.0}}}
	not := claim(exact("jason"), "sub")
	not.Invert = true
	for name, c := range map[string]struct {
		match  snapshot.MetadataMatch
		known  Metadata
		reason string // empty: it matches
	}{
		"a string":              {claim(exact("jason"), "sub"), token, ""},
		"another string":        {claim(exact("ann"), "sub"), token, `claim sub is "jason", want exact "ann"`},
		"one of a list":         {claim(&snapshot.StringMatch{Prefix: p("be")}, "groups"), token, ""},
		"none of a list":        {claim(exact("admin"), "groups"), token, `claim groups is ["readers","beta"], want exact "admin"`},
		"a claim in a claim":    {claim(exact("gold"), "account", "plan"), token, ""},
		"a claim in a string":   {claim(exact("gold"), "sub", "plan"), token, `claim sub.plan is missing, want exact "gold"`},
		"a number is no text":   {claim(exact("7"), "age"), token, `claim age is 7, want exact "7"`},
		"the case matters":      {claim(exact("jason"), "Sub"), token, `claim Sub is missing, want exact "jason"`},
		"without, and it has":   {not, token, `claim sub is "jason", want not exact "jason"`},
		"without, and no token": {not, nil, ""},
		"no token":              {claim(exact("jason"), "sub"), nil, `no token was verified: claim sub is missing, want exact "jason"`},
	} {
		table := Compile(&snapshot.RouteConfig{VirtualHosts: []*snapshot.VirtualHost{{Domains: []string{"*"}, Routes: []*snapshot.Route{
			{Name: "r", Match: snapshot.RouteMatch{Prefix: p("/"), Metadata: []snapshot.MetadataMatch{c.match}}}}}}})
		r := &message.Request{Path: "/"}
		_, rule := table.Match(r, 0, c.known)
		if steps := table.Explain(r, 0, c.known); (rule != nil) != (c.reason == "") || steps[1].Reason != c.reason {
			t.Errorf("%s: found %v, %q", name, rule != nil, steps[1].Reason)
		}
	}
}
