package run

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// outside is the node of clients that are no Pods.
const outside = "outside"

// grapher counts who called whom. What a server's sidecar tells counts for each try;
// what only the caller's proxy knows of (its own answers, servers without a sidecar)
// counts from there.
type grapher struct {
	index   *index
	start   time.Time
	width   time.Duration
	buckets int
	nodes   map[string]string
	edges   map[[2]string]*result.Edge
}

// graph draws the timeline's buckets as a service graph; nil: nobody called.
func (x *execution) graph(width time.Duration, buckets int) *result.Graph {
	g := &grapher{index: &x.log, start: x.start, width: width, buckets: buckets, nodes: map[string]string{}, edges: map[[2]string]*result.Edge{}}
	for i := range x.log.log {
		g.add(&x.log.log[i])
	}
	if len(g.edges) == 0 {
		return nil
	}
	out := &result.Graph{BucketSeconds: width.Seconds()}
	for _, name := range slices.Sorted(maps.Keys(g.nodes)) {
		out.Nodes = append(out.Nodes, result.Node{Name: name, Kind: g.nodes[name]})
	}
	keys := slices.SortedFunc(maps.Keys(g.edges), func(a, b [2]string) int {
		return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]))
	})
	for _, k := range keys {
		out.Edges = append(out.Edges, *g.edges[k])
	}
	return out
}

// GraphOf draws what proxies saw as a service graph with so many buckets of a width,
// from start on; nil: nobody called.
func GraphOf(log []Seen, start time.Time, width time.Duration, buckets int) *result.Graph {
	x := execution{start: start, log: index{byID: map[string][]int{}}}
	x.log.update(log)
	return x.graph(width, buckets)
}

// Ends are the two nodes of the service graph between which a proxy saw an exchange: a
// gateway's and a client's are themselves and whom they asked, a server's whoever asked
// it and itself.
func Ends(s *Seen) (from, to string) {
	if s.Inbound {
		if s.DownstreamWorkload == "" {
			return outside, s.Workload
		}
		return s.DownstreamWorkload, s.Workload
	}
	to, _ = callee(s)
	return s.Workload, to
}

func (g *grapher) add(s *Seen) {
	bad := failed(s)
	if s.Inbound {
		e := g.edge(g.caller(s), s.Workload, result.NodeWorkload)
		g.count(e, s, bad)
		if s.MutualTLS {
			e.MutualTLS++
		} else {
			e.Plain++
		}
		return
	}
	if s.DownstreamPod != s.Pod { // a gateway: its clients' sidecars, if any, do not know it as a server's
		e := g.edge(g.caller(s), s.Workload, result.NodeGateway)
		g.nodes[s.Workload] = result.NodeGateway
		g.count(e, s, bad)
		if s.MutualTLS {
			e.MutualTLS++
		}
	}
	if to, kind := callee(s); to != "" && !g.told(s) {
		g.count(g.edge(s.Workload, to, kind), s, bad)
	}
}

// caller is the node that a proxy was asked by.
func (g *grapher) caller(s *Seen) string {
	if s.DownstreamWorkload == "" {
		g.note(outside, result.NodeClient)
		return outside
	}
	g.note(s.DownstreamWorkload, result.NodeWorkload)
	return s.DownstreamWorkload
}

// callee is the node that a proxy asked, or would have.
func callee(s *Seen) (name, kind string) {
	if s.UpstreamWorkload != "" {
		return s.UpstreamWorkload, result.NodeWorkload
	}
	if parts := strings.Split(s.Cluster, "|"); len(parts) == 4 && parts[3] != "" {
		service, _, _ := strings.Cut(parts[3], ".svc.")
		return service, result.NodeExternal
	}
	if host, _, _ := strings.Cut(s.Authority, ":"); host != "" {
		return host, result.NodeExternal
	}
	return s.UpstreamAddress, result.NodeExternal
}

// told tells whether a server's sidecar has an entry for what this proxy sent.
func (g *grapher) told(s *Seen) bool {
	entries := g.index.byID[Untraced(s.RequestID)]
	if s.Method == "" {
		entries = g.index.byID[FlowID(s.UpstreamLocalAddress)]
	}
	for _, i := range entries {
		if next := &g.index.log[i]; next.DownstreamPod == s.Pod && next.Pod != s.Pod {
			return true
		}
	}
	return false
}

func (g *grapher) note(name, kind string) {
	if g.nodes[name] == "" || kind == result.NodeWorkload && g.nodes[name] == result.NodeExternal {
		g.nodes[name] = kind
	}
}

func (g *grapher) edge(from, to, kind string) *result.Edge {
	g.note(from, result.NodeWorkload)
	g.note(to, kind)
	key := [2]string{from, to}
	if g.edges[key] == nil {
		g.edges[key] = &result.Edge{From: from, To: to, Requests: make([]int, g.buckets), Errors: make([]int, g.buckets)}
	}
	return g.edges[key]
}

func (g *grapher) count(e *result.Edge, s *Seen, bad bool) {
	i := min(max(int(s.Time.Sub(g.start)/g.width), 0), g.buckets-1)
	e.Count++
	e.Requests[i]++
	if bad {
		e.Bad++
		e.Errors[i]++
	}
}

// failed tells whether an exchange went wrong, as its proxy saw it.
func failed(s *Seen) bool {
	if s.Method == "" {
		return local(s.Flags)
	}
	return s.Status >= 400 || s.Status == 0
}
