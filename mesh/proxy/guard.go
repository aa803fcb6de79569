package proxy

import (
	"context"
	"net"
	"sync/atomic"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/filter"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/listen"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/tcp"
)

// guard closes the connections that the policies before a TCP proxy do not let in.
type guard struct {
	rules []*snapshot.RBAC
	next  listen.Server
	done  tcp.Done
	count func(what string)
}

// Serve implements listen.Server.
func (g *guard) Serve(ctx context.Context, c net.Conn, facts *message.Conn, draining *atomic.Bool) {
	for _, r := range g.rules {
		if what := filter.Shadow(r, facts); what != "" {
			g.count(what)
		}
		if !filter.Permit(r, facts) {
			_ = c.Close()
			g.done(&message.Stream{Conn: facts, Start: facts.Start, Remote: facts.Remote, Details: "rbac_deny_close"})
			return
		}
	}
	g.next.Serve(ctx, c, facts, draining)
}
