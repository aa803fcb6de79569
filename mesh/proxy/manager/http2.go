package manager

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/http1"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/http2"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// speaksHTTP2 tells whether the connection is HTTP/2 before anything of it was read: the
// configuration insists, or TLS negotiated it. Prior knowledge shows in the first bytes.
func speaksHTTP2(m *Manager, c Connection) bool {
	negotiated := c.Facts.TLS != nil && slices.Contains(http2ALPN, c.Facts.TLS.ALPN)
	return m.config.Codec == snapshot.CodecHTTP2 || negotiated && m.config.Codec == snapshot.CodecAuto
}

var http2ALPN = []string{http2.Protocol, "istio-h2"}

// prefixed is a connection of which something was read already.
type prefixed struct {
	net.Conn
	ahead []byte
}

// Read implements io.Reader.
func (c *prefixed) Read(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.ahead)
	c.ahead = c.ahead[n:]
	return n, nil
}

// multiplexed is one downstream connection of HTTP/2.
type multiplexed struct {
	slot     *Slot
	c        Connection
	server   *http2.Server
	remoteIP string
}

// serveHTTP2 serves a connection of HTTP/2 to its end and closes it.
func serveHTTP2(ctx context.Context, slot *Slot, c Connection) {
	config := slot.current.Load().config
	d := &multiplexed{slot: slot, c: c, remoteIP: c.Facts.Remote.Addr().String()}
	o := http2.ServerOptions{Serve: d.serve, HeadBytes: config.MaxRequestHeaderBytes, Fields: config.MaxRequestHeaders,
		Idle: config.IdleTimeout, DrainTime: config.DrainTimeout,
		Extended: config.HTTP2.AllowConnect, MaxStreams: config.HTTP2.MaxConcurrentStreams, Linger: config.DelayedClose, HeadTime: config.RequestHeadersTimeout}
	jitter := slot.current.Load().ids.Float64("keepalive/" + strconv.FormatUint(c.Facts.ID, 10))
	o.Settings = http2.SettingsOf(&config.HTTP2, jitter)
	if config.MaxConnectionDuration > 0 {
		o.Until = c.Facts.Start.Add(config.MaxConnectionDuration)
	}
	d.server = http2.NewServer(c.Conn, o)
	d.server.Run(ctx)
}

// serve answers one stream: what session.one does for HTTP/1, with the same work on
// heads. The session that does it is made for this request alone.
func (d *multiplexed) serve(ctx context.Context, x *http2.ServerStream) {
	m, now := d.slot.current.Load(), time.Now()
	e := new(exchange)
	q := &e.request
	q.Stream = &e.stream
	e.stream.Conn, e.stream.Start, e.stream.Remote = d.c.Facts, now, d.c.Facts.Remote
	s := &session{slot: d.slot, c: d.c, remoteIP: d.remoteIP, requests: uint64(x.ID()+1) / 2}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var p *message.Response
	err := x.Request(q)
	if q.Continue != nil && !m.config.Proxy100Continue {
		q.Header.Del("expect")
	}
	guard := &guard{stream: x, limits: deadlinesOf(m, now, q.Body != nil), cancel: cancel}
	e.stream.Relax = guard.relax
	guard.begin(now)
	var head *http2.HeadError
	switch {
	case errors.As(err, &head):
		err = &reply.Reply{Status: head.Status, Details: head.Details, Body: http1.StatusText(head.Status)}
	default:
		p, err = s.handle(ctx, m, q)
	}
	s.watch.cause = context.Cause(ctx)
	p, ok := s.decide(m, e, p, err)
	if !ok {
		blameReset(&e.stream, s.watch.cause)
		guard.end()
		d.finish(m, x, e, nil, 0)
		return
	}
	d.respond(ctx, m, s, x, e, p)
	guard.end()
	d.finish(m, x, e, p, p.Status)
}

// respond sends the response, and tells the peer to go where this was to be the last.
func (d *multiplexed) respond(ctx context.Context, m *Manager, s *session, x *http2.ServerStream, e *exchange, p *message.Response) {
	s.completeResponse(m, &e.request, p)
	if limit := m.config.MaxRequestsPerConnection; d.c.Draining != nil && d.c.Draining.Load() || limit > 0 && s.requests >= uint64(limit) {
		d.server.Drain()
	}
	if p.Upgraded != nil {
		d.tunnel(ctx, m, x, e, p)
		return
	}
	err := x.Respond(p)
	if p.Body != nil {
		_ = p.Body.Close()
	}
	if err != nil {
		cause := context.Cause(ctx)
		s.blame(e, err, cause)
		blameReset(&e.stream, cause)
	}
}

// tunnel sends the head and then only bytes.
func (d *multiplexed) tunnel(ctx context.Context, m *Manager, x *http2.ServerStream, e *exchange, p *message.Response) {
	down, err := x.Tunnel(p)
	if err != nil {
		_ = p.Upgraded.Close()
		blameReset(&e.stream, context.Cause(ctx))
		return
	}
	e.stream.Relax(true, true) // the tunnel has limits of its own
	t := newTunnel(m, &e.stream, p)
	t.down, t.halves = down, true
	t.run(nil, tunnelEnd(m, &e.stream, p))
	e.stream.BytesReceived, e.stream.BytesSent = t.received.Load(), t.sent.Load()
}

// finish tells OnDone.
func (d *multiplexed) finish(m *Manager, x *http2.ServerStream, e *exchange, p *message.Response, status int) {
	e.stream.BytesReceived, e.stream.BytesSent = x.Bytes()
	e.stream.Duration = time.Since(e.stream.Start)
	m.done(&e.request, p, status, &e.stream)
}

// blameReset tells a stream that the client reset, or broke, from a connection that it
// closed: Envoy's flags DR and DPE.
func blameReset(s *message.Stream, cause error) {
	var reset *http2.ResetError
	if !errors.As(cause, &reset) {
		return
	}
	s.Flags &^= message.DownstreamConnectionTermination
	if reset.Remote {
		s.Flags |= message.DownstreamRemoteReset
		s.Details = "http2.remote_reset"
	} else {
		s.Flags |= message.DownstreamProtocolError
		s.Details = "http2.violation.of.messaging.rule"
	}
}

// guard sees that one stream keeps to its limits.
type guard struct {
	stream *http2.ServerStream
	limits deadlines
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer
	over  bool
}

func (g *guard) begin(now time.Time) {
	next := g.next()
	if next.IsZero() {
		return
	}
	g.mu.Lock()
	g.timer = time.AfterFunc(next.Sub(now), g.fire)
	g.mu.Unlock()
}

// relax is message.Stream.Relax.
func (g *guard) relax(idle, duration bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if idle {
		g.limits.idle = 0
	}
	if duration {
		g.limits.stream = time.Time{}
	}
}

// next is the earliest deadline; zero: none.
func (g *guard) next() time.Time {
	next := g.limits.stream
	if at := g.limits.request; !at.IsZero() && (next.IsZero() || at.Before(next)) {
		next = at
	}
	if g.limits.idle > 0 {
		if at := g.stream.Activity().Add(g.limits.idle); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}

// fire runs in the timer's goroutine.
func (g *guard) fire() {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return
	}
	complete := g.stream.Complete()
	if complete {
		g.limits.request = time.Time{}
	}
	if late := g.expired(now, complete); late != nil {
		g.over = true
		g.cancel(late)
		g.stream.Abort(late)
		return
	}
	if next := g.next(); !next.IsZero() {
		g.timer.Reset(next.Sub(now))
	}
}

// expired is watch.expired for a stream.
func (g *guard) expired(now time.Time, complete bool) error {
	status := 408
	if complete {
		status = 504
	}
	passed := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch l := &g.limits; {
	case passed(l.request):
		return &reply.Reply{Status: 408, Details: "request_overall_timeout", Body: "request timeout"}
	case passed(l.stream):
		return &reply.Reply{Status: status, Flag: message.DurationTimeout, Details: "max_duration_timeout", Body: "downstream duration timeout"}
	case l.idle > 0 && passed(g.stream.Activity().Add(l.idle)):
		return &reply.Reply{Status: status, Flag: message.StreamIdleTimeout, Details: "stream_idle_timeout", Body: "stream timeout"}
	}
	return nil
}

// end stops looking.
func (g *guard) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
	if g.timer != nil {
		g.timer.Stop()
	}
}
