// Package sample makes results of runs that never were, of any size, for tests of
// what is made of results. It imports reports/result only, and no randomness.
package sample

import (
	"fmt"
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// Options say how large a run is.
type Options struct {
	Scenarios int
	Failed    int // the first of them
	// Requests of each scenario; 0: 2,000.
	Requests int64
}

const (
	buckets  = 60
	workload = 6
)

// Run makes a run.
func Run(o Options) *result.Run {
	if o.Requests == 0 {
		o.Requests = 2000
	}
	run := &result.Run{Version: result.Version, Environment: "sim", Seed: 1, Failed: o.Failed, Passed: o.Scenarios - o.Failed, WallSeconds: 2.5}
	for i := range o.Scenarios {
		run.Scenarios = append(run.Scenarios, scenario(i, i < o.Failed, o.Requests))
	}
	return run
}

func scenario(i int, failed bool, requests int64) result.Scenario {
	s := result.Scenario{
		Name: fmt.Sprintf("scenario-%d", i), File: "scenarios/made.yaml", Line: 1 + 20*i, Status: result.Passed, Seed: 1, VirtualSeconds: 60, WallSeconds: 0.3, Requests: requests,
		Description: "Reviews fails for some time; callers try again, and eject it.", Labels: map[string]string{"half": fmt.Sprint(i % 2)},
		Digest: "sha256:7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730", Timeline: timeline(requests), Graph: graph(requests), Heat: heat(),
	}
	for n := range 5 {
		s.Steps = append(s.Steps, step(n, requests/5))
	}
	if failed {
		s.Status, s.Message = result.Failed, "step 5: status is off"
		last := &s.Steps[4]
		last.Status = result.Failed
		last.Checks = append(last.Checks, result.Check{Expression: `status["503"] == 0`, Status: result.Failed, Message: `status["503"] == 0, status["503"] is 12`, File: s.File, Line: s.Line + 14})
	}
	return s
}

func timeline(requests int64) *result.Timeline {
	t := &result.Timeline{BucketSeconds: 1, Retries: make([]int, buckets)}
	for w := range workload {
		s := result.Series{Workload: fmt.Sprintf("workload-v%d", w), Status: map[string]int{}, Flags: map[string]int{}}
		for b := range buckets {
			n, bad := int(requests)/buckets/(w+1)+b%3, 0
			if w == 1 && b > 6 && b < 14 {
				bad = n / 2
				t.Retries[b] = bad
				s.Flags["UO"] += bad
			}
			s.OK, s.Errors = append(s.OK, n-bad), append(s.Errors, bad)
			s.Status["200"] += n - bad
			s.Status["503"] += bad
		}
		t.Series = append(t.Series, s)
	}
	t.Bands = []result.Band{
		{Kind: "ejected", Subject: "workload-v1-7c9d", Text: "by workload-v0-5f6b", From: 14, To: 44},
		{Kind: "fault", Subject: "workload-v0 to workload-v1", Text: "100ms slower", From: 6, To: 14},
		{Kind: "overflow", Subject: "outbound|9080||workload.default.svc.cluster.local", Text: "12 turned away", From: 8, To: 11},
		{Kind: "weights", Subject: "VirtualService default/workload", Text: "v1 80, v2 20", From: 0, To: 30},
		{Kind: "weights", Subject: "VirtualService default/workload", Text: "v1 50, v2 50", From: 30, To: 60},
	}
	t.Events = []result.Event{{Seconds: 30, Kind: "apply", Text: "VirtualService default/workload"}, {Seconds: 14, Kind: "eject", Text: "workload-v1-7c9d"}}
	return t
}

func graph(requests int64) *result.Graph {
	g := &result.Graph{BucketSeconds: 1, Nodes: []result.Node{{Name: "gateway", Kind: result.NodeGateway}, {Name: "outside", Kind: result.NodeClient}}}
	for w := range workload {
		g.Nodes = append(g.Nodes, result.Node{Name: fmt.Sprintf("workload-v%d", w), Kind: result.NodeWorkload})
	}
	add := func(from, to string, share, bad int) {
		e := result.Edge{From: from, To: to, Requests: make([]int, buckets), Errors: make([]int, buckets)}
		for b := range buckets {
			n := int(requests) / buckets / share
			e.Requests[b], e.Count = n, e.Count+n
			if bad > 0 && b > 6 && b < 14 {
				e.Errors[b], e.Bad = n/bad, e.Bad+n/bad
			}
		}
		if e.MutualTLS = e.Count; from == "outside" {
			e.MutualTLS = 0
		}
		g.Edges = append(g.Edges, e)
	}
	add("gateway", "workload-v0", 1, 0)
	add("workload-v0", "workload-v1", 1, 2)
	add("workload-v0", "workload-v2", 2, 0)
	add("workload-v1", "workload-v3", 3, 0)
	add("workload-v2", "workload-v3", 3, 0)
	add("workload-v0", "workload-v4", 4, 0)
	add("workload-v4", "workload-v5", 5, 0)
	add("workload-v0", "workload-v5", 5, 0)
	add("outside", "gateway", 1, 0)
	g.Edges[5].Plain, g.Edges[5].MutualTLS = g.Edges[5].Count, 0
	return g
}

func heat() *result.Heat {
	h := &result.Heat{BucketSeconds: 1, PerDecade: 6}
	for b := range buckets {
		for r := range 4 {
			h.Cells = append(h.Cells, [3]int{b, 18 + r + b%2, 40 - 9*r})
		}
	}
	return h
}

func step(n int, requests int64) result.Step {
	s := result.Step{Name: fmt.Sprintf("step %d", n+1), Operation: "load", Status: result.Passed, Line: 10 + n, Start: float64(12 * n), Seconds: 12,
		Result: map[string]any{"count": requests}, Checks: []result.Check{{Expression: "count > 0", Status: result.Passed, File: "scenarios/made.yaml", Line: 12 + n}}, Latency: latency(requests)}
	hops := []result.Hop{
		{Pod: "workload-v0-5f6b", Workload: "workload-v0", Start: 1, Seconds: 0.012, Method: "GET", Authority: "workload:9080", Path: "/reviews/0", Status: 503, Flags: []string{"UO"},
			Details: "upstream_reset_before_response_started{overflow}", Source: "routes.yaml:12", Cluster: "outbound|9080|v1|workload.default.svc.cluster.local", Upstream: "workload-v1-7c9d", Attempts: 3},
		{Pod: "workload-v1-7c9d", Workload: "workload-v1", Inbound: true, Start: 1.001, Seconds: 0.01, Method: "GET", Authority: "workload:9080", Path: "/reviews/0", Status: 503, Details: "via_upstream", MutualTLS: true},
	}
	s.Outcomes = []result.Outcome{{Status: "200", Workload: "workload-v2", Count: int(requests) - 12},
		{Status: "503", Workload: "workload-v1", Flags: []string{"UO"}, Count: 12, Examples: []result.Example{{RequestID: "5b3f0c2e-8d1a-4c77-9e64-3a0d4e1f2b6c", Sent: 1, Seconds: 0.012, Hops: hops}}}}
	if n == 2 {
		s.Operation = "apply"
		s.Changes = []result.Change{{Object: "VirtualService default/workload", Action: "changed", Source: "routes.yaml:1", Diff: "@@ -8,3 +8,3 @@\n   - weight: 80\n-    subset: v1\n+    subset: v2\n"}}
	}
	return s
}

// latency is a distribution with a long tail.
func latency(requests int64) *result.Latency {
	h := hdrhistogram.New(1, 1e9, 3)
	for i := range 400 {
		v := int64(3e6 * math.Exp(float64(i)/130))
		_ = h.RecordValues(v, max(requests/400, 1)) // cannot fail: in range
	}
	data, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		panic(err) // of a histogram in memory
	}
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1e9 }
	return &result.Latency{Count: h.TotalCount(), Min: float64(h.Min()) / 1e9, Mean: h.Mean() / 1e9, P50: at(50), P90: at(90), P99: at(99), P999: at(99.9),
		Max: float64(h.Max()) / 1e9, Histogram: string(data)}
}
