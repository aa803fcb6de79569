package router

import (
	"context"
	"io"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/filter"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// drawMirror is the purpose of the draws for mirrors, one for each.
const drawMirror = 1 << 20

// mirrorTimeout ends mirrored requests of routes without a timeout.
const mirrorTimeout = 15 * time.Second

// mirror sends copies of a request to the clusters that the route names, and drops
// the answers. Nothing of them reaches the client. The copy of a body that streams
// streams, too. Upgrades are not mirrored: there is nobody to talk to.
func (rt *Router) mirror(c *call) {
	if c.r.Upgrade != "" || c.r.Method == "CONNECT" {
		return
	}
	for i := range c.forward.Mirrors {
		m := &c.forward.Mirrors[i]
		if !route.Percent(c.x.Rule.Draw(c.x.Key, drawMirror+uint64(i)), m.Percent) {
			continue
		}
		cluster := rt.options.Upstream.Cluster(m.Cluster)
		if cluster == nil {
			continue
		}
		shadow := &call{rt: rt, x: shadowExchange(c, m), action: &action{}, forward: &snapshot.Forward{}, cluster: cluster,
			limits: timeouts{global: c.limits.global}, start: time.Now(), sel: c.sel}
		if c.body.inHand {
			shadow.body.whole, shadow.body.trailer, shadow.body.inHand = c.body.whole, c.body.trailer, true
		} else {
			streams := newCopied()
			c.body.copies = append(c.body.copies, streams)
			shadow.body.source, shadow.x.Request.Body = streams, streams
			shadow.x.Request.Header.Del("expect")
		}
		if shadow.limits.global == 0 {
			shadow.limits.global = mirrorTimeout
		}
		shadow.r = shadow.x.Request
		rt.options.Tasks.group.Go(func() { shadow.drop(rt.options.Tasks.Context) })
	}
}

// shadowExchange is a copy of an exchange that shares nothing that changes.
func shadowExchange(c *call, m *snapshot.Mirror) *filter.Exchange {
	x, r, s := *c.x, *c.r, *c.r.Stream
	r.Header, r.Stream, r.Body, r.Continue = c.r.Header.Clone(), &s, nil, nil
	s.Cluster, s.Relax, s.Span = m.Cluster, nil, nil
	if !m.NoShadowSuffix {
		r.Authority = shadowed(r.Authority)
	}
	x.Request, x.Cluster = &r, nil
	return &x
}

// drop makes the call and reads its answer away.
func (c *call) drop(ctx context.Context) {
	var p *message.Response
	if c.body.source != nil {
		defer c.body.source.Close() // what nobody sends is not kept either
	}
	p, err := c.run(ctx)
	if err != nil || p.Body == nil {
		return
	}
	_, _ = io.Copy(io.Discard, p.Body)
	_ = p.Body.Close()
}
