// Package proxy is the data plane: a configuration comes in as a snapshot.Proxy,
// connections come in from a netx.Network, and what the configuration says is done to
// them. It must not import models, configuration formats or Envoy's protos.
//
// The way of a connection: listen (accept, inspect, match, TLS), then manager for HTTP or
// tcp for bytes; the way of a request: manager (codec, header fields), then the Stack's
// handler (filters, routes, clusters).
package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/accesslog"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/engine"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/listen"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/secret"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// Stack makes the part of the request path that filters, routes and forwards.
type Stack interface {
	Handler(m *snapshot.HTTPManager, routes map[string]*snapshot.RouteConfig) (message.Handler, error)
}

// Upstream has the clusters.
type Upstream interface {
	UpdateClusters(map[string]*snapshot.Cluster) error
	Connect(ctx context.Context, downstream *message.Conn, cluster string) (net.Conn, netip.AddrPort, error)
	Tunnel(ctx context.Context, s *message.Stream, t *snapshot.Tunnel) (io.ReadWriteCloser, error)
	Resolve(ctx context.Context, cluster, cache, authority string) error
}

// Options are what a Proxy needs of its surroundings.
type Options struct {
	Network netx.Network
	Seed    seed.Seed
	Secrets secret.Source
	// AccessLog gets every finished exchange and connection; nil: nobody wants them.
	AccessLog accesslog.Sink
	// LogHeader has the entries for AccessLog carry the request's header.
	LogHeader bool
	// OpenLog opens the files of configured access logs; nil: none is written.
	OpenLog accesslog.Open
	Logger  *slog.Logger
	// DrainTimeout is how long connections of a listener or filter chain that goes may
	// take to end after being asked to. Default 45 s, as Istio's drainDuration.
	DrainTimeout time.Duration
	// Workload is who this proxy stands for, in Istio's metrics.
	Workload stats.Workload
	// NodeID is the proxy's id, which it tells its peers.
	NodeID string
	// Node is what expressions know of this proxy: id, cluster, metadata.
	Node map[string]any
	// Service, Zone and Getenv are the node's cluster, its zone and the proxy's
	// environment, for spans. A nil Getenv has nothing set.
	Service, Zone string
	Getenv        func(string) string
	// OnEvent is told about ejections. It must not block, nor call back.
	OnEvent func(upstream.Event)
	// Stack and Upstream stand in for the upstream half; nil: an engine of the proxy's own.
	Stack    Stack
	Upstream Upstream
}

const defaultDrainTimeout = 45 * time.Second

// Proxy is one proxy. Its methods may be called from any goroutine.
type Proxy struct {
	o      Options
	engine *engine.Engine // nil where Options brought another upstream half
	ids    atomic.Uint64

	apply  chan struct{} // holds a token while nobody changes the fields below it
	closed bool
	socket map[netip.AddrPort]*listen.Socket
	open   []*listener // by position in the snapshot
	now    *snapshot.Proxy

	logs map[string]io.Writer // opened access logs, by path

	find atomic.Pointer[map[netip.AddrPort]*listen.Listener]

	mu       sync.Mutex
	draining map[*drain]struct{}
}

// New makes a Proxy that does nothing until Apply.
func New(o Options) *Proxy {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.DrainTimeout <= 0 {
		o.DrainTimeout = defaultDrainTimeout
	}
	if o.OpenLog == nil {
		o.OpenLog = func(string) (io.Writer, error) { return io.Discard, nil }
	}
	p := &Proxy{o: o, apply: make(chan struct{}, 1), socket: map[netip.AddrPort]*listen.Socket{}, logs: map[string]io.Writer{}, draining: map[*drain]struct{}{}}
	p.apply <- struct{}{}
	if o.Stack == nil {
		p.engine = engine.New(engine.Options{Network: o.Network, Seed: o.Seed, Secrets: o.Secrets, Logger: o.Logger, Workload: o.Workload, NodeID: o.NodeID, Node: o.Node, OnEvent: o.OnEvent,
			Service: o.Service, Zone: o.Zone, Getenv: o.Getenv})
		p.o.Stack, p.o.Upstream = p.engine, p.engine
	}
	return p
}

// Engine is the upstream half with its hosts and metrics; nil where Options brought another.
func (p *Proxy) Engine() *engine.Engine { return p.engine }

var errClosed = errors.New("the proxy is closed")

// Apply puts a configuration in force, or on error changes nothing. Everything is built
// and bound before anything is swapped: clusters first, then handlers, so that a request
// never meets a route to a cluster that is not there yet. A listener whose content is the
// same keeps its connections; one that changed passes its port on, and the connections of
// filter chains that changed drain.
func (p *Proxy) Apply(next *snapshot.Proxy) error {
	<-p.apply
	defer func() { p.apply <- struct{}{} }()
	if p.closed {
		return errClosed
	}
	plan, err := p.plan(next)
	if err != nil {
		return fmt.Errorf("applying configuration %q: %w", next.Version, err)
	}
	if err := p.o.Upstream.UpdateClusters(union(p.now, next)); err != nil {
		plan.abandon()
		return fmt.Errorf("applying configuration %q: %w", next.Version, err)
	}
	p.commit(plan)
	before := p.now
	p.now = next
	if before == nil {
		return nil
	}
	if err := p.o.Upstream.UpdateClusters(next.Clusters); err != nil {
		p.o.Logger.Error("removing clusters", "version", next.Version, "error", err)
	}
	return nil
}

// union has the clusters of both, the new one's where both have one.
func union(before, next *snapshot.Proxy) map[string]*snapshot.Cluster {
	if before == nil {
		return next.Clusters
	}
	all := make(map[string]*snapshot.Cluster, len(next.Clusters))
	for name, c := range before.Clusters {
		all[name] = c
	}
	for name, c := range next.Clusters {
		all[name] = c
	}
	return all
}

// Snapshot is the configuration in force, nil before the first.
func (p *Proxy) Snapshot() *snapshot.Proxy {
	<-p.apply
	defer func() { p.apply <- struct{}{} }()
	return p.now
}

// Addr is the address that a listener is bound to, for listeners on port 0.
func (p *Proxy) Addr(listener string) (netip.AddrPort, bool) {
	<-p.apply
	defer func() { p.apply <- struct{}{} }()
	for _, l := range p.open {
		if l.config.Name == listener && l.config.BindToPort {
			return p.socket[l.config.Address].Addr(), true
		}
	}
	return netip.AddrPort{}, false
}

// Drain asks all connections to end with their next response; ports stay open, as in
// Envoy's drain_listeners?graceful.
func (p *Proxy) Drain() {
	<-p.apply
	defer func() { p.apply <- struct{}{} }()
	for _, l := range p.open {
		l.Drain()
	}
}

// Active is the number of connections of all listeners but those that are named, the
// ones that drain among them.
func (p *Proxy) Active(except func(listener string) bool) int64 {
	<-p.apply
	defer func() { p.apply <- struct{}{} }()
	var n int64
	for _, l := range p.open {
		if !except(l.config.Name) {
			n += l.Active()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for d := range p.draining {
		n += d.rest.Active()
	}
	return n
}

// Close unbinds all ports, ends all connections at once and waits for them.
func (p *Proxy) Close() error {
	<-p.apply
	if p.closed {
		p.apply <- struct{}{}
		return nil
	}
	p.closed = true
	sockets, open := p.socket, p.open
	p.socket, p.open = nil, nil
	p.apply <- struct{}{}
	for _, s := range sockets {
		s.Close()
	}
	for _, l := range open {
		l.Close()
	}
	p.mu.Lock()
	rest := p.draining
	p.draining = nil
	p.mu.Unlock()
	for d := range rest {
		d.timer.Stop()
		d.rest.Close()
	}
	if p.engine != nil {
		return p.engine.Close()
	}
	return nil
}

// drain is what is left of a listener that has gone or changed: connections.
type drain struct {
	rest  *listen.Retired
	timer *time.Timer
}

// retire lets connections end within the drain timeout: with their next response, as
// Istio has Envoy drain at once and not little by little; what is idle or streams by then
// is closed.
func (p *Proxy) retire(l *listen.Retired) {
	l.Drain()
	if l.Active() == 0 {
		go l.Close() // one accepted a moment ago may still be on its way in
		return
	}
	d := &drain{rest: l}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draining[d] = struct{}{}
	d.timer = time.AfterFunc(p.o.DrainTimeout, func() {
		l.Close()
		p.mu.Lock()
		delete(p.draining, d)
		p.mu.Unlock()
	})
}

// openLog opens each access log once in the life of the proxy.
func (p *Proxy) openLog(path string) (io.Writer, error) {
	if w := p.logs[path]; w != nil {
		return w, nil
	}
	w, err := p.o.OpenLog(path)
	if err == nil {
		p.logs[path] = w
	}
	return w, err
}

// same tells whether two configurations of a listener mean the same.
func same(a, b *snapshot.Listener) bool {
	return a == b || a.Name == b.Name && reflect.DeepEqual(a, b)
}
