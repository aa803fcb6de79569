package router

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/http1"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/http2"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
)

// try is one attempt at one host. As the response's body it lives on until that ends.
type try struct {
	call    *call
	host    *upstream.Host
	conn    *upstream.Conn
	request message.Request // as it is sent

	// What watches the client's context: that itself, or the end of a watch. nil: nothing does.
	watched message.Watched
	stop    func() bool
	ctx     context.Context
	upload  chan error // result of the upload; nil: the request was sent at once
	inner   message.Body
	done    bool

	mu        sync.Mutex // guards what follows: an upload has a goroutine of its own
	begin     time.Time  // when it had a connection, and the whole request
	sent      time.Time  // when the upload ended
	timer     timer      // what the connection's deadline stands for
	limited   bool       // it has one
	answering bool
	broken    bool // interrupted: the deadline stays in the past
}

// do sends the request and reads the head of the answer.
func (t *try) do(ctx context.Context) (*message.Response, *failure) {
	c, s := t.call, t.call.r.Stream
	t.ctx = ctx
	deadline, which := c.limits.deadline(moment{stream: s.Start, start: c.start, now: c.limits.clock(), complete: !c.body.uploads()})
	s.UpstreamHost, s.UpstreamIdentity, s.UpstreamPeer = t.host.Target(), "", ""
	conn, f := t.host.Acquire(ctx, t.want(deadline))
	if f != nil {
		return nil, failureOf(f, which, ctx.Err() != nil)
	}
	t.conn, s.UpstreamHost, s.UpstreamLocal, t.begin = conn, conn.Peer, conn.Local, c.start
	if s.Attempts > 1 || !conn.Instantly || !c.cluster.Immediate() {
		t.begin = time.Now()
	}
	s.UpstreamIdentity, s.UpstreamPeer = conn.Identities.Local, conn.Identities.Peer
	if host := t.host.Endpoint().Hostname; c.forward.AutoHostRewrite && host != "" {
		setHost(c.forward, c.r, host)
	}
	if tried, ok := s.Span.(message.TriedSpan); ok {
		tried.Try(&c.r.Header, c.r.Path, conn.Peer, time.Now())
	}
	t.watch(ctx)
	if c.r.Continue != nil {
		conn.SetInform(t.inform)
	}
	if fail := t.send(); fail != nil {
		return nil, t.end(fail)
	}
	p, err := conn.ReadResponse(c.r.Method)
	t.noteUpload()
	if err != nil {
		return nil, t.end(t.classify(err))
	}
	if p.Status == 101 && c.r.Upgrade == "" { // bytes that the client takes for a response would follow
		return nil, t.end(&failure{reason: protocolError, started: true})
	}
	t.host.Report(outcome(p))
	return p, nil
}

// want is what the connection has to be like.
func (t *try) want(deadline time.Time) upstream.Want {
	c := t.call
	w := upstream.Want{Priority: c.forward.Priority, ALPN: c.x.ALPN, SNI: hostOnly(c.r.Authority), Deadline: deadline}
	w.Told = upstream.ToldOf(c.r.Stream.Conn)
	if w.Protocol = c.cluster.Protocol(c.r.Protocol); w.Protocol == message.HTTP2 {
		w.ALPN = c.x.ALPN2
	}
	return w
}

func hostOnly(authority string) string {
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		authority = authority[:i]
	}
	return strings.Trim(authority, "[]")
}

// watch listens whether the client goes.
func (t *try) watch(ctx context.Context) {
	if w, ok := ctx.(message.Watched); ok && w.Watch(t) {
		t.watched = w
	} else if ctx.Done() != nil {
		t.stop = context.AfterFunc(ctx, t.Interrupt)
	}
}

// unwatch tells whether nothing was heard.
func (t *try) unwatch() bool {
	if t.watched != nil {
		return t.watched.Unwatch(t)
	}
	return t.stop == nil || t.stop()
}

// Interrupt ends whatever waits on the connection.
func (t *try) Interrupt() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.broken = true
	_ = t.conn.SetDeadline(upstream.Past())
}

// inform passes "100 Continue" on to a client that waits for it.
func (t *try) inform(status int, _ message.Header) {
	if next := t.call.r.Continue; status == 100 && next != nil {
		next()
		t.call.body.permit(true)
	}
}

// send writes the request: all of it, or its head while a goroutine uploads the body.
func (t *try) send() *failure {
	c := t.call
	uploads := c.body.uploads()
	t.request = *c.r
	t.request.Body = c.body.body()
	if uploads {
		t.upload = make(chan error, 1)
		if c.limits.idle > 0 {
			c.body.moved = t.limit
		}
		t.limit()
		go t.stream()
		return nil
	}
	t.limit()
	if err := t.conn.WriteRequest(&t.request); err != nil {
		return t.classify(err)
	}
	if t.sent = t.begin; t.request.Body != nil {
		t.sent = time.Now()
	}
	return nil
}

// stream uploads. It ends when the connection does, or the client. The limits of a
// complete request begin to count when the body has been sent.
func (t *try) stream() {
	err := t.conn.WriteRequest(&t.request)
	t.call.body.cut() // where it is not complete
	if err == nil {
		now := time.Now()
		t.mu.Lock()
		t.begin, t.sent = now, now
		t.mu.Unlock()
		t.limit()
	} else {
		var body *http1.BodyError
		if errors.As(err, &body) { // the client's fault: nothing will come of this
			t.Interrupt()
		}
	}
	t.upload <- err
}

// noteUpload has the request's time begin when its body was sent.
func (t *try) noteUpload() {
	if t.upload == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.sent.IsZero() {
		t.call.start = t.sent
	}
}

// times are when the request began to go out, and when all of it had.
func (t *try) times() (begin, end time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.begin, t.sent
}

// limit sets the connection's deadline anew.
func (t *try) limit() {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.call
	m := moment{stream: c.r.Stream.Start, start: c.start, begin: t.begin, now: c.limits.clock(), complete: true, connected: true, answering: t.answering}
	if t.upload != nil {
		m.start, m.complete = t.sent, !t.sent.IsZero()
	}
	at, which := c.limits.deadline(m)
	t.setDeadline(at, which)
}

// setDeadline is called with the lock held; zero is none.
func (t *try) setDeadline(at time.Time, which timer) {
	if at.IsZero() && !t.limited {
		return
	}
	t.timer, t.limited = which, !at.IsZero()
	if !t.broken {
		_ = t.conn.SetDeadline(at)
	}
}

// classify finds out what an error on the connection means.
func (t *try) classify(err error) *failure {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := &failure{reason: connectionTermination, started: true}
	var protocol *http1.ProtocolError
	var reset *http2.ResetError
	var body *http1.BodyError
	var network net.Error
	switch {
	case t.broken, t.ctx.Err() != nil, errors.As(err, &body):
		f.reason = clientGone
	case errors.As(err, &protocol), errors.As(err, &reset) && reset.Malformed():
		f.reason = protocolError
	case reset != nil && reset.Refused():
		f.reason = refusedStream
	case reset != nil && reset.Remote:
		f.reason = remoteReset
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		f.reason, f.timer = timedOut, t.timer
	}
	return f
}

// outcome is what the outlier detector hears of an answer: gRPC's failures too.
func outcome(p *message.Response) upstream.Outcome {
	switch p.Header.Get("grpc-status") {
	case "14":
		return upstream.Outcome{Status: 503, Answered: p.Status}
	case "2", "13", "15":
		return upstream.Outcome{Status: 500, Answered: p.Status}
	case "4":
		return upstream.Outcome{Status: 504, Answered: p.Status}
	case "12":
		return upstream.Outcome{Status: 501, Answered: p.Status}
	}
	return upstream.Outcome{Status: p.Status, Answered: p.Status}
}

// end gives the connection up after a failure.
func (t *try) end(f *failure) *failure {
	t.release(false)
	return f
}

// release ends the use of the connection, which goes back to its pool where it is good.
func (t *try) release(good bool) {
	if t.done {
		return
	}
	t.done = true
	if !t.unwatch() {
		good = false // the interrupt runs, or did
	}
	if t.upload != nil {
		select {
		case err := <-t.upload:
			good = good && err == nil
		default:
			good = false
		}
	}
	t.call.body.permit(false)
	if good && t.limited {
		_ = t.conn.SetDeadline(time.Time{})
	}
	t.conn.SetInform(nil)
	t.conn.Release(good)
}

// abandon gives up an answer in favour of another try. Only one without a body leaves
// its connection usable.
func (t *try) abandon(p *message.Response) {
	t.release(p.Body == nil && p.Status != 101 && t.conn.KeepAlive())
}

// handOver makes the answer's body, or upgraded connection, this try's business.
func (t *try) handOver(p *message.Response) {
	switch {
	case p.Status == 101 || t.call.r.Method == "CONNECT" && p.Status < 300:
		t.mu.Lock()
		t.setDeadline(time.Time{}, noTimer)
		t.mu.Unlock()
		c := t.call
		p.UpgradedIdle = c.forward.IdleTimeout
		if d := c.limits.duration; d > 0 {
			p.UpgradedUntil = c.r.Stream.Start.Add(d)
		}
		p.Upgraded = &tunnel{ReadWriter: t.conn.Tunnel(), try: t, early: t.conn.Early()}
	case p.Body == nil:
		t.release(t.conn.KeepAlive())
	default:
		t.inner, p.Body = p.Body, t
		t.mu.Lock()
		t.answering = true
		t.mu.Unlock()
		t.limit()
	}
}

// Read implements message.Body.
func (t *try) Read(b []byte) (int, error) {
	n, err := t.inner.Read(b)
	switch {
	case err == nil:
		if l := &t.call.limits; l.perTryIdle > 0 || l.idle > 0 {
			t.limit()
		}
	case err == io.EOF:
		t.release(t.conn.KeepAlive())
	default:
		err = t.fail(err)
	}
	return n, err
}

// fail ends an answer that broke off after its head.
func (t *try) fail(err error) error {
	if t.done {
		return err
	}
	f, s := t.classify(err), t.call.r.Stream
	r := &reply.Reply{Status: 502, Reset: true, Flag: f.flag(), Details: "upstream_reset_after_response_started{connection_termination}"}
	switch f.reason {
	case clientGone:
		r.Flag, r.Details = message.DownstreamConnectionTermination, "downstream_remote_disconnect"
	case timedOut:
		var late *reply.Reply
		if errors.As(f.timeout(t.call), &late) {
			r.Flag, r.Details = late.Flag, late.Details
		}
	case protocolError, remoteReset, refusedStream:
		r.Details = "upstream_reset_after_response_started{" + strings.ReplaceAll(reasons[f.reason], " ", "_") + "}"
	}
	s.Flags |= r.Flag
	s.Details = r.Details
	f.account(t)
	t.release(false)
	return r
}

// Close implements message.Body. A body that was not read to its end costs its connection.
func (t *try) Close() error {
	if t.done {
		return nil
	}
	err := t.inner.Close()
	t.release(t.conn.KeepAlive())
	return err
}

// Ready implements message.ReadyBody.
func (t *try) Ready() bool { return message.Ready(t.inner) }

// Trailer implements message.Body.
func (t *try) Trailer() message.Header { return t.inner.Trailer() }

// tunnel is the raw connection, or the stream, after an upgrade or a CONNECT.
type tunnel struct {
	io.ReadWriter
	try   *try
	early []byte // what came with the head
}

// Read implements io.Reader.
func (t *tunnel) Read(b []byte) (int, error) {
	if len(t.early) > 0 {
		n := copy(b, t.early)
		t.early = t.early[n:]
		return n, nil
	}
	return t.ReadWriter.Read(b)
}

// CloseWrite ends the direction to the server.
func (t *tunnel) CloseWrite() error {
	if half, ok := t.ReadWriter.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close implements io.Closer.
func (t *tunnel) Close() error {
	t.try.release(false)
	return nil
}
