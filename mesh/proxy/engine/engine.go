// Package engine assembles the upstream side of the proxy: route tables, filters,
// router, clusters, metrics.
//
// In: the connection managers, route configurations and clusters of a snapshot. Out:
// one message.Handler per connection manager, and connections for TCP proxies. It
// must not import listeners or connection managers.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/filter"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/router"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/secret"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/tracing"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// Options are what an Engine works with.
type Options struct {
	Network netx.Network
	Seed    seed.Seed
	Secrets secret.Source   // nil: no secrets
	Logger  *slog.Logger    // nil: silent
	Stats   *stats.Registry // nil: its own
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
}

// Engine is the upstream side of one proxy.
type Engine struct {
	// Stats has all metrics.
	Stats *stats.Registry

	options  Options
	upstream *upstream.Manager
	istio    *stats.Istio
	peers    *peers
	limits   filter.LocalLimits
	caller   *router.Caller
	tasks    *router.Tasks
	tracing  *tracing.Hub
	shapesMu sync.Mutex
	shapes   map[string]*shape
	cancel   context.CancelFunc
}

// New makes an engine without clusters. It must be closed.
func New(o Options) *Engine {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Stats == nil {
		o.Stats = new(stats.Registry)
	}
	ctx, cancel := context.WithCancel(context.Background())
	e := &Engine{Stats: o.Stats, options: o, istio: stats.NewIstio(o.Stats), peers: newPeers(o.NodeID, o.Workload), tasks: &router.Tasks{Context: ctx}, cancel: cancel,
		upstream: upstream.NewManager(upstream.Options{Network: o.Network, Seed: o.Seed, Secrets: o.Secrets, Logger: o.Logger, Stats: o.Stats, OnEvent: o.OnEvent})}
	e.tracing = tracing.NewHub(tracing.Options{Send: e.send, Seed: o.Seed.Sub("tracing"), Stats: o.Stats,
		NodeID: o.NodeID, Service: o.Service, Zone: o.Zone, Getenv: o.Getenv})
	e.caller = router.NewCaller(router.Options{Upstream: e.upstream, Tasks: e.tasks, Logger: o.Logger})
	return e
}

// send sends a request of the proxy's own and reads the answer away; what stays of it
// are status, header and trailer.
func (e *Engine) send(ctx context.Context, cluster string, r *message.Request, timeout time.Duration) (*message.Response, error) {
	key := e.options.Seed.Sub("own").At(uint64(time.Now().UnixNano()))
	p, err := e.caller.Call(ctx, cluster, r, key, timeout)
	if err != nil || p.Body == nil {
		return p, err
	}
	defer p.Body.Close()
	if _, err := io.Copy(io.Discard, p.Body); err != nil {
		return nil, err
	}
	p.Header = append(p.Header, p.Body.Trailer()...)
	return p, nil
}

// UpdateClusters puts a set of clusters in force. Where one asks for what is not
// supported, nothing changes and the error names it.
func (e *Engine) UpdateClusters(clusters map[string]*snapshot.Cluster) error {
	return e.upstream.Update(clusters)
}

// Connect makes a connection for a TCP proxy. The error is a *reply.Reply.
func (e *Engine) Connect(ctx context.Context, downstream *message.Conn, cluster string) (net.Conn, netip.AddrPort, error) {
	return e.upstream.Connect(ctx, downstream, cluster)
}

// Resolve resolves a name for a TCP proxy whose cluster is one by name.
func (e *Engine) Resolve(ctx context.Context, cluster, cache, authority string) error {
	return e.upstream.Resolve(ctx, cluster, cache, authority)
}

// Tunnel opens a tunnel for a TCP proxy. The error is a *reply.Reply.
func (e *Engine) Tunnel(ctx context.Context, s *message.Stream, t *snapshot.Tunnel) (io.ReadWriteCloser, error) {
	key := e.options.Seed.Sub("tunnel").At(s.Conn.ID ^ uint64(s.Start.UnixNano()) + uint64(s.Attempts))
	return router.Open(ctx, router.Options{Upstream: e.upstream, Logger: e.options.Logger, SuppressEnvoyHeaders: true}, s, t, key)
}

// Authorizer makes what asks a service about the connections of a listener.
func (e *Engine) Authorizer(config *snapshot.ExtAuthz) func(ctx context.Context, c *message.Conn, metadata map[string]map[string]any) (details string) {
	scope := "ext_authz." + strings.TrimSuffix(config.StatPrefix, ".") + "."
	a := filter.NewConnectionAuthorizer(config, e.caller, func(what string) {
		e.Stats.Counter(scope+what, "envoy_ext_authz_tcp_"+what).Inc()
	})
	key := e.options.Seed.Sub("ext_authz")
	return func(ctx context.Context, c *message.Conn, metadata map[string]map[string]any) string {
		return a.Ask(ctx, c, metadata, key.At(c.ID^uint64(c.Start.UnixNano())))
	}
}

// Hosts is the state of a cluster's hosts; nil where there is no such cluster.
func (e *Engine) Hosts(cluster string) []upstream.HostStatus { return e.upstream.Hosts(cluster) }

// Upstream is the clusters, for admin ports.
func (e *Engine) Upstream() *upstream.Manager { return e.upstream }

// Close ends mirrored requests and all clusters. Handlers must not be used afterwards.
func (e *Engine) Close() error {
	e.cancel()
	e.tracing.Close()
	e.tasks.Wait()
	return e.upstream.Close()
}

// Handler makes the request path of a connection manager. Handlers of one engine
// share its clusters. An error names the filter or route that is not supported.
func (e *Engine) Handler(m *snapshot.HTTPManager, routes map[string]*snapshot.RouteConfig) (message.Handler, error) {
	config := m.Routes
	if config == nil {
		if config = routes[m.RouteConfig]; config == nil {
			return nil, fmt.Errorf("http connection manager %q: route configuration %q is not there", m.StatPrefix, m.RouteConfig)
		}
	}
	h := &handler{table: route.Compile(config), seed: e.options.Seed.Sub("request"), http: newHTTPStats(e.Stats, m.StatPrefix),
		connect: slices.Contains(m.Upgrades, "connect")}
	if m.Tracing != nil && m.Tracing.Provider != nil {
		var err error
		if h.tracer, err = e.tracing.Tracer(m.Tracing); err != nil {
			return nil, fmt.Errorf("http connection manager %q: tracing: %w", m.StatPrefix, err)
		}
		h.http.traces(e.Stats, m.StatPrefix)
	}
	var layers []filter.Filter
	var problems []error
	last := filter.Handler(nil)
	for i, f := range m.Filters {
		if last != nil {
			problems = append(problems, fmt.Errorf("filter %s: it stands behind the router", f.FilterName()))
		}
		layer, err := e.layer(h, f)
		switch r := f.(type) {
		case snapshot.Router:
			last, err = e.router(h, m, r)
		case *snapshot.Router:
			last, err = e.router(h, m, *r)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("http connection manager %q: filters[%d]: %w", m.StatPrefix, i, err))
		}
		if layer != nil {
			layers = append(layers, layer)
		}
	}
	if last == nil && len(problems) == 0 {
		problems = append(problems, fmt.Errorf("http connection manager %q: there is no router filter", m.StatPrefix))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	for i := len(layers) - 1; i >= 0; i-- {
		last = layers[i](last)
	}
	h.chain = last
	return h, nil
}

func (e *Engine) router(h *handler, m *snapshot.HTTPManager, f snapshot.Router) (filter.Handler, error) {
	rt, err := router.New(h.table, router.Options{Upstream: e.upstream, Tasks: e.tasks, Logger: e.options.Logger,
		SuppressEnvoyHeaders: f.SuppressEnvoyHeaders, Decorate: m.Tracing != nil})
	if err != nil {
		return nil, err
	}
	return rt.Serve, nil
}

// layer makes a filter's layer; nil where it needs none. grpc_stats has no effect that
// anything here could see: gRPC's statuses go into Istio's metrics anyway.
func (e *Engine) layer(h *handler, f snapshot.Filter) (filter.Filter, error) {
	switch c := f.(type) {
	case snapshot.Fault:
		return filter.Fault(c), nil
	case *snapshot.Fault:
		return filter.Fault(*c), nil
	case snapshot.JWT:
		return filter.JWT(c)
	case snapshot.HostForward:
		return filter.HostForward(c, e.upstream), nil
	case snapshot.RBAC:
		return filter.RBAC(c, h.counter("rbac.")), nil
	case *snapshot.ExtAuthz:
		prefix := "ext_authz."
		if c.StatPrefix != "" {
			prefix += c.StatPrefix + "."
		}
		return filter.ExtAuthz(c, e.caller, h.counter(prefix)), nil
	case *snapshot.LocalRateLimit:
		return filter.LocalRateLimit(c, &e.limits, e.Stats), nil
	case *snapshot.GlobalRateLimit:
		return filter.GlobalRateLimit(c, e.caller, e.Stats), nil
	case snapshot.CORS, *snapshot.CORS:
		return filter.CORS(), nil
	case snapshot.ALPN:
		return filter.ALPN(c), nil
	case *snapshot.ALPN:
		return filter.ALPN(*c), nil
	case snapshot.IstioStats:
		var err error
		h.istio, err = e.recorder(c)
		return nil, err
	case *snapshot.IstioStats:
		return e.layer(h, *c)
	case snapshot.PeerMetadata:
		return e.peers.filter(c), nil
	case *snapshot.PeerMetadata:
		return e.peers.filter(*c), nil
	case snapshot.GRPCStats, *snapshot.GRPCStats, snapshot.Router, *snapshot.Router:
	default:
		return nil, fmt.Errorf("filter %s is not supported", f.FilterName())
	}
	return nil, nil
}
