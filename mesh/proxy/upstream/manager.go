// Package upstream reaches clusters: it keeps their hosts, balances requests over
// them, limits and ejects, and lends connections.
//
// In: snapshot.Clusters. Out: connections to hosts, with failures in Envoy's kinds.
// What must outlive a configuration (pools, counts, ejections, cursors) is kept here,
// by the name of the cluster and the address of the host. It must not import the
// layers above (router, filters).
package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/secret"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// Options are what a Manager works with.
type Options struct {
	Network netx.Network
	Seed    seed.Seed
	Secrets secret.Source   // nil: no secrets
	Logger  *slog.Logger    // nil: silent
	Stats   *stats.Registry // nil: its own
	// OnEvent is told about ejections and their end. It must not block, nor call back.
	OnEvent func(Event)
}

// Event is an ejection by outlier detection, or its end.
type Event struct {
	Time    time.Time
	Cluster string
	Host    netip.AddrPort
	Ejected bool
	Reason  string // "consecutive_5xx"; empty at the end
}

// Manager has all clusters of one proxy.
type Manager struct {
	options  Options
	clusters atomic.Pointer[map[string]*Cluster]
	mu       sync.Mutex // serializes Update and Close
	tasks    sync.WaitGroup
	sequence atomic.Uint64
	ctx      context.Context // of connections being made; ends with Close
	stop     context.CancelFunc
}

// NewManager makes a manager without clusters. It must be closed.
func NewManager(o Options) *Manager {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Stats == nil {
		o.Stats = new(stats.Registry)
	}
	m := &Manager{options: o}
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.clusters.Store(&map[string]*Cluster{})
	return m
}

// Update puts a set of clusters in force. Clusters that stay keep their state, also with
// other endpoints; clusters that went drain, and so do those whose own configuration
// changed: a new one without any state takes their place. Where a cluster asks for what is not supported, nothing
// changes, and the error names all such fields.
func (m *Manager) Update(configs map[string]*snapshot.Cluster) error {
	names := slices.Sorted(maps.Keys(configs))
	var problems []error
	for _, name := range names {
		problems = append(problems, check(configs[name]))
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old, next := *m.clusters.Load(), make(map[string]*Cluster, len(configs))
	for _, name := range names {
		c := old[name]
		if c == nil {
			c = m.newCluster(configs[name])
		} else if replaces(c.config(), configs[name]) {
			c = m.successor(c, configs[name])
		}
		next[name] = c
		if c.config() != configs[name] {
			c.update(configs[name])
		}
	}
	m.clusters.Store(&next)
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if next[name] != old[name] {
			old[name].close()
		}
	}
	return nil
}

// check refuses what is not supported.
func check(c *snapshot.Cluster) error {
	var problems []error
	refuse := func(field string) {
		problems = append(problems, fmt.Errorf("cluster %q: %s is not supported yet", c.Name, field))
	}
	if c.Balancer == snapshot.ClusterProvided && !onDemand(c) {
		refuse("lb_policy CLUSTER_PROVIDED without ORIGINAL_DST or dynamic_forward_proxy")
	}
	if c.Balancer == snapshot.Maglev && c.MaglevSize < 2 {
		problems = append(problems, fmt.Errorf("cluster %q: maglev table_size %d is too small", c.Name, c.MaglevSize))
	}
	return errors.Join(problems...)
}

func (m *Manager) newCluster(config *snapshot.Cluster) *Cluster {
	onEvent := m.options.OnEvent
	if onEvent == nil {
		onEvent = func(Event) {}
	}
	name := config.StatName
	if name == "" {
		name = config.Name
	}
	c := &Cluster{Name: config.Name, Stats: newStats(m.options.Stats, name), network: m.options.Network, secrets: m.options.Secrets,
		seed: m.options.Seed.Sub("cluster/" + config.Name), onEvent: onEvent, hosts: map[netip.AddrPort]*Host{},
		cursors: map[string]*cursor{}, resolved: map[string][]netip.Addr{}, logical: map[string]*Host{}, named: map[nameAndPort]*named{}, tasks: &m.tasks, dialing: m.ctx}
	c.breakerGauges(c.Stats.scope)
	c.ctx, c.stop = context.WithCancel(context.Background())
	if isDNS(config) {
		c.ready = make(chan struct{})
	}
	if config.HealthCheck != nil {
		c.checkedOnce = make(chan struct{})
	}
	return c
}

// successor is a cluster in place of one whose configuration changed. It has no hosts,
// counts or ejections of the old one's; only what DNS said is known already, as Envoy
// puts a cluster in force once its names are resolved.
func (m *Manager) successor(old *Cluster, config *snapshot.Cluster) *Cluster {
	c := m.newCluster(config)
	old.mu.Lock()
	defer old.mu.Unlock()
	if isDNS(config) && old.answered {
		maps.Copy(c.resolved, old.resolved)
		c.answered, c.ready = true, nil
	}
	return c
}

// replaces tells whether a configuration makes another cluster. Envoy compares hashes of
// what CDS sent (cluster manager: a cluster whose configuration changed is replaced, and
// the connections to the old one are drained). Endpoints that came by EDS and secrets
// that came by SDS are no part of that, nor is the line that somebody wrote it on.
func replaces(old, next *snapshot.Cluster) bool {
	own := func(c *snapshot.Cluster) *snapshot.Cluster {
		plain := *c
		plain.Source, plain.Transports = "", slices.Clone(c.Transports)
		if c.Discovery == snapshot.EDS {
			plain.Endpoints = nil
		}
		for i, t := range plain.Transports {
			if t.TLS != nil {
				tls := *t.TLS
				tls.Inline, tls.InlineRoots = nil, nil
				plain.Transports[i].TLS = &tls
			}
		}
		return &plain
	}
	return old != next && !reflect.DeepEqual(own(old), own(next))
}

// Cluster returns a cluster by name, or nil.
func (m *Manager) Cluster(name string) *Cluster { return (*m.clusters.Load())[name] }

// Names are all clusters, sorted.
func (m *Manager) Names() []string { return slices.Sorted(maps.Keys(*m.clusters.Load())) }

// Hosts is the state of a cluster's hosts; nil where there is no such cluster.
func (m *Manager) Hosts(cluster string) []HostStatus {
	if c := m.Cluster(cluster); c != nil {
		return c.Hosts()
	}
	return nil
}

// Close ends all clusters and waits for the tasks behind them.
func (m *Manager) Close() error {
	m.stop()
	m.mu.Lock()
	old := *m.clusters.Swap(&map[string]*Cluster{})
	m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(old)) {
		old[name].close()
		old[name].eachPool(func(p *pool) { p.failWaiting(&Failure{Kind: ConnectionFailure, Reason: "cluster removed"}) })
	}
	m.tasks.Wait()
	return nil
}

// Connect makes a connection to a host of a cluster for a TCP proxy. The error is a
// *reply.Reply with Envoy's response flag: NC, UH, UO or UF.
func (m *Manager) Connect(ctx context.Context, downstream *message.Conn, name string) (net.Conn, netip.AddrPort, error) {
	c := m.Cluster(name)
	if c == nil {
		return nil, netip.AddrPort{}, &reply.Reply{Status: 503, Flag: message.NoClusterFound, Details: "cluster_not_found", Reset: true}
	}
	sel := &Selection{Key: m.sequence.Add(1), OriginalDst: OriginalDst(downstream)}
	if downstream != nil {
		sel.Key = c.seed.At(downstream.ID ^ uint64(downstream.Start.UnixNano()))
		sel.Name = downstream.ForwardTo
		if downstream.HashKey != "" {
			sel.Hash, sel.HasHash = Hash(downstream.HashKey), true
		}
	}
	h := c.Choose(ctx, sel)
	if h == nil {
		return nil, netip.AddrPort{}, &reply.Reply{Status: 503, Flag: message.NoHealthyUpstream, Details: "no_healthy_upstream", Reset: true}
	}
	conn, f := h.connectTCP(ctx, ToldOf(downstream))
	if f != nil {
		if f.Kind != Overflow && ctx.Err() == nil {
			h.Report(Outcome{Local: true, Timeout: f.Kind == ConnectionTimeout})
		}
		return nil, h.Target(), &reply.Reply{Status: 503, Flag: tcpFlag(f), Details: "upstream_connect_failure", Body: f.Reason, Reset: true}
	}
	h.Report(Outcome{Status: 200})
	return conn, netx.AddrPort(conn.RemoteAddr()), nil
}

func tcpFlag(f *Failure) message.Flags {
	if f.Kind == Overflow {
		return message.UpstreamOverflow
	}
	return message.UpstreamConnectionFailure
}

// connectTCP makes a connection that counts until it is closed.
func (h *Host) connectTCP(ctx context.Context, told Told) (net.Conn, *Failure) {
	p := &h.pools[0]
	p.mu.Lock()
	reserved := p.reserve()
	p.mu.Unlock()
	if !reserved {
		return nil, &Failure{Kind: Overflow}
	}
	s := h.cluster.Stats
	h.connections.Add(1)
	s.cxTotal.Inc()
	s.cxActive.Add(1)
	raw, failure := h.connect(ctx, h.Target(), Want{Told: told}, false)
	if failure != nil {
		p.closedFailing(failure)
		return nil, failure
	}
	h.requests.Add(1)
	h.active.Add(1)
	return &tcpConn{Conn: raw, pool: p}, nil
}

// tcpConn is a connection for a TCP proxy.
type tcpConn struct {
	net.Conn
	pool *pool
	once sync.Once
}

// Identities are those of mutual TLS, empty in plain text.
func (c *tcpConn) Identities() (local, peer string) {
	i := identitiesOf(c.Conn)
	return i.Local, i.Peer
}

// Close implements net.Conn.
func (c *tcpConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { c.pool.host.active.Add(-1); c.pool.closed() })
	return err
}

// CloseWrite ends the direction to the host, where the connection has such a thing.
func (c *tcpConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Conn.Close()
}
