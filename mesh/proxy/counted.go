package proxy

import (
	"context"
	"net"
	"sync/atomic"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/listen"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
)

// counted is a server whose connections count in Envoy's metrics of the listener and of
// the connection manager or TCP proxy.
type counted struct {
	listen.Server
	total  []*stats.Counter
	active []*stats.Gauge
}

// counted makes a server count; without an engine there are no metrics.
func (p *Proxy) counted(l *snapshot.Listener, c *snapshot.FilterChain, s listen.Server) listen.Server {
	if p.engine == nil || s == nil {
		return s
	}
	scopes := []stats.Scope{p.engine.Stats.Listener(l.Address.String())}
	switch {
	case c.HTTP != nil:
		scopes = append(scopes, p.engine.Stats.HTTP(c.HTTP.StatPrefix))
	case c.TCP != nil:
		scopes = append(scopes, p.engine.Stats.TCP(c.TCP.StatPrefix))
	}
	n := &counted{Server: s}
	for _, scope := range scopes {
		n.total = append(n.total, scope.Counter("downstream_cx_total"))
		n.active = append(n.active, scope.Gauge("downstream_cx_active"))
	}
	return n
}

// unmatched counts a connection that no filter chain took.
func (p *Proxy) unmatched(l *snapshot.Listener) {
	if p.engine != nil {
		p.engine.Stats.Listener(l.Address.String()).Counter("no_filter_chain_match").Inc()
	}
}

// Serve implements listen.Server.
func (n *counted) Serve(ctx context.Context, c net.Conn, facts *message.Conn, draining *atomic.Bool) {
	for i := range n.total {
		n.total[i].Inc()
		n.active[i].Add(1)
	}
	n.Server.Serve(ctx, c, facts, draining)
	for i := range n.active {
		n.active[i].Add(-1)
	}
}
