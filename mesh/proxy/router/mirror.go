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
// the answers. Nothing of them reaches the client. A request whose body streams is not
// copied: Envoy too mirrors only what it can buffer.
func (rt *Router) mirror(c *call) {
	for i := range c.forward.Mirrors {
		m := &c.forward.Mirrors[i]
		if !route.Percent(c.x.Rule.Draw(c.x.Key, drawMirror+uint64(i)), m.Percent) {
			continue
		}
		cluster := rt.options.Upstream.Cluster(m.Cluster)
		if cluster == nil {
			continue
		}
		if c.body.streams() {
			rt.options.Logger.Warn("request is not mirrored: its body streams", "cluster", m.Cluster, "path", c.r.Path)
			continue
		}
		shadow := &call{rt: rt, x: shadowExchange(c, m), action: &action{}, forward: &snapshot.Forward{}, cluster: cluster,
			limits: timeouts{global: c.limits.global}, start: time.Now(), sel: c.sel}
		shadow.body.whole, shadow.body.trailer, shadow.body.inHand = c.body.whole, c.body.trailer, true
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
	s.Cluster, s.Span = m.Cluster, nil
	if !m.NoShadowSuffix {
		r.Authority = shadowed(r.Authority)
	}
	x.Request, x.Cluster = &r, nil
	return &x
}

// drop makes the call and reads its answer away.
func (c *call) drop(ctx context.Context) {
	var p *message.Response
	p, err := c.run(ctx)
	if err != nil || p.Body == nil {
		return
	}
	_, _ = io.Copy(io.Discard, p.Body)
	_ = p.Body.Close()
}
