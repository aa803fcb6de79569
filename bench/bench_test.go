package bench

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

func TestCellsThatDifferInNothingAreOne(t *testing.T) {
	m := Matrix{Topologies: []Topology{{Kind: "pair", N: 1}}, Proxies: []string{Baseline, Client, Server, Both}, Connections: []int{2, 16},
		Rates: []Rate{{}}, MutualTLS: []bool{true, false}, Payloads: []int{64}, Policies: []int{0, 10}, AccessLog: []bool{false, true}}
	count := map[string]int{}
	for _, c := range m.cells() {
		count[c.proxies]++
	}
	want := map[string]int{Baseline: 2, Client: 2 * 2, Server: 2 * 2 * 2, Both: 2 * 2 * 2 * 2}
	for proxies, n := range want {
		if count[proxies] != n {
			t.Errorf("%d configurations with proxies=%s, want %d", count[proxies], proxies, n)
		}
	}
}

func TestParseTopology(t *testing.T) {
	for text, services := range map[string]int{"pair": 1, "chain:3": 3, "fan-out:4": 5, "bookinfo": 0, "a/b.yaml": 0, "b.yml#name": 0} {
		got, err := ParseTopology(text)
		if err != nil || got.services() != services || got.String() != text {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "pair:2", "bookinfo:1", "chain", "chain:0", "fan-out:x", "ring:3"} {
		if _, err := ParseTopology(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

// programs builds meshproxy once for the tests that start it.
func programs(t testing.TB) Build {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "meshproxy"), "../cmd/meshproxy").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := OpenBuild("test", dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func plan(t *testing.T, b Build) Plan {
	dir, err := os.MkdirTemp("", "wt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return Plan{Builds: []Build{b}, Repeat: 1, Duration: 300 * time.Millisecond, WarmUp: 50 * time.Millisecond, Dir: dir, Matrix: Matrix{
		Topologies: []Topology{{Kind: "pair", N: 1}}, Proxies: []string{Baseline, Both}, Connections: []int{2}, Rates: []Rate{Steady(200)},
		MutualTLS: []bool{true}, Payloads: []int{64}, Policies: []int{2}, AccessLog: []bool{false}}}
}

// What starts processes shares one build of them.
func TestWithPrograms(t *testing.T) {
	b := programs(t)
	for name, test := range map[string]func(*testing.T, Build){"costs": costsAreTaken, "protocols": everyProtocol, "nobody": nobodyServes, "some": someServe, "peers": peersInThePlace, "topologies": worldsOfOthers, "warm-up": warmUpsDoNotCount, "two builds": buildsInTurn} {
		t.Run(name, func(t *testing.T) { test(t, b) })
	}
}

// Proxies run as processes and cost something; without them there is nothing to cost.
func costsAreTaken(t *testing.T, b Build) {
	found, err := Run(context.Background(), plan(t, b))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range found[0].Configurations {
		if len(c.Samples) != 1 || c.Samples[0].Invalid != "" {
			t.Fatalf("%s: %+v", c.Name, c.Samples)
		}
		s := c.Samples[0]
		cost, proxied := s.Metrics["cpu-per-request"], c.Parameters["proxies"] == Both
		if proxied != (cost > 1e-6 && len(s.Proxies) == 2 && s.Metrics["memory-private"] > 1<<20) {
			t.Errorf("%s: %v, %v", c.Name, s.Metrics, s.Proxies)
		}
		if proxied && (s.Metrics["allocations-per-request"] < 1 || s.Metrics["goroutines"] < 10 || s.Proxies["client"]["heap"] < 1<<16) {
			t.Errorf("%s: what the proxies say of themselves: %v, %v", c.Name, s.Metrics, s.Proxies)
		}
		if !bytes.Contains(s.Fortio, []byte(`"RequestedQPS": "200"`)) {
			t.Errorf("%s: fortio's form: %.300s", c.Name, s.Fortio)
		}
		if n := called(s); n != 60 || s.Metrics["errors"] != 0 || s.Metrics["rate"] <= 0 || s.Metrics["latency-p50"] <= 0 {
			t.Errorf("%s: %d calls, %v", c.Name, n, s.Metrics)
		}
	}
}

// called is how many calls a sample has: what a rate asks for, however late they are.
func called(s result.Sample) int {
	n := 0
	for _, second := range s.PerSecond {
		n += second.Requests
	}
	return n
}

func everyProtocol(t *testing.T, b Build) {
	p := plan(t, b)
	p.Protocols, p.Proxies = []string{HTTP2, GRPC}, []string{Baseline, Both}
	found, err := Run(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range found[0].Configurations {
		if s := c.Samples[0]; s.Invalid != "" || s.Metrics["errors"] != 0 {
			t.Errorf("%s: %+v", c.Name, s)
		}
		if again, err := parseCell(c.Parameters); err != nil || again.name() != c.Name {
			t.Errorf("%s is read as %s, %v", c.Name, again.name(), err)
		}
	}
	if n := len(found[0].Configurations); n != 4 {
		t.Errorf("%d configurations, want 4", n)
	}
}

func nobodyServes(t *testing.T, b Build) {
	p := plan(t, b)
	p.Proxies, p.Policies = []string{Server}, []int{1}
	p.Topologies = []Topology{{Kind: "nobody"}} // the client calls a service that is not there
	found, err := Run(context.Background(), p)
	if !errors.Is(err, ErrNothing) {
		t.Fatalf("%v", err)
	}
	if got := found[0].Configurations[0].Values("latency-p50"); len(got) != 0 {
		t.Errorf("values of a load that failed: %v", got)
	}
}

// One configuration of several is not served, another cannot even be started: the others'
// results are kept, and the error names both.
func someServe(t *testing.T, b Build) {
	p := plan(t, b)
	p.Repeat, p.ReverseProxy = 2, []string{"false"}
	p.Proxies, p.Policies, p.Topologies = []string{Baseline, "go"}, []int{0}, []Topology{{Kind: "pair", N: 1}, {Kind: "nobody"}}
	found, err := Run(context.Background(), p)
	if !errors.Is(err, ErrSome) || strings.Count(err.Error(), "\n") != 3 || !strings.Contains(err.Error(), "proxies=go") || !strings.Contains(err.Error(), "60 of 60 calls failed") {
		t.Errorf("%v", err)
	}
	good := 0
	for _, c := range found[0].Configurations {
		if c.WithoutResult() == "" {
			good++
			if len(c.Samples) != 2 || c.Parameters["proxies"] != Baseline {
				t.Errorf("%s: %+v", c.Name, c.Samples)
			}
		}
	}
	if good != 1 {
		t.Errorf("%d configurations have a result, want 1", good)
	}
}

func TestTheMetricsOfASampleAreKnown(t *testing.T) {
	known := map[string]result.Metric{}
	for _, m := range loadMetrics() {
		known[m.Name] = m
	}
	for _, name := range []string{"throughput", "rate", "latency-p50", "cpu-per-request", "memory-private", "errors"} {
		if known[name].Name == "" {
			t.Errorf("%s is measured, and not described", name)
		}
	}
}

func TestABuildIsDescribed(t *testing.T) {
	for text, want := range map[string]About{
		"windtunnel f129724-dirty (go1.26.8, linux/amd64)\n":     {Version: "f129724", Commit: "f129724", Dirty: true},
		"windtunnel v1.2.0-3-gf129724 (go1.26.8, linux/amd64)\n": {Version: "v1.2.0-3-gf129724", Commit: "f129724"},
		"windtunnel v1.2.0 (go1.26.8, linux/amd64)\n":            {Version: "v1.2.0"},
		"windtunnel devel (go1.26.8, linux/amd64)\n":             {Version: "(devel)"},
		"another program's words (1)\n":                          {Version: "(devel)"},
	} {
		b := Build{About: About{Version: "(devel)"}}
		if b.described(text); b.About != want {
			t.Errorf("%q: %+v, want %+v", text, b.About, want)
		}
	}
}
