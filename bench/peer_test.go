package bench

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// peerEnv makes this test binary the peer "go": "LISTEN UPSTREAM" are its arguments.
const peerEnv = "WINDTUNNEL_BENCH_PEER"

func TestMain(m *testing.M) {
	if os.Getenv(peerEnv) != "" {
		if err := ServeReverseProxy(os.Args[1], os.Args[2]); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// Whatever peer is installed serves in the sidecar's place, and costs something.
func peersInThePlace(t *testing.T, b Build) {
	t.Setenv(peerEnv, "yes")
	p := plan(t, b)
	p.Proxies, p.ReverseProxy = Peers(), []string{os.Args[0]}
	p.Request = Request{Paths: []Path{{Path: "/a"}, {Path: "/b"}}, Headers: map[string]string{"X": "y"}, Body: 10}
	found, err := Run(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range found[0].Configurations {
		name := c.Parameters["proxies"]
		if why := missing(name); why != "" {
			if c.Skipped != why || len(c.Samples) != 0 {
				t.Errorf("%s: %+v", c.Name, c)
			}
			continue
		}
		if len(c.Samples) != 1 || c.Samples[0].Invalid != "" {
			t.Errorf("%s: %+v", c.Name, c.Samples)
			continue
		}
		if m := c.Samples[0].Metrics; m["errors"] != 0 || m["cpu-per-request"] <= 0 || m["sockets"] != 2 {
			t.Errorf("%s: %v", c.Name, m)
		}
	}
}

// A bookstore, and a scenario's own world and load, with and without sidecars.
func worldsOfOthers(t *testing.T, b Build) {
	p := plan(t, b)
	p.Stats = []bool{false}
	file := "../scenarios/resilience/load-shapes.yaml"
	p.Proxies, p.Topologies = []string{Baseline, Client, Both}, []Topology{{Kind: Bookinfo, N: 1}, {Kind: Scenario, File: file, Name: "load-of-several-urls"}}
	p.Rates = []Rate{{Steps: []float64{50, 150}, Ramp: true}}
	found, err := Run(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	proxies := map[string]int{"baseline": 0, "client": 1}
	for _, c := range found[0].Configurations {
		s := c.Samples[0]
		if s.Invalid != "" || s.Metrics["errors"] != 0 {
			t.Errorf("%s: %+v", c.Name, s)
		}
		want, given := proxies[c.Parameters["proxies"]]
		if given && len(s.Proxies) != want || !given && len(s.Proxies) < 6 {
			t.Errorf("%s: %d proxies", c.Name, len(s.Proxies))
		}
		if again, err := parseCell(c.Parameters); err != nil || again.name() != c.Name {
			t.Errorf("%s is read as %s, %v", c.Name, again.name(), err)
		}
	}
	for _, bad := range []Topology{{Kind: Scenario, File: file}, {Kind: Scenario, File: "../scenarios/bookinfo/reviews-jason.yaml"}, {Kind: Scenario, File: "nowhere.yaml"}} {
		p.Topologies = []Topology{bad}
		if _, err := Run(context.Background(), p); err == nil {
			t.Errorf("%s was measured", bad)
		}
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]Rate{"max": {}, "1000": Steady(1000), "100..1000": {Steps: []float64{100, 1000}, Ramp: true}, "100+500+2.5": {Steps: []float64{100, 500, 2.5}}} {
		got, err := ParseRate(text)
		if d := cmp.Diff(want, got); d != "" || err != nil || got.String() != text {
			t.Errorf("%s: %s, %v", text, d, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "1..", "1..2..3", "1+", "fast", "1e9", "NaN"} {
		if _, err := ParseRate(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

// What a configuration sends is in its parameters, which make it again.
func TestRequestsInParameters(t *testing.T) {
	q := Request{Paths: []Path{{"/a/b", 9}, {"/c", 1}}, Headers: map[string]string{"A": "1", "B": "x: y"}, Body: 10, Jitter: 0.2}
	c := cell{topology: Topology{Kind: "pair", N: 1}, proxies: Both, protocol: HTTP1, connections: 1, rate: Steady(5), request: q, noStats: true}
	again, err := parseCell(c.parameters())
	if d := cmp.Diff(q, again.request); d != "" || err != nil || again.name() != c.name() {
		t.Errorf("%v %s: %s and %s", err, d, again.name(), c.name())
	}
	if n := strings.Count(c.name(), "="); n != strings.Count(c.name(), "/") {
		t.Errorf("a value cuts the name %s", c.name())
	}
	for name, q := range map[string]Request{"one weight": {Paths: []Path{{"/a", 1}, {"/b", 0}}}, "jitter": {Jitter: 0.6}, "arrival": {Arrival: "late"}, "chance": {Arrival: "poisson", Jitter: 0.1}} {
		if q.Check([]Rate{Steady(1)}) == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if (Request{Jitter: 0.1}).Check([]Rate{{}}) == nil {
		t.Error("a jitter without a rate was accepted")
	}
	if _, err := ParsePath("x:/a"); err == nil {
		t.Error("a weight that is none was accepted")
	}
	if _, err := ParseHeaders([]string{"Content-Length: 3"}); err == nil {
		t.Error("a header of the framing was accepted")
	}
}

// Sidecars go from where a configuration has none; what else the manifests say stays.
func TestSidecarsArePlaced(t *testing.T) {
	const text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: 2, template: {metadata: {labels: {app: a}}, spec: {containers: [{name: c, image: i}]}}}\n"
	kept, err := withoutSidecar([]byte(text), func(name string) bool { return name == "a" })
	if err != nil || string(kept) != text {
		t.Errorf("%s, %v", kept, err)
	}
	gone, err := withoutSidecar([]byte(text), func(string) bool { return false })
	if err != nil || !strings.Contains(string(gone), `sidecar.istio.io/inject: "false"`) || !strings.Contains(string(gone), "app: a") || !strings.Contains(string(gone), "replicas: 2") {
		t.Errorf("%s, %v", gone, err)
	}
	service := []byte("kind: Service\nmetadata: {name: b}\n")
	if same, err := withoutSidecar(service, func(string) bool { return false }); err != nil || string(same) != string(service) {
		t.Errorf("%s, %v", same, err)
	}
}

// The warm-up is in no number of a sample.
func warmUpsDoNotCount(t *testing.T, b Build) {
	p := plan(t, b)
	p.Proxies, p.WarmUp, p.Duration = []string{Baseline}, 400*time.Millisecond, 200*time.Millisecond
	found, err := Run(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	s := found[0].Configurations[0].Samples[0]
	if calls := called(s); calls != 40 || s.Metrics["sockets"] != 2 {
		t.Errorf("%d calls on %v connections, want 40 on 2", calls, s.Metrics["sockets"])
	}
}

// Two builds are loaded in turn: each has all its calls, as if it had been alone.
func buildsInTurn(t *testing.T, b Build) {
	p := plan(t, b)
	p.Builds, p.Repeat, p.Proxies, p.Duration = []Build{b, b}, 2, []string{Both}, 3*slice
	found, err := Run(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	if !found[0].Interleaved || !found[1].Interleaved || found[0].Started != found[1].Started {
		t.Errorf("the files do not say that they belong together")
	}
	first := []int{}
	for _, b := range found {
		for round, s := range b.Configurations[0].Samples {
			calls := called(s)
			if s.Invalid != "" || s.Round != round || calls != 120 || s.Metrics["cpu-per-request"] <= 0 || s.Metrics["allocations-per-request"] < 1 || s.Metrics["sockets"] != 2 {
				t.Errorf("round %d: %d calls, %+v", round, calls, s.Metrics)
			}
			if s.Order%2 == 0 {
				first = append(first, round)
			}
		}
	}
	if d := cmp.Diff([]int{0, 1}, first); d != "" {
		t.Errorf("neither build may always be the first: %s", d)
	}
}
