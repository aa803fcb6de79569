package router

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/http1"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
)

// try is one attempt at one host. As the response's body it lives on until that ends.
type try struct {
	call *call
	host *upstream.Host
	conn *upstream.Conn

	begin   time.Time
	timer   timer       // what the connection's deadline stands for
	limited bool        // it has one
	stop    func() bool // ends the watch of the client's context; nil: there is none
	ctx     context.Context
	upload  chan error // result of the upload; nil: the request was sent at once
	broken  atomic.Bool
	inner   message.Body
	done    bool
}

// do sends the request and reads the head of the answer.
func (t *try) do(ctx context.Context) (*message.Response, *failure) {
	c, s := t.call, t.call.r.Stream
	t.ctx, t.begin = ctx, time.Now()
	deadline, which := c.limits.deadline(c.start, t.begin, t.begin, false)
	s.UpstreamHost = t.host.Address
	conn, f := t.host.Acquire(ctx, upstream.Want{Priority: c.forward.Priority, ALPN: c.x.ALPN, SNI: hostOnly(c.r.Authority), Deadline: deadline})
	if f != nil {
		return nil, failureOf(f, which, ctx.Err() != nil)
	}
	t.conn, s.UpstreamLocal = conn, conn.Local
	if host := t.host.Endpoint().Hostname; c.forward.AutoHostRewrite && host != "" {
		setHost(c.forward, c.r, host)
	}
	if ctx.Done() != nil {
		t.stop = context.AfterFunc(ctx, t.interrupt)
	}
	if c.r.Continue != nil {
		conn.Reader.Inform = t.inform
	}
	if fail := t.send(deadline, which); fail != nil {
		return nil, t.end(fail)
	}
	p, err := conn.ReadResponse(c.r.Method)
	if err != nil {
		return nil, t.end(t.classify(err))
	}
	t.host.Report(outcome(p))
	return p, nil
}

func hostOnly(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		return host
	}
	return authority
}

// interrupt ends whatever waits on the connection.
func (t *try) interrupt() {
	t.broken.Store(true)
	_ = t.conn.SetDeadline(upstream.Past())
}

// inform passes "100 Continue" on to a client that waits for it.
func (t *try) inform(status int, _ message.Header) {
	if next := t.call.r.Continue; status == 100 && next != nil {
		next()
	}
}

// send writes the request: all of it, or its head while a goroutine uploads the body.
// Where the body streams, limits begin to count when it has been sent.
func (t *try) send(deadline time.Time, which timer) *failure {
	c := t.call
	streams := c.body.streams() && !c.body.started
	request := *c.r
	request.Body = c.body.body()
	if request.Body != nil && !streams && c.r.ContentLength >= 0 {
		request.ContentLength = c.r.ContentLength
	}
	if streams {
		t.upload = make(chan error, 1)
		go t.stream(&request)
		return nil
	}
	t.limit(deadline, which)
	if err := t.conn.WriteRequest(&request); err != nil {
		return t.classify(err)
	}
	return nil
}

// stream uploads. It ends when the connection does, or the client.
func (t *try) stream(request *message.Request) {
	err := t.conn.WriteRequest(request)
	if err == nil {
		now := time.Now()
		c := t.call
		if at, _ := c.limits.deadline(now, now, now, false); !at.IsZero() && !t.broken.Load() {
			_ = t.conn.SetReadDeadline(at)
		}
	} else {
		var body *http1.BodyError
		if errors.As(err, &body) { // the client's fault: nothing will come of this
			t.interrupt()
		}
	}
	t.upload <- err
}

// limit sets the connection's deadline; zero is none.
func (t *try) limit(at time.Time, which timer) {
	if at.IsZero() && !t.limited {
		return
	}
	t.timer, t.limited = which, !at.IsZero()
	_ = t.conn.SetDeadline(at)
	if t.ctx.Err() != nil { // the client went in this instant: its interrupt stays in force
		_ = t.conn.SetDeadline(upstream.Past())
	}
}

// classify finds out what an error on the connection means.
func (t *try) classify(err error) *failure {
	f := &failure{reason: connectionTermination, started: true}
	var protocol *http1.ProtocolError
	var body *http1.BodyError
	var network net.Error
	switch {
	case t.ctx.Err() != nil, errors.As(err, &body):
		f.reason = clientGone
	case errors.As(err, &protocol):
		f.reason = protocolError
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		f.reason, f.timer = timedOut, t.timer
		if t.upload != nil {
			f.timer = t.streamTimer()
			if t.broken.Load() {
				f.reason = clientGone
			}
		}
	}
	return f
}

// streamTimer is the limit behind the deadline that an upload's end has set.
func (t *try) streamTimer() timer {
	now := time.Now()
	_, which := t.call.limits.deadline(now, now, now, false)
	return which
}

// outcome is what the outlier detector hears of an answer: gRPC's failures too.
func outcome(p *message.Response) upstream.Outcome {
	switch p.Header.Get("grpc-status") {
	case "14":
		return upstream.Outcome{Status: 503}
	case "2", "13", "15":
		return upstream.Outcome{Status: 500}
	case "4":
		return upstream.Outcome{Status: 504}
	case "12":
		return upstream.Outcome{Status: 501}
	}
	return upstream.Outcome{Status: p.Status}
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
	if t.stop != nil && !t.stop() {
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
	if good && (t.limited || t.upload != nil) {
		_ = t.conn.SetDeadline(time.Time{})
	}
	t.conn.Reader.Inform = nil
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
		t.limit(time.Time{}, noTimer)
		p.Upgraded = &tunnel{try: t, early: append([]byte(nil), t.conn.Rest()...)}
	case p.Body == nil:
		t.release(t.conn.KeepAlive())
	default:
		t.inner, p.Body = p.Body, t
		now := time.Now()
		if t.upload == nil {
			t.limit(t.call.limits.deadline(t.call.start, t.begin, now, true))
		}
	}
}

// Read implements message.Body.
func (t *try) Read(b []byte) (int, error) {
	n, err := t.inner.Read(b)
	switch {
	case err == nil:
		if l := &t.call.limits; l.perTryIdle > 0 || l.idle > 0 {
			t.limit(l.deadline(t.call.start, t.begin, time.Now(), true))
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
	case protocolError:
		r.Details = "upstream_reset_after_response_started{protocol_error}"
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

// tunnel is the raw connection after an upgrade.
type tunnel struct {
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
	return t.try.conn.Conn.Read(b)
}

// Write implements io.Writer.
func (t *tunnel) Write(b []byte) (int, error) { return t.try.conn.Conn.Write(b) }

// CloseWrite ends the direction to the server.
func (t *tunnel) CloseWrite() error {
	if half, ok := t.try.conn.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close implements io.Closer.
func (t *tunnel) Close() error {
	t.try.release(false)
	return nil
}
