package run

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run/expect"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// How many calls a report tells of in full, so that it stays readable.
const (
	badGroups, badExamples   = 6, 2 // of calls that failed, or of a step that did
	goodGroups, goodExamples = 3, 1
	longestPath              = 300 // bytes of a path
)

// sent is the traffic of one step's last try.
type sent struct {
	from      *spec.Explain // what was asked; nil: explain has no words for it
	exchanges []Exchange
	answers   []answer
	latency   *result.Latency
}

// about fills in what became of a step's calls.
func (x *execution) about(ctx context.Context, out *result.Step) {
	out.Changes = x.changes
	s := x.last
	if s == nil {
		return
	}
	bad := out.Status != result.Passed
	out.Latency, out.Outcomes = s.latency, x.outcomes(s, bad, x.exemplify(out.Checks, s))
	for _, o := range out.Outcomes {
		bad = bad || failure(o.Status)
	}
	if world, ok := x.world.(Explainer); ok && bad && s.from != nil && ctx.Err() == nil {
		way, err := world.Explain(ctx, s.from)
		if err != nil {
			way = map[string]any{"error": err.Error()}
		}
		out.Way = way
	}
}

// asked is a traffic step as a question for explain; nil where it cannot be asked.
func asked(st *spec.Step) *spec.Explain {
	var q spec.Explain
	var protocol string
	switch {
	case st.Request != nil:
		q = spec.Explain{From: st.Request.From, URL: st.Request.URL, Method: st.Request.Method, Headers: st.Request.Headers}
		protocol = st.Request.Protocol
	case st.Load != nil:
		q = spec.Explain{From: st.Load.From, URL: st.Load.URL, Method: st.Load.Method, Headers: st.Load.Headers}
		protocol = st.Load.Protocol
	}
	if !strings.HasPrefix(q.URL, "http") || protocol != "" && protocol != "http1" && protocol != "http2" {
		return nil
	}
	return &q
}

// failure tells whether a status of answers or outcomes is a bad one.
func failure(status string) bool { return status != "-" && (len(status) != 3 || status >= "400") }

// outcomes groups calls by how they went, the most frequent first. Those that are named
// are told of in full.
func (x *execution) outcomes(s *sent, failed bool, named []int) []result.Outcome {
	type group struct {
		result.Outcome
		key   string
		calls []int
	}
	groups := map[string]*group{}
	for i, a := range s.answers {
		if grpc := s.exchanges[i].GRPC; grpc != "" && grpc != "0" {
			a.status = "grpc " + grpc
		}
		key := strings.Join(append([]string{a.status, a.workload}, a.flags...), "|")
		g := groups[key]
		if g == nil {
			g = &group{Outcome: result.Outcome{Status: a.status, Workload: a.workload, Flags: a.flags, Error: s.exchanges[i].Error}, key: key}
			groups[key] = g
		}
		g.Count++
		g.calls = append(g.calls, i)
	}
	sorted := slices.SortedFunc(maps.Values(groups), func(a, b *group) int { return cmp.Or(b.Count-a.Count, cmp.Compare(a.key, b.key)) })
	var out []result.Outcome
	told := map[bool]int{}
	for _, g := range sorted {
		bad, limit, each := failed || failure(g.Status), goodGroups, goodExamples
		if bad {
			limit, each = badGroups, badExamples
		}
		if told[bad]++; told[bad] > limit {
			each = 0
		}
		for n, i := range g.calls {
			if n < each || slices.Contains(named, i) {
				g.Examples = append(g.Examples, x.example(&s.exchanges[i]))
			}
		}
		out = append(out, g.Outcome)
	}
	return out
}

// example tells of one call, with what the proxies on its way saw.
func (x *execution) example(e *Exchange) result.Example {
	ex := result.Example{RequestID: e.RequestID, Sent: e.Sent.Sub(x.start).Seconds(), Seconds: e.Done.Sub(e.Sent).Seconds()}
	const most = 24
	for _, i := range x.log.of(e) {
		s := &x.log.log[i]
		h := result.Hop{Pod: s.Pod, Workload: s.Workload, Inbound: s.Inbound, Start: s.Time.Add(-s.Duration).Sub(x.start).Seconds(),
			Seconds: s.Duration.Seconds(), Method: s.Method, Authority: s.Authority, Path: s.Path[:min(len(s.Path), longestPath)], Status: s.Status,
			Flags: s.Flags, Details: s.Details, Route: s.Route, Source: s.Source, Cluster: s.Cluster, Upstream: s.UpstreamPod,
			Attempts: s.Attempts, MutualTLS: s.MutualTLS}
		if h.Upstream == "" {
			h.Upstream = s.UpstreamAddress
		}
		ex.Hops = append(ex.Hops, h)
	}
	slices.SortStableFunc(ex.Hops, func(a, b result.Hop) int { return cmp.Compare(a.Start, b.Start) })
	ex.Hops = ex.Hops[:min(len(ex.Hops), most)]
	return ex
}

// latencyOf is the distribution of the calls' times, from their intended starts.
func latencyOf(exchanges []Exchange) *result.Latency {
	var d distribution
	for _, e := range exchanges {
		d.add(e.Done.Sub(e.Intended))
	}
	return d.latency()
}

// heatRows is how many rows of a heat map cover a factor of ten.
const heatRows = 6

// heat counts the scenario's calls by when they ended and how long they took.
func (x *execution) heat(width time.Duration) *result.Heat {
	cells := map[[2]int]int{}
	for _, a := range x.answers {
		row := 0
		if micro := float64(a.took) / float64(time.Microsecond); micro > 1 {
			row = int(heatRows * math.Log10(micro))
		}
		cells[[2]int{max(int(a.done.Sub(x.start)/width), 0), row}]++
	}
	if len(cells) == 0 {
		return nil
	}
	h := &result.Heat{BucketSeconds: width.Seconds(), PerDecade: heatRows}
	for k, n := range cells {
		h.Cells = append(h.Cells, [3]int{k[0], k[1], n})
	}
	slices.SortFunc(h.Cells, func(a, b [3]int) int { return cmp.Or(a[0]-b[0], a[1]-b[1]) })
	return h
}

// sum sums up what a step sent.
func (x *execution) sum(st *spec.Step, exchanges []Exchange) *expect.Traffic {
	t, answers := x.log.traffic(exchanges)
	x.answers = append(x.answers, answers...)
	from := asked(st)
	if st.Operation == "finish" {
		from = x.askedBy[st.Finish]
	}
	x.last = &sent{from: from, exchanges: exchanges, answers: answers, latency: latencyOf(exchanges)}
	return t
}
