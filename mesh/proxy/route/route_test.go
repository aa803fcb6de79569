package route

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

func TestDomainsAreSearchedInEnvoysOrder(t *testing.T) {
	config := &snapshot.RouteConfig{}
	for _, domain := range []string{"*", "www.*", "www.foo.*", "*.foo.com", "*-bar.foo.com", "WWW.foo.com", "*.com", "svc:9080", "[::1]:80"} {
		config.VirtualHosts = append(config.VirtualHosts, &snapshot.VirtualHost{Name: domain, Domains: []string{domain}})
	}
	table := Compile(config)
	ignoring := Compile(&snapshot.RouteConfig{IgnorePort: true, VirtualHosts: []*snapshot.VirtualHost{
		{Name: "svc", Domains: []string{"svc"}}, {Name: "v6", Domains: []string{"[::1]"}}}})
	for _, c := range []struct {
		table      *Table
		host, want string
	}{
		{table, "www.foo.com", "WWW.foo.com"},
		{table, "Www.Foo.Com", "WWW.foo.com"},
		{table, "a.foo.com", "*.foo.com"},
		{table, "a-bar.foo.com", "*-bar.foo.com"},
		{table, "-bar.foo.com", "*.foo.com"}, // the wildcard is not empty
		{table, ".foo.com", "*.com"},
		{table, "www.foo.org", "www.foo.*"},
		{table, "www.bar.org", "www.*"},
		{table, "www.", "*"},
		{table, "www.bar.com", "*.com"}, // suffix before prefix
		{table, "svc:9080", "svc:9080"},
		{table, "svc", "*"},
		{table, "", "*"},
		{ignoring, "SVC:1", "svc"},
		{ignoring, "svc:port", ""},
		{ignoring, "[::1]:80", "v6"},
		{ignoring, "[::1]", "v6"},
	} {
		got := ""
		if vh := c.table.VirtualHost(c.host); vh != nil {
			got = vh.Name
		}
		if got != c.want {
			t.Errorf("VirtualHost(%q) is %q, want %q", c.host, got, c.want)
		}
	}
}

func p(s string) *string { return &s }

func exact(s string) *snapshot.StringMatch { return &snapshot.StringMatch{Exact: &s} }

func TestRulesMatchAsEnvoyDocuments(t *testing.T) {
	half, none := 100.0, 0.0
	header := func(h snapshot.HeaderMatch) snapshot.RouteMatch {
		return snapshot.RouteMatch{Prefix: p("/"), Headers: []snapshot.HeaderMatch{h}}
	}
	query := func(q snapshot.QueryMatch) snapshot.RouteMatch {
		return snapshot.RouteMatch{Prefix: p("/"), Query: []snapshot.QueryMatch{q}}
	}
	many := message.Header{{Name: "h", Value: "a"}, {Name: "x", Value: "1"}, {Name: "h", Value: "b"}}
	for i, c := range []struct {
		match  snapshot.RouteMatch
		path   string
		header message.Header
		want   bool
	}{
		{snapshot.RouteMatch{Prefix: p("/api")}, "/api/v1", nil, true},
		{snapshot.RouteMatch{Prefix: p("/api")}, "/apis?x", nil, true},
		{snapshot.RouteMatch{Prefix: p("/api")}, "/API", nil, false},
		{snapshot.RouteMatch{Prefix: p("/api"), IgnoreCase: true}, "/API", nil, true},
		{snapshot.RouteMatch{Prefix: p("/a?")}, "/a?b", nil, false},
		{snapshot.RouteMatch{Exact: p("/api")}, "/api?q=1", nil, true},
		{snapshot.RouteMatch{Exact: p("/api")}, "/api#f", nil, true},
		{snapshot.RouteMatch{Exact: p("/api")}, "/api/", nil, false},
		{snapshot.RouteMatch{Regex: regexp.MustCompile(`^(?:/b.*r)$`)}, "/bar?z", nil, true},
		{snapshot.RouteMatch{PathSeparated: p("/api")}, "/api?x", nil, true},
		{snapshot.RouteMatch{PathSeparated: p("/api")}, "/api/v1", nil, true},
		{snapshot.RouteMatch{PathSeparated: p("/api")}, "/apis", nil, false},
		{header(snapshot.HeaderMatch{Name: "h", Value: exact("a,b")}), "/", many, true},
		{header(snapshot.HeaderMatch{Name: "h", Value: exact("a")}), "/", many, false},
		{header(snapshot.HeaderMatch{Name: "h", Value: exact("a"), Invert: true}), "/", many, true},
		{header(snapshot.HeaderMatch{Name: "h", Value: exact("a"), Invert: true}), "/", nil, false},
		{header(snapshot.HeaderMatch{Name: "h", Value: exact("a"), Invert: true, MissingAsEmpty: true}), "/", nil, true},
		{header(snapshot.HeaderMatch{Name: "h", Value: exact(""), MissingAsEmpty: true}), "/", nil, true},
		{header(snapshot.HeaderMatch{Name: "h", Present: true}), "/", many, true},
		{header(snapshot.HeaderMatch{Name: "h", Present: true, Invert: true}), "/", nil, true},
		{header(snapshot.HeaderMatch{Name: "x", Range: &[2]int64{1, 2}}), "/", many, true},
		{header(snapshot.HeaderMatch{Name: "x", Range: &[2]int64{0, 1}}), "/", many, false},
		{header(snapshot.HeaderMatch{Name: "h", Range: &[2]int64{0, 9}, Invert: true}), "/", many, true},
		{header(snapshot.HeaderMatch{Name: ":method", Value: exact("GET")}), "/", nil, true},
		{header(snapshot.HeaderMatch{Name: ":authority", Value: exact("host")}), "/", nil, true},
		{header(snapshot.HeaderMatch{Name: "h", Value: &snapshot.StringMatch{Suffix: p("B"), IgnoreCase: true}}), "/", many, true},
		{header(snapshot.HeaderMatch{Name: "h", Value: &snapshot.StringMatch{Contains: p(",")}}), "/", many, true},
		{query(snapshot.QueryMatch{Name: "a", Present: true}), "/?b&a", nil, true},
		{query(snapshot.QueryMatch{Name: "a", Value: exact("1")}), "/?a=1&a=2", nil, true},
		{query(snapshot.QueryMatch{Name: "a", Value: exact("2")}), "/?a=1&a=2", nil, false},
		{query(snapshot.QueryMatch{Name: "a", Value: exact("%20")}), "/?a=%20", nil, true},
		{query(snapshot.QueryMatch{Name: "a", Present: true}), "/?aa=1", nil, false},
		{snapshot.RouteMatch{Prefix: p("/"), Fraction: &half}, "/", nil, true},
		{snapshot.RouteMatch{Prefix: p("/"), Fraction: &none}, "/", nil, false},
		{snapshot.RouteMatch{Prefix: p("/"), GRPC: true}, "/", message.Header{{Name: "content-type", Value: "application/grpc+proto"}}, true},
		{snapshot.RouteMatch{Prefix: p("/"), GRPC: true}, "/", message.Header{{Name: "content-type", Value: "application/grpcx"}}, false},
	} {
		table := Compile(&snapshot.RouteConfig{VirtualHosts: []*snapshot.VirtualHost{{Domains: []string{"*"}, Routes: []*snapshot.Route{{Match: c.match}}}}})
		r := &message.Request{Method: "GET", Authority: "host", Path: c.path, Header: c.header}
		_, rule := table.Match(r, 7, nil)
		if (rule != nil) != c.want {
			t.Errorf("case %d: match of %q is %v, want %v", i, c.path, rule != nil, c.want)
		}
		if steps := table.Explain(r, 7, nil); steps[len(steps)-1].Matched != c.want {
			t.Errorf("case %d: Explain disagrees with Match: %+v", i, steps)
		}
	}
}

func TestExplainNamesEveryRuleBefore(t *testing.T) {
	table := Compile(&snapshot.RouteConfig{VirtualHosts: []*snapshot.VirtualHost{{Name: "reviews", Domains: []string{"reviews"}, Routes: []*snapshot.Route{
		{Name: "jason", Source: "vs.yaml:9", Match: snapshot.RouteMatch{Prefix: p("/"), Headers: []snapshot.HeaderMatch{{Name: "end-user", Value: exact("jason")}}}},
		{Match: snapshot.RouteMatch{Prefix: p("/")}}}}}})
	steps := table.Explain(&message.Request{Authority: "reviews", Path: "/", Header: message.Header{{Name: "end-user", Value: "ann"}}}, 0, nil)
	if len(steps) != 3 || steps[1].Reason != `header end-user is "ann", want exact "jason"` || steps[1].Source != "vs.yaml:9" || !steps[2].Matched || steps[2].Route != "#2" {
		t.Fatalf("steps are %+v", steps)
	}
	if steps := table.Explain(&message.Request{Authority: "x"}, 0, nil); len(steps) != 1 || steps[0].Matched || !strings.Contains(steps[0].Reason, `"x"`) {
		t.Fatalf("steps without a virtual host are %+v", steps)
	}
}

func TestWeightsAreKeptAndKeyed(t *testing.T) {
	table := Compile(&snapshot.RouteConfig{VirtualHosts: []*snapshot.VirtualHost{{Domains: []string{"*"}, Routes: []*snapshot.Route{{
		Forward: &snapshot.Forward{Clusters: []snapshot.WeightedCluster{{Name: "a", Weight: 80}, {Name: "b", Weight: 20}, {Name: "c"}}}}}}}})
	const n = 20_000
	counts := map[string]int{}
	s := seed.New(1)
	for i := range n {
		r := &message.Request{Header: message.Header{{Name: "x-request-id", Value: strconv.Itoa(i)}}, Stream: &message.Stream{Start: time.Unix(int64(i), 0)}}
		_, rule := table.Match(r, 0, nil)
		key := Key(s, r)
		c := rule.Cluster(key)
		if again := rule.Cluster(Key(s, r)); again != c {
			t.Fatal("one request was sent to two clusters")
		}
		counts[c.Name]++
	}
	if math.Abs(float64(counts["b"])/n-0.2) > 0.01 || counts["c"] != 0 {
		t.Fatalf("counts are %v, want 80 to 20", counts)
	}
}

func BenchmarkMatch(b *testing.B) {
	vh := &snapshot.VirtualHost{Domains: []string{"reviews.default.svc.cluster.local"}}
	for i := range 20 {
		vh.Routes = append(vh.Routes, &snapshot.Route{Match: snapshot.RouteMatch{Prefix: p("/api/" + strconv.Itoa(i) + "/")}})
	}
	table := Compile(&snapshot.RouteConfig{VirtualHosts: []*snapshot.VirtualHost{vh, {Domains: []string{"*"}}}})
	r := &message.Request{Method: "GET", Authority: "reviews.default.svc.cluster.local", Path: "/api/19/reviews?x=1"}
	b.ReportAllocs()
	for b.Loop() {
		if _, rule := table.Match(r, 1, nil); rule == nil {
			b.Fatal("no match")
		}
	}
}
