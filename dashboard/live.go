package dashboard

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/accesslog"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/reports/picture"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
)

// How much is kept of what happened.
const (
	keptRequests = 20_000
	keptEvents   = 500
)

// live keeps the newest of what happened, and tells who waits for more.
type live struct {
	mu     sync.Mutex
	seen   []seen // in order
	next   uint64
	events []happened
	more   chan struct{} // closed and made anew when there is more
	ended  bool
	start  time.Time
}

// seen is one exchange as one proxy saw it.
type seen struct {
	id    uint64
	seen  run.Seen
	local netip.AddrPort
	head  message.Header
	tls   bool // https between the client and a gateway
}

// happened is something that happened to the mesh.
type happened struct {
	ID   uint64  `json:"id"`
	Time float64 `json:"time"` // seconds since 1970
	Kind string  `json:"kind"`
	Text string  `json:"text"`
}

func newLive() *live { return &live{more: make(chan struct{}), start: time.Now()} }

// Exchange implements world.Watcher.
func (b *Board) Exchange(s run.Seen, e accesslog.Entry) {
	l := b.live
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	l.seen = append(l.seen, seen{l.next, s, e.DownstreamLocal, e.Header, e.Scheme == "https"})
	if len(l.seen) >= 2*keptRequests {
		l.seen = slices.Clone(l.seen[len(l.seen)-keptRequests:])
	}
	l.wake()
}

// Event implements world.Watcher.
func (b *Board) Event(e run.Event) {
	l := b.live
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	l.events = append(l.events, happened{l.next, unix(e.Time), e.Kind, e.Text})
	if len(l.events) >= 2*keptEvents {
		l.events = slices.Clone(l.events[len(l.events)-keptEvents:])
	}
	l.wake()
}

// wake tells those who wait. The lock is held.
func (l *live) wake() {
	if !l.ended {
		close(l.more)
		l.more = make(chan struct{})
	}
}

func (l *live) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wake()
	l.ended = true
}

// since are the entries and events after an id, and what tells that there is more.
func (l *live) since(id uint64) (list []seen, events []happened, more <-chan struct{}, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, _ := slices.BinarySearchFunc(l.seen, id+1, func(s seen, id uint64) int { return cmp.Compare(s.id, id) })
	k, _ := slices.BinarySearchFunc(l.events, id+1, func(e happened, id uint64) int { return cmp.Compare(e.ID, id) })
	return l.seen[i:len(l.seen):len(l.seen)], l.events[k:len(l.events):len(l.events)], l.more, l.ended
}

// row is an entry as the page has it.
type row struct {
	ID        uint64   `json:"id"`
	Time      float64  `json:"time"` // when it ended, seconds since 1970
	From      string   `json:"from"`
	To        string   `json:"to"`
	Pod       string   `json:"pod"`    // of the proxy that tells it
	Side      string   `json:"side"`   // client, gateway, server
	Method    string   `json:"method"` // empty: TCP
	Authority string   `json:"authority"`
	Path      string   `json:"path"`
	Status    int      `json:"status"`
	Flags     []string `json:"flags"`
	Details   string   `json:"details"`
	MS        float64  `json:"ms"`
	Attempts  int      `json:"attempts"`
	MutualTLS bool     `json:"mutualTLS"` // of the connection that it came by
	Route     string   `json:"route"`
	Source    string   `json:"source"`
	Cluster   string   `json:"cluster"`
	Upstream  string   `json:"upstream"` // the Pod, or the address
	RequestID string   `json:"requestId"`
	Bad       bool     `json:"bad"`
	// Second is a server's view of what its client's proxy tells, too.
	Second bool `json:"second"`
}

func (s *seen) row() row {
	e := &s.seen
	from, to := run.Ends(e)
	r := row{ID: s.id, Time: unix(e.Time), From: from, To: to, Pod: e.Pod, Side: "client", Method: e.Method, Authority: e.Authority, Path: e.Path,
		Status: e.Status, Flags: e.Flags, Details: e.Details, MS: ms(e.Duration), Attempts: e.Attempts, MutualTLS: e.MutualTLS,
		Route: e.Route, Source: e.Source, Cluster: e.Cluster, Upstream: cmp.Or(e.UpstreamPod, e.UpstreamAddress), RequestID: run.Untraced(e.RequestID), Bad: bad(e)}
	switch {
	case e.Inbound:
		r.Side, r.Second = "server", e.DownstreamWorkload != ""
	case e.DownstreamPod != e.Pod:
		r.Side = "gateway"
	}
	if r.Flags == nil {
		r.Flags = []string{}
	}
	return r
}

// bad tells whether an exchange went wrong: no answer, an error, or for TCP a flag.
func bad(e *run.Seen) bool {
	if e.Method == "" {
		return len(e.Flags) > 0
	}
	return e.Status == 0 || e.Status >= 400
}

func unix(t time.Time) float64           { return float64(t.UnixMilli()) / 1000 }
func ms(d time.Duration) float64         { return math.Round(float64(d)/float64(time.Millisecond)*100) / 100 }
func perSecond(n int, s float64) float64 { return math.Round(float64(n)/s*100) / 100 }

// traffic is the graph of a window of time, with its numbers.
type traffic struct {
	Seconds float64 `json:"seconds"` // of the window
	Wide    string  `json:"wide"`    // SVG, in layers from the left
	Tall    string  `json:"tall"`    // from the top
	Edges   []edge  `json:"edges"`
	Calls   int     `json:"calls"`
	Bad     int     `json:"bad"`
	Rate    float64 `json:"rate"` // calls per second
	P50     float64 `json:"p50"`  // ms
	P99     float64 `json:"p99"`
	Series  []tick  `json:"series"` // the window in equal parts
}

// edge has the numbers of one edge, by the proxies of its callers where they have one.
type edge struct {
	From  string  `json:"from"`
	To    string  `json:"to"`
	Calls int     `json:"calls"`
	Bad   int     `json:"bad"`
	Rate  float64 `json:"rate"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
}

// tick is one part of the window.
type tick struct {
	Good int     `json:"good"`
	Bad  int     `json:"bad"`
	P99  float64 `json:"p99"`
}

const ticks = 60

// traffic sums up the newest so many seconds.
func (l *live) traffic(window time.Duration, now time.Time) traffic {
	list, _, _, _ := l.since(0)
	from := now.Add(-window)
	i, _ := slices.BinarySearchFunc(list, from, func(s seen, t time.Time) int { return s.seen.Time.Compare(t) })
	list = list[i:]
	t := traffic{Seconds: math.Max(1, math.Min(window.Seconds(), now.Sub(l.start).Seconds())), Edges: []edge{}, Series: make([]tick, ticks)}
	log := make([]run.Seen, len(list))
	latencies := map[[2]string][]float64{}
	var all []float64
	parts := make([][]float64, ticks)
	for i := range list {
		s := &list[i]
		log[i] = s.seen
		r := s.row()
		if r.Second {
			continue
		}
		part := min(max(int(s.seen.Time.Sub(from)*ticks/window), 0), ticks-1)
		if t.Calls++; r.Bad {
			t.Bad++
			t.Series[part].Bad++
		} else {
			t.Series[part].Good++
		}
		all, parts[part] = append(all, r.MS), append(parts[part], r.MS)
		key := [2]string{r.From, r.To}
		latencies[key] = append(latencies[key], r.MS)
		if r.Side == "gateway" { // its clients' edge, too
			key = [2]string{cmp.Or(s.seen.DownstreamWorkload, "outside"), s.seen.Workload}
			latencies[key] = append(latencies[key], r.MS)
		}
	}
	t.Rate = perSecond(t.Calls, t.Seconds)
	t.P50, t.P99 = percentiles(all)
	for i := range parts {
		_, t.Series[i].P99 = percentiles(parts[i])
	}
	g := run.GraphOf(log, from, window+time.Second, 1)
	if g == nil {
		return t
	}
	t.Wide, t.Tall = string(picture.Graph(g, t.Seconds, false)), string(picture.Graph(g, t.Seconds, true))
	for _, e := range g.Edges {
		out := edge{From: e.From, To: e.To, Calls: e.Count, Bad: e.Bad, Rate: perSecond(e.Count, t.Seconds)}
		out.P50, out.P99 = percentiles(latencies[[2]string{e.From, e.To}])
		t.Edges = append(t.Edges, out)
	}
	return t
}

// percentiles are the median and the 99th percentile; 0 of nothing.
func percentiles(list []float64) (p50, p99 float64) {
	if len(list) == 0 {
		return 0, 0
	}
	sorted := slices.Sorted(slices.Values(list))
	at := func(p float64) float64 { return sorted[min(int(p*float64(len(sorted))), len(sorted)-1)] }
	return at(0.5), at(0.99)
}
