package manager

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/http1"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// lingerTime is the default of Envoy's delayed_close_timeout: how long a client that still
// sends may take to see the response before the connection is reset.
const lingerTime = time.Second

// session is one downstream connection.
type session struct {
	slot   *Slot
	c      Connection
	conn   *timedConn
	reader *http1.Reader
	writer *http1.Writer
	watch  watch
	relax  func(idle, duration bool) // of watch

	requests  uint64    // begun so far
	ended     time.Time // the last of them, or the connection began
	closing   bool      // no further request
	preface   bool      // it is HTTP/2 after all
	remoteIP  string
	xfcc      string // this hop's element of x-forwarded-client-cert
	xfccBy    *Manager
	date      string
	dateUntil int64
}

// exchange is the memory of one request: one allocation for all of it.
type exchange struct {
	request  message.Request
	stream   message.Stream
	fields   [20]message.Field
	lifetime lifetime
}

func newSession(slot *Slot, c Connection) *session {
	s := &session{slot: slot, c: c, conn: &timedConn{Conn: c.Conn, base: time.Now()}, remoteIP: c.Facts.Remote.Addr().String()}
	s.ended = s.conn.base
	s.reader = http1.NewReader(s.conn)
	s.reader.Yield = http1.OverKernel(s.conn.Conn)
	s.writer = http1.NewWriter(s.conn)
	s.watch.s = s
	s.relax = s.watch.relax
	s.reader.BodyEnd = s.watch.bodyEnd
	return s
}

// serve runs the loop of requests.
func (s *session) serve(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		s.watch.fail(context.Cause(ctx))
		_ = s.conn.Close()
	})
	for !s.closing {
		m := s.slot.current.Load()
		if !s.await(m) {
			break
		}
		m = s.slot.current.Load() // it may have been swapped while nothing came
		if !s.one(m) {
			break
		}
	}
	stop()
	s.watch.stop()
	if s.preface {
		_ = s.c.Conn.SetReadDeadline(time.Time{})
		c := s.c
		c.Conn = &prefixed{Conn: c.Conn, ahead: append([]byte(nil), s.reader.Rest()...)}
		serveHTTP2(ctx, s.slot, c)
		return
	}
	s.close()
}

// await waits for the first byte of a request. There is nobody to answer before it.
func (s *session) await(m *Manager) bool {
	if s.reader.Buffered() > 0 {
		return true
	}
	var by time.Time
	if m.config.IdleTimeout > 0 {
		by = s.ended.Add(m.config.IdleTimeout)
	}
	if limit := s.maxAge(m); !limit.IsZero() && (by.IsZero() || limit.Before(by)) {
		by = limit
	}
	s.conn.setReadBy(by)
	return s.reader.Await() == nil
}

// maxAge is when max_connection_duration is over for a connection without requests.
func (s *session) maxAge(m *Manager) time.Time {
	if m.config.MaxConnectionDuration <= 0 {
		return time.Time{}
	}
	return s.c.Facts.Start.Add(m.config.MaxConnectionDuration)
}

// one reads and answers one request; false ends the connection.
func (s *session) one(m *Manager) bool {
	now := time.Now()
	x := new(exchange)
	q := &x.request
	q.Header, q.Stream = x.fields[:0], &x.stream
	x.stream.Conn, x.stream.Start, x.stream.Remote = s.c.Facts, now, s.c.Facts.Remote
	late := m.headLate
	if late != nil {
		s.conn.setReadBy(now.Add(m.headBy))
	} else {
		s.conn.setReadBy(time.Time{})
	}
	s.requests++
	reads := s.reader.Reads
	if err := s.reader.ReadRequestInto(q, m.limits); err != nil {
		return s.refuse(m, x, err, late)
	}
	s.conn.setReadBy(time.Time{})
	began := now
	if s.reader.Reads != reads {
		now = time.Now() // the head took its time
	}
	if s.conn.clocked = m.config.StreamIdleTimeout > 0; s.conn.clocked {
		s.conn.note(now.Sub(s.conn.base))
	}
	hasBody := !s.reader.Complete()
	if hasBody && q.Header.Get("expect") == "100-continue" {
		s.conn.expects.Store(true)
		q.Continue = s.conn.sendContinue
		if !m.config.Proxy100Continue {
			q.Header.Del("expect")
		}
	}
	x.stream.Relax = s.relax
	s.watch.begin(now, hasBody, deadlinesOf(m, began, hasBody), &x.lifetime)
	p, err := s.handle(&x.lifetime, m, q)
	ok := s.respond(m, x, p, err)
	x.lifetime.end()
	return ok
}

// headDeadline is the least of the limits that a head has, with its answer: Envoy's stream
// begins with the first byte of it. A nil answer: there is none.
func headDeadline(c *snapshot.HTTPManager) (within time.Duration, late *reply.Reply) {
	for _, limit := range [...]struct {
		wait time.Duration
		late *reply.Reply
	}{
		{c.RequestHeadersTimeout, headersLate}, {c.RequestTimeout, requestLate}, {c.MaxStreamDuration, durationOver}, {c.StreamIdleTimeout, idleOver},
	} {
		if limit.wait > 0 && (late == nil || limit.wait < within) {
			within, late = limit.wait, limit.late
		}
	}
	return within, late
}

// The answers to requests that do not come in time.
var (
	headersLate  = &reply.Reply{Status: 408, Details: "request_header_timeout", Body: "request header timeout"}
	requestLate  = &reply.Reply{Status: 408, Details: "request_overall_timeout", Body: "request timeout"}
	durationOver = &reply.Reply{Status: 408, Flag: message.DurationTimeout, Details: "max_duration_timeout", Body: "downstream duration timeout"}
	idleOver     = &reply.Reply{Status: 408, Flag: message.StreamIdleTimeout, Details: "stream_idle_timeout", Body: "stream timeout"}
)

func deadlinesOf(m *Manager, now time.Time, hasBody bool) (d deadlines) {
	if t := m.config.RequestTimeout; t > 0 && hasBody {
		d.request = now.Add(t)
	}
	if t := m.config.MaxStreamDuration; t > 0 {
		d.stream = now.Add(t)
	}
	d.idle = m.config.StreamIdleTimeout
	return d
}

// handle prepares the request and asks the handler, unless the answer is known already.
func (s *session) handle(ctx context.Context, m *Manager, q *message.Request) (*message.Response, error) {
	if err := s.prepare(m, q); err != nil {
		return nil, err
	}
	return m.handler.Serve(ctx, q)
}

// refuse answers a request that could not be read.
func (s *session) refuse(m *Manager, x *exchange, err error, late *reply.Reply) bool {
	s.closing = true
	local := &reply.Reply{Flag: message.DownstreamProtocolError}
	var broken *http1.ProtocolError
	switch {
	case err == http1.ErrPreface && s.requests == 1 && m.config.Codec == snapshot.CodecAuto:
		s.preface = true // prior knowledge of HTTP/2
		return false
	case err == http1.ErrPreface:
		m.logger.Warn("connection refused: HTTP/2 where HTTP/1 is configured", "listener", s.c.Facts.Listener, "remote", s.c.Facts.Remote)
		return false
	case errors.As(err, &broken):
		local.Status, local.Details = broken.Status, broken.Details
		local.Body = http1.StatusText(broken.Status)
	case isTimeout(err) && late != nil:
		local = late
	default:
		return false // the client went away before it had asked anything
	}
	p := localResponse(local)
	x.stream.Flags |= local.Flag
	x.stream.Details = local.Details
	s.completeResponse(m, &x.request, p)
	status := p.Status
	if s.writer.WriteResponse(p, http1.ResponseOptions{Close: true}) != nil {
		status = 0
	}
	s.finish(m, x, p, status)
	s.linger(m)
	return false
}

// respond sends what the handler said and ends the exchange; false ends the connection.
func (s *session) respond(m *Manager, x *exchange, p *message.Response, err error) bool {
	q := &x.request
	p, ok := s.decide(m, x, p, err)
	if !ok {
		s.closing = true
		s.watch.end()
		s.finish(m, x, nil, 0)
		return false
	}
	s.conn.expects.Store(false)
	s.completeResponse(m, q, p)
	if p.Upgraded != nil {
		return s.switchOver(m, x, p)
	}
	o := http1.ResponseOptions{Method: q.Method, Protocol: q.Protocol, Close: s.lastResponse(m, x)}
	s.watch.respond()
	err = s.writer.WriteResponse(p, o)
	if p.Body != nil {
		_ = p.Body.Close()
	}
	s.closing = o.MustClose(p)
	cause := s.watch.end()
	if err != nil {
		s.closing = true
		s.blame(x, err, cause)
	}
	x.stream.BytesSent = s.writer.Sent()
	s.finish(m, x, p, p.Status)
	if err == nil && s.closing && !s.reader.Complete() {
		s.linger(m)
	}
	return !s.closing
}

// decide turns the handler's outcome into a response; false where there is none to send.
func (s *session) decide(m *Manager, x *exchange, p *message.Response, err error) (*message.Response, bool) {
	cause := s.watch.failed()
	var local *reply.Reply
	if cause != nil && p != nil {
		discard(p)
	}
	switch {
	case errors.As(cause, &local):
	case cause != nil:
		x.stream.Flags |= message.DownstreamConnectionTermination
		x.stream.Details = "downstream_remote_disconnect"
		return nil, false
	case err == nil && p != nil:
		return p, true
	case !errors.As(err, &local):
		m.logger.Error("request failed", "method", x.request.Method, "path", x.request.Path, "error", err)
		local = &reply.Reply{Status: 500, Details: "internal_error", Body: "internal error"}
	}
	x.stream.Flags |= local.Flag
	if local.Details != "" {
		x.stream.Details = local.Details
	}
	if local.Reset {
		return nil, false
	}
	if reply.IsGRPC(x.request.Header) && !local.AnswersGRPC() {
		local = local.ForGRPC()
	}
	return localResponse(local), true
}

// discard gives a response up that is not going to be sent.
func discard(p *message.Response) {
	if p.Body != nil {
		_ = p.Body.Close()
	}
	if p.Upgraded != nil {
		_ = p.Upgraded.Close()
	}
}

// blame notes why a response was cut off.
func (s *session) blame(x *exchange, err, cause error) {
	var local *reply.Reply
	switch {
	case errors.As(cause, &local):
		x.stream.Flags |= local.Flag
		x.stream.Details = local.Details
	case cause == nil && errors.As(err, new(*http1.BodyError)):
		// the upstream broke: its layers noted that
	default:
		x.stream.Flags |= message.DownstreamConnectionTermination
		x.stream.Details = "downstream_remote_disconnect"
	}
}

// lastResponse tells whether the connection ends with this response: the client wants
// so, a limit is reached, it drains, or the request has not come completely (nobody is
// going to read the rest, as in Envoy's HTTP/1 codec).
func (s *session) lastResponse(m *Manager, x *exchange) bool {
	limit := m.config.MaxRequestsPerConnection
	age := s.maxAge(m)
	return !s.reader.KeepAlive() || s.c.Draining != nil && s.c.Draining.Load() ||
		limit > 0 && s.requests >= uint64(limit) ||
		!age.IsZero() && !time.Now().Before(age)
}

// switchOver sends a 101 and then only bytes.
func (s *session) switchOver(m *Manager, x *exchange, p *message.Response) bool {
	s.closing = true
	s.watch.end()
	err := s.writer.WriteResponse(p, http1.ResponseOptions{Method: x.request.Method, Protocol: x.request.Protocol})
	if err != nil {
		_ = p.Upgraded.Close()
		s.blame(x, err, nil)
		s.finish(m, x, p, p.Status)
		return false
	}
	s.conn.setReadBy(time.Time{})
	_ = s.conn.Conn.SetReadDeadline(time.Time{}) // that of the head may still be armed
	t := newTunnel(m, &x.stream, p)
	t.down = s.conn.Conn
	t.run(append([]byte(nil), s.reader.Rest()...), tunnelEnd(m, &x.stream, p))
	x.stream.BytesReceived, x.stream.BytesSent = t.received.Load(), t.sent.Load()
	s.finish(m, x, p, p.Status)
	return false
}

// finish tells OnDone.
func (s *session) finish(m *Manager, x *exchange, p *message.Response, status int) {
	if x.stream.BytesReceived == 0 {
		x.stream.BytesReceived = s.reader.BodyBytes()
	}
	x.stream.Duration = time.Since(x.stream.Start)
	s.ended = x.stream.Start.Add(x.stream.Duration)
	if !s.closing { // else an upload may still be reading
		s.conn.clocked = false
	}
	m.done(&x.request, p, status, &x.stream)
}

// linger lets a client that still sends see the response: closing now would reset the
// connection, and the response could be lost with it. What still comes is not decrypted:
// an upload that nobody has stopped yet may be reading, and holds the lock of TLS.
func (s *session) linger(m *Manager) {
	wait := lingerTime
	if m.config.DelayedClose != nil {
		wait = *m.config.DelayedClose
	}
	if wait <= 0 {
		return
	}
	half, ok := s.c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	raw := s.c.Conn
	if secure, ok := raw.(interface{ NetConn() net.Conn }); ok {
		raw = secure.NetConn()
	}
	_ = raw.SetReadDeadline(time.Now().Add(wait))
	_, _ = io.Copy(io.Discard, struct{ io.Reader }{raw})
}

func (s *session) close() { _ = s.conn.Close() }

func localResponse(l *reply.Reply) *message.Response {
	p := &message.Response{Status: l.Status, Header: make(message.Header, 0, len(l.Header)+5)}
	p.Header = append(p.Header, l.Header...)
	if l.Body == "" {
		return p
	}
	p.Header.Set("content-length", strconv.Itoa(len(l.Body)))
	if !p.Header.Has("content-type") {
		p.Header.Add("content-type", "text/plain")
	}
	p.Body, p.ContentLength = message.NewBytes([]byte(l.Body), nil), int64(len(l.Body))
	return p
}

var _ net.Conn = (*timedConn)(nil)
