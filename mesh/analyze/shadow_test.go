package analyze

import (
	"math/rand/v2"
	"testing"

	networkingpb "istio.io/api/networking/v1alpha3"
)

func exact(s string) *networkingpb.StringMatch {
	return &networkingpb.StringMatch{MatchType: &networkingpb.StringMatch_Exact{Exact: s}}
}

func prefix(s string) *networkingpb.StringMatch {
	return &networkingpb.StringMatch{MatchType: &networkingpb.StringMatch_Prefix{Prefix: s}}
}

func regex(s string) *networkingpb.StringMatch {
	return &networkingpb.StringMatch{MatchType: &networkingpb.StringMatch_Regex{Regex: s}}
}

type match = networkingpb.HTTPMatchRequest
type conditions = map[string]*networkingpb.StringMatch

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		name     string
		e, m     *match
		gateways []string
		want     bool
	}{
		{"prefix over exact", &match{Uri: prefix("/a")}, &match{Uri: exact("/a/b")}, nil, true},
		{"prefix over longer prefix", &match{Uri: prefix("/a")}, &match{Uri: prefix("/ab")}, nil, true},
		{"longer prefix", &match{Uri: prefix("/ab")}, &match{Uri: prefix("/a")}, nil, false},
		{"exact over prefix", &match{Uri: exact("/a")}, &match{Uri: prefix("/a")}, nil, false},
		{"prefix over a regex that begins so", &match{Uri: prefix("/a/")}, &match{Uri: regex("/a/[0-9]+")}, nil, true},
		{"prefix over a regex with choice", &match{Uri: prefix("/a")}, &match{Uri: regex("/a|/b")}, nil, false},
		{"regex over exact", &match{Uri: regex("/a/[0-9]+")}, &match{Uri: exact("/a/17")}, nil, true},
		{"regexes match as a whole", &match{Uri: regex("/a")}, &match{Uri: exact("/ab")}, nil, false},
		{"open regex over prefix", &match{Uri: regex("/a.*")}, &match{Uri: prefix("/ab")}, nil, true},
		{"case", &match{Uri: prefix("/A"), IgnoreUriCase: true}, &match{Uri: exact("/abc")}, nil, true},
		{"case the other way", &match{Uri: prefix("/a")}, &match{Uri: exact("/a"), IgnoreUriCase: true}, nil, false},
		{"a condition more", &match{Uri: prefix("/a")}, &match{Uri: prefix("/a"), Headers: conditions{"x": exact("1")}}, nil, true},
		{"a condition less", &match{Uri: prefix("/a"), Headers: conditions{"x": exact("1")}}, &match{Uri: prefix("/a")}, nil, false},
		{"a header there is", &match{Headers: conditions{"X": {}}}, &match{Headers: conditions{"x": exact("1")}}, nil, true},
		{"a header's value", &match{Headers: conditions{"x": exact("1")}}, &match{Headers: conditions{"x": {}}}, nil, false},
		{"without", &match{WithoutHeaders: conditions{"x": exact("1")}}, &match{WithoutHeaders: conditions{"x": prefix("1")}}, nil, true},
		{"without, with another value", &match{WithoutHeaders: conditions{"x": exact("1")}}, &match{Headers: conditions{"x": exact("2")}}, nil, true},
		{"without, not said", &match{WithoutHeaders: conditions{"x": exact("1")}}, &match{}, nil, false},
		{"method", &match{Method: exact("GET")}, &match{Uri: exact("/a")}, nil, false},
		{"port", &match{Port: 80}, &match{}, nil, false},
		{"labels", &match{SourceLabels: map[string]string{"a": "b"}}, &match{SourceLabels: map[string]string{"a": "b", "c": "d"}}, nil, true},
		{"one gateway of two", &match{Gateways: []string{"mesh"}}, &match{}, []string{"mesh", "g"}, false},
		{"both gateways", &match{}, &match{Gateways: []string{"g"}}, []string{"mesh", "g"}, true},
	} {
		if got := covers(c.gateways, c.e, c.m); got != c.want {
			t.Errorf("%s: covers is %v", c.name, got)
		}
	}
}

// No request may match a match that is said to be covered, and not the one that covers it.
func TestCoveredMatchesAreNeverReached(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	values := []string{"/", "/a", "/b", "/A", "/a/b", "/ab", "/a/", "/ba"}
	condition := func() *networkingpb.StringMatch {
		v := values[r.IntN(len(values))]
		switch r.IntN(6) {
		case 0:
			return nil
		case 1, 2:
			return exact(v)
		case 3:
			return regex([]string{v, v + ".*", v + "|/b", v + "[ab]+", ".*"}[r.IntN(5)])
		default:
			return prefix(v)
		}
	}
	some := func() conditions {
		c := conditions{}
		if r.IntN(3) == 0 {
			c["x"] = condition()
		}
		return c
	}
	draw := func() *match {
		return &match{Uri: condition(), IgnoreUriCase: r.IntN(4) == 0, Headers: some(), WithoutHeaders: some()}
	}
	covered := 0
	for range 10000 {
		e, m := draw(), draw()
		if !covers(nil, e, m) {
			continue
		}
		covered++
		for _, path := range values {
			for _, x := range append(values, "") {
				if takes(m, path, x) && !takes(e, path, x) {
					t.Fatalf("path %s, header %q: matched by %v, not by %v, which is said to cover it", path, x, m, e)
				}
			}
		}
	}
	if covered < 300 {
		t.Errorf("only %d pairs are covered", covered)
	}
}

// takes reports whether a match is true of a request; x is a header, "" where it is not there.
func takes(m *match, path, x string) bool {
	uri := m.GetUri()
	if m.GetIgnoreUriCase() && uri.GetRegex() == "" {
		uri, path = lower(uri), lower(exact(path)).GetExact()
	}
	if !matches(uri, path) {
		return false
	}
	for _, c := range m.GetHeaders() {
		if x == "" || !present(c) && !matches(c, x) {
			return false
		}
	}
	for _, c := range m.GetWithoutHeaders() {
		if x != "" && (present(c) || matches(c, x)) {
			return false
		}
	}
	return true
}
