package proxy

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/filter"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/listen"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/tcp"
)

// guard closes the connections that the policies before a TCP proxy do not let in.
type guard struct {
	rules []rule
	next  listen.Server
	done  tcp.Done
	count func(what string)
}

// rule is one of the filters: policies, or a service that is asked.
type rule struct {
	rbac *snapshot.RBAC
	ask  func(ctx context.Context, c *message.Conn, metadata map[string]map[string]any) (details string)
}

// guard puts filters before a server of connections.
func (p *Proxy) guard(filters []snapshot.Guard, next listen.Server, done tcp.Done) (listen.Server, error) {
	g := &guard{next: next, done: done, count: func(what string) {
		if p.engine != nil {
			p.engine.Stats.Counter("tcp.rbac."+what, "envoy_tcp_rbac_"+what).Inc()
		}
	}}
	for _, f := range filters {
		switch {
		case f.ExtAuthz == nil:
			g.rules = append(g.rules, rule{rbac: f.RBAC})
		case p.engine == nil:
			return nil, errors.New("ext_authz: there is nobody to ask with")
		default:
			g.rules = append(g.rules, rule{ask: p.engine.Authorizer(f.ExtAuthz)})
		}
	}
	return g, nil
}

// Serve implements listen.Server.
func (g *guard) Serve(ctx context.Context, c net.Conn, facts *message.Conn, draining *atomic.Bool) {
	metadata := map[string]map[string]any{}
	for i := range g.rules {
		details, flag := g.rules[i].decide(ctx, facts, metadata, g.count)
		if details != "" {
			_ = c.Close()
			g.done(&message.Stream{Conn: facts, Start: facts.Start, Remote: facts.Remote, Details: details, Flags: flag,
				Duration: time.Since(facts.Start), Metadata: metadata})
			return
		}
	}
	g.next.Serve(ctx, c, facts, draining)
}

// decide returns why the connection is to be closed, or "".
func (r *rule) decide(ctx context.Context, facts *message.Conn, metadata map[string]map[string]any, count func(string)) (details string, flag message.Flags) {
	if r.ask != nil {
		if details = r.ask(ctx, facts, metadata); details != "" {
			flag = message.UnauthorizedExternalService
		}
		return details, flag
	}
	if what := filter.Shadow(r.rbac, facts, metadata); what != "" {
		count(what)
	}
	if !filter.Permit(r.rbac, facts) {
		details = "rbac_deny_close"
	}
	return details, 0
}
