package serve

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// Options of a Server. All may be left out.
type Options struct {
	Logger *slog.Logger
	// Now is the clock of Status; default time.Now.
	Now func() time.Time
	// Identifier names the control plane in responses.
	Identifier string
	// OnEvent is called on the streams' goroutines, without locks held. It must not block.
	OnEvent func(Event)
}

// Server is an aggregated discovery service. It keeps no goroutines of its own:
// its streams end with the gRPC server that it is registered on.
type Server struct {
	discoverypb.UnimplementedAggregatedDiscoveryServiceServer
	logger     *slog.Logger
	now        func() time.Time
	identifier string
	onEvent    func(Event)

	mu        sync.Mutex
	current   *generation
	revisions map[string]uint64 // revision → seq of its last Update
	streams   []*stream         // by id
	lastID    uint64
	changed   chan struct{} // closed at the next change of what Synced depends on
}

// New returns a server without a configuration: proxies may connect, and wait.
func New(o Options) *Server {
	s := &Server{logger: o.Logger, now: o.Now, identifier: o.Identifier, onEvent: o.OnEvent,
		revisions: map[string]uint64{}, changed: make(chan struct{})}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.identifier == "" {
		s.identifier = "meshd"
	}
	return s
}

// Register adds the service to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	discoverypb.RegisterAggregatedDiscoveryServiceServer(r, s)
}

// Update makes gen the source of all resources. Every connected proxy is
// generated again and sent what changed for it; equal content is not sent.
// A revision that comes before a slow proxy has got the last one replaces it.
func (s *Server) Update(gen Generator, revision string) {
	s.mu.Lock()
	seq := uint64(1)
	if s.current != nil {
		seq = s.current.seq + 1
	}
	s.current = &generation{gen: gen, revision: revision, seq: seq, results: map[string]*result{}}
	s.remember(revision, seq)
	s.bump()
	streams := slices.Clone(s.streams)
	s.mu.Unlock()
	for _, st := range streams {
		st.notify()
	}
}

// rememberRevisions bounds the memory of revisions that were replaced.
const rememberRevisions = 1024

func (s *Server) remember(revision string, seq uint64) {
	s.revisions[revision] = seq
	if len(s.revisions) > rememberRevisions {
		for r, n := range s.revisions {
			if n+rememberRevisions/2 < seq {
				delete(s.revisions, r)
			}
		}
	}
}

func (s *Server) generation() *generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// bump wakes those who wait for a change. The caller holds mu.
func (s *Server) bump() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) record(st *stream, r report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.report = r
	s.bump()
}

func (s *Server) emit(e Event) {
	if s.onEvent != nil {
		s.onEvent(e)
	}
	s.logger.Debug("ads", "event", string(e.Kind), "node", e.Node, "type", shortType(e.Type), "revision", e.Revision,
		"version", e.Version, "count", e.Count, "removed", e.Removed, "bytes", e.Bytes, "text", e.Text)
}

func shortType(t resource.Type) string { return t[strings.LastIndexByte(t, '.')+1:] }

// StreamAggregatedResources serves one proxy, state of the world.
func (s *Server) StreamAggregatedResources(g discoverypb.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return s.serve(g.Context(), stateOfTheWorld{g, s.identifier}, false)
}

// DeltaAggregatedResources serves one proxy, incrementally.
func (s *Server) DeltaAggregatedResources(g discoverypb.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	return s.serve(g.Context(), incremental{g, s.identifier}, true)
}

func (s *Server) serve(ctx context.Context, w wire, delta bool) error {
	st := &stream{server: s, wire: w, delta: delta, start: s.now(), wake: make(chan struct{}, 1),
		subs: map[resource.Type]*subscription{}}
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		st.peer = p.Addr.String()
	}
	s.mu.Lock()
	s.lastID++
	st.id = s.lastID
	s.streams = append(s.streams, st)
	st.report.status = ProxyStatus{Peer: st.peer, Delta: delta, Connected: st.start}
	s.bump()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.streams = slices.DeleteFunc(s.streams, func(other *stream) bool { return other == st })
		s.bump()
		s.mu.Unlock()
	}()
	return st.run(ctx)
}

// Status returns the connected proxies, sorted by node id and then by when they came.
func (s *Server) Status() []ProxyStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]ProxyStatus, len(s.streams))
	for i, st := range s.streams {
		all[i] = st.report.status
		all[i].Synced = all[i].Synced && s.current != nil && st.report.seq == s.current.seq
	}
	slices.SortStableFunc(all, func(a, b ProxyStatus) int { return strings.Compare(a.Node.ID, b.Node.ID) })
	return all
}

// Synced tells whether every connected proxy has accepted everything of a revision,
// or of a later one. A proxy that has not asked yet for what it was sent the names
// of (endpoints of its clusters, routes of its listeners) is not synced; nor is one
// that has connected and asked for nothing. A revision that was never given to
// Update is not synced. Without proxies everything is.
func (s *Server) Synced(revision string) bool {
	done, _, err := s.progress(revision)
	return done && err == nil
}

// WaitSynced returns when Synced holds. Where a proxy refuses the revision, or no
// resources could be made for one, and all others have answered, it returns a
// *RejectedError: waiting longer would change nothing. Otherwise it ends with ctx.
func (s *Server) WaitSynced(ctx context.Context, revision string) error {
	for {
		done, changed, err := s.progress(revision)
		if done {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for the proxies to take revision %s (%s): %w", revision, strings.Join(s.behind(revision), ", "), ctx.Err())
		}
	}
}

// progress tells whether all proxies have answered for a revision, and how.
func (s *Server) progress(revision string) (done bool, changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seq, known := s.revisions[revision]
	if !known {
		return false, s.changed, nil
	}
	var rejected RejectedError
	for _, st := range s.streams {
		r := &st.report
		if r.seq < seq || !r.settled && r.status.Err == "" {
			return false, s.changed, nil
		}
		rejected.add(r.status)
	}
	if len(rejected.Rejections) > 0 {
		return true, s.changed, &rejected
	}
	return true, s.changed, nil
}

// Behind returns the node ids of the connected proxies that have not answered for a
// revision, sorted.
func (s *Server) Behind(revision string) []string { return s.behind(revision) }

// behind names the proxies that a revision is waiting for.
func (s *Server) behind(revision string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for _, st := range s.streams {
		if r := &st.report; r.seq < s.revisions[revision] || !r.settled && r.status.Err == "" {
			id := r.status.Node.ID
			if id == "" {
				id = "a proxy at " + r.status.Peer
			}
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	if len(ids) == 0 {
		ids = []string{"no such revision yet"}
	}
	return ids
}

// Rejection is one proxy's refusal.
type Rejection struct {
	Node string
	Type resource.Type // empty where no resources could be made
	Text string
}

// RejectedError says which proxies did not take a revision, sorted by node and type.
type RejectedError struct{ Rejections []Rejection }

func (e *RejectedError) add(p ProxyStatus) {
	if p.Err != "" {
		e.Rejections = append(e.Rejections, Rejection{Node: p.Node.ID, Text: p.Err})
	}
	for _, t := range p.Types {
		if t.Nack != "" {
			e.Rejections = append(e.Rejections, Rejection{Node: p.Node.ID, Type: t.Type, Text: t.Nack})
		}
	}
	slices.SortStableFunc(e.Rejections, func(a, b Rejection) int { return strings.Compare(a.Node, b.Node) })
}

// Error implements error. What several proxies say, or one says of several types, is
// told once.
func (e *RejectedError) Error() string {
	var lines []string
	for i, r := range e.Rejections {
		said := func(other Rejection) bool { return other.Text == r.Text && (other.Type == "") == (r.Type == "") }
		if slices.ContainsFunc(e.Rejections[:i], said) {
			continue
		}
		var nodes, types []string
		for _, other := range e.Rejections {
			if said(other) {
				nodes, types = append(nodes, other.Node), append(types, shortType(other.Type))
			}
		}
		slices.Sort(types)
		who, whose := r.Node, "its"
		if nodes = slices.Compact(nodes); len(nodes) > 1 {
			who, whose = fmt.Sprintf("%s and %d more", r.Node, len(nodes)-1), "their"
		}
		if r.Type != "" {
			who += " refused " + whose + " " + strings.Join(slices.Compact(types), ", ")
		}
		lines = append(lines, who+": "+r.Text)
	}
	return strings.Join(lines, "\n")
}
