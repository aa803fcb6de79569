package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/http1"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/http2"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// Conn is an HTTP/1 connection that is lent to one request at a time, or a stream of an
// HTTP/2 one.
type Conn struct {
	net.Conn
	*http1.Reader
	*http1.Writer
	Local netip.AddrPort
	// Peer is where it goes: the host's address, or one that its name had before.
	Peer netip.AddrPort
	// Instantly tells that the exchange on it did not have to wait for it.
	Instantly bool
	// Identities are those of mutual TLS, empty in plain text.
	Identities Identities

	pool       *pool
	key        string // what it was made for: ALPN and SNI
	generation uint64 // of the cluster's transport settings
	requests   int
	since      time.Time // idle since

	// The stream that stands for the connection where it is HTTP/2, and what it is on.
	stream *http2.ClientStream
	shared *shared

	limit limit

	timer    *time.Timer   // starts the watch of an idle connection
	ticking  bool          // it is set
	patience time.Duration // how long it is idle before it is watched
	silent   silent        // nil: it cannot be asked
	watched  chan struct{} // closed when the watch has ended; nil: there is none
	watchErr error         // what the watch saw; valid once watched is closed
}

// watchAfter is how long a connection is idle before somebody listens whether its peer
// closes it; busy connections never pay for that. One that can be asked is watched later,
// and asked when it is taken.
const (
	watchAfter      = time.Millisecond
	watchAskedAfter = 25 * time.Millisecond
)

// silent is a connection that can tell, without waiting, that nothing has come on it.
type silent interface{ Silent() bool }

// Want is what a request needs of a connection.
type Want struct {
	Priority int
	// ALPN replaces the transport socket's protocols; nil: they stay.
	ALPN []string
	// SNI is the request's host, for auto_sni.
	SNI string
	// Told are the ends of the downstream connection, for transports that tell of them.
	Told Told
	// Protocol is HTTP/1.1 or HTTP/2.
	Protocol message.Protocol
	// Deadline is when the caller gives up; zero: never.
	Deadline time.Time
}

// Acquire returns a connection for one request: an idle one, a new one, or the next
// that comes free. The caller must Release it. A request without an idle connection
// is pending until it has one; it fails where too many are.
func (h *Host) Acquire(ctx context.Context, w Want) (*Conn, *Failure) {
	if w.Protocol == message.HTTP2 {
		return h.acquireStream(ctx, w)
	}
	c, s := h.cluster, h.cluster.Stats
	p := &h.pools[w.Priority]
	limits := p.breaker.limits.Load()
	key, generation := w.key(c.transport(h)), c.generation.Load()
	p.mu.Lock()
	conn := p.takeIdle(key, generation)
	if conn != nil {
		p.mu.Unlock()
		if conn.wake() {
			conn.Instantly = true
			return p.attach(conn, limits)
		}
		return h.Acquire(ctx, w) // its peer closed it in this instant
	}
	s.PendingTotal.Inc()
	if !take(&p.breaker.pending, limits.MaxPending) {
		p.mu.Unlock()
		s.PendingOverflow.Inc()
		return nil, &Failure{Kind: Overflow}
	}
	s.PendingActive.Add(1)
	defer func() {
		p.breaker.pending.Add(-1)
		s.PendingActive.Add(-1)
	}()
	conn, failure := p.obtain(ctx, w, key, generation)
	if failure != nil {
		return nil, failure
	}
	conn.Instantly = false
	return p.attach(conn, limits)
}

// obtain makes a connection, or waits for one where no more may be made.
// It is called with the lock held.
func (p *pool) obtain(ctx context.Context, w Want, key string, generation uint64) (*Conn, *Failure) {
	if p.reserve() {
		p.mu.Unlock()
		return p.dial(ctx, w, key, generation)
	}
	wait := &waiter{key: key, grant: make(chan grant, 1)}
	p.waiting = append(p.waiting, wait)
	p.mu.Unlock()
	var expired <-chan time.Time
	if !w.Deadline.IsZero() {
		t := time.NewTimer(time.Until(w.Deadline))
		defer t.Stop()
		expired = t.C
	}
	select {
	case g := <-wait.grant:
		return p.accept(ctx, g, w, key, generation)
	case <-ctx.Done():
	case <-expired:
	}
	p.giveUp(wait)
	return nil, &Failure{Kind: DeadlineExceeded, Reason: "no connection came free"}
}

func (p *pool) accept(ctx context.Context, g grant, w Want, key string, generation uint64) (*Conn, *Failure) {
	switch {
	case g.failure != nil:
		return nil, g.failure
	case g.conn != nil:
		return g.conn, nil
	default:
		return p.dial(ctx, w, key, generation)
	}
}

// giveUp ends a wait. What was granted in the same instant goes on to the next.
func (p *pool) giveUp(wait *waiter) {
	p.mu.Lock()
	for i, other := range p.waiting {
		if other == wait {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			p.mu.Unlock()
			return
		}
	}
	p.mu.Unlock()
	switch g := <-wait.grant; {
	case g.conn != nil:
		g.conn.recycle()
	case g.failure == nil:
		p.unreserve()
	}
}

// attach counts a request onto its connection.
func (p *pool) attach(c *Conn, limits *snapshot.Breaker) (*Conn, *Failure) {
	if !take(&p.breaker.requests, limits.MaxRequests) {
		p.host.cluster.Stats.PendingOverflow.Inc()
		c.recycle()
		return nil, &Failure{Kind: Overflow}
	}
	c.requests++
	p.host.requests.Add(1)
	p.host.active.Add(1)
	p.host.cluster.Stats.Requests.Inc()
	p.host.cluster.Stats.RequestsActive.Add(1)
	return c, nil
}

// Release ends a request. ok tells that the connection can carry another one.
func (c *Conn) Release(ok bool) {
	if c.stream != nil {
		c.releaseStream()
		return
	}
	h := c.pool.host
	c.pool.breaker.requests.Add(-1)
	h.active.Add(-1)
	h.cluster.Stats.RequestsActive.Add(-1)
	if limit := h.cluster.config().HTTP.MaxRequestsPerConn; ok && limit > 0 && c.requests >= limit {
		h.cluster.Stats.cxMaxRequests.Inc()
		ok = false
	}
	if !ok || h.gone.Load() || h.cluster.isClosed() || c.generation != h.cluster.generation.Load() {
		c.end()
		return
	}
	c.recycle()
}

// Host is the host at the other end.
func (c *Conn) Host() *Host { return c.pool.host }

// recycle gives the connection to the first that waits for one like it, or keeps it idle.
func (c *Conn) recycle() {
	p := c.pool
	p.mu.Lock()
	for i, w := range p.waiting {
		if w.key == c.key {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			p.mu.Unlock()
			w.grant <- grant{conn: c}
			return
		}
	}
	if len(p.waiting) > 0 { // they want another kind: make room
		p.mu.Unlock()
		c.end()
		return
	}
	c.since = time.Now()
	p.idle = append(p.idle, c)
	if !c.ticking {
		c.tick(c.patience)
	}
	p.mu.Unlock()
}

// tick sets the timer. The pool's lock must be held.
func (c *Conn) tick(wait time.Duration) {
	c.ticking = true
	if c.timer == nil {
		c.timer = time.AfterFunc(wait, c.watch)
	} else {
		c.timer.Reset(wait)
	}
}

// watch waits while the connection is idle: for its peer to close it, for the idle
// timeout, or for wake. The timer that begins it is not stopped when the connection is
// used, but finds that when it fires.
func (c *Conn) watch() {
	p := c.pool
	p.mu.Lock()
	c.ticking = false
	if !contains(p.idle, c) || c.watched != nil {
		p.mu.Unlock()
		return
	}
	if idle := time.Since(c.since); idle < c.patience {
		c.tick(c.patience - idle)
		p.mu.Unlock()
		return
	}
	done := make(chan struct{})
	c.watched = done
	if idle := p.host.cluster.config().HTTP.IdleTimeout; idle > 0 {
		_ = c.Conn.SetReadDeadline(c.since.Add(idle))
	}
	p.mu.Unlock()
	err := c.Reader.Await()
	p.mu.Lock()
	mine := p.removeIdle(c)
	c.watchErr = err
	p.mu.Unlock()
	close(done)
	if !mine {
		return // wake has it, or closeIdle
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.host.cluster.Stats.cxIdleTimeout.Inc()
	} else {
		p.host.cluster.Stats.cxDestroyRemote.Inc()
	}
	c.end()
}

func contains(list []*Conn, c *Conn) bool {
	for _, other := range list {
		if other == c {
			return true
		}
	}
	return false
}

// wake ends the watch of a connection that was taken out of the idle ones, and tells
// whether it can be used.
func (c *Conn) wake() bool {
	c.pool.mu.Lock()
	watched := c.watched
	c.watched = nil
	c.pool.mu.Unlock()
	if watched != nil {
		_ = c.Conn.SetReadDeadline(past)
		<-watched
		_ = c.Conn.SetReadDeadline(time.Time{})
		if !errors.Is(c.watchErr, os.ErrDeadlineExceeded) { // closed, or bytes that nobody asked for
			c.pool.host.cluster.Stats.cxDestroyRemote.Inc()
			c.end()
			return false
		}
	} else if c.silent != nil && time.Since(c.since) > watchAfter && !c.silent.Silent() {
		c.pool.host.cluster.Stats.cxDestroyRemote.Inc()
		c.end()
		return false
	}
	return true
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// Past is a deadline that ends whatever waits on a connection.
func Past() time.Time { return past }

// end closes the connection for good.
func (c *Conn) end() {
	c.pool.mu.Lock()
	if c.timer != nil {
		c.timer.Stop()
	}
	c.pool.mu.Unlock()
	c.limit.stop()
	_ = c.Conn.Close()
	c.pool.closed()
}

// dial makes a connection that reserve has counted.
func (p *pool) dial(ctx context.Context, w Want, key string, generation uint64) (*Conn, *Failure) {
	p.host.connections.Add(1)
	s := p.host.cluster.Stats
	s.cxTotal.Inc()
	s.cxActive.Add(1)
	peer := p.host.Target()
	raw, failure := p.host.connect(ctx, peer, w, true)
	if failure != nil {
		p.closedFailing(failure)
		return nil, failure
	}
	reader := http1.NewReader(raw)
	reader.Yield = http1.OverKernel(raw)
	conn := &Conn{Conn: raw, Reader: reader, Writer: http1.NewWriter(raw), Local: netx.AddrPort(raw.LocalAddr()), Peer: peer, Identities: identitiesOf(raw),
		pool: p, key: key, generation: generation, patience: watchAfter}
	conn.limit.conn = raw
	if conn.silent, _ = raw.(silent); conn.silent != nil {
		conn.patience = watchAskedAfter
	}
	return conn, nil
}

// closedFailing is closed for a connection that never came up.
func (p *pool) closedFailing(f *Failure) {
	s := p.host.cluster.Stats
	if f.Kind == ConnectionFailure || f.Kind == ConnectionTimeout {
		s.cxConnectFail.Inc()
		if f.Kind == ConnectionTimeout {
			s.cxConnectTimeout.Inc()
		}
		p.failWaiting(f)
	}
	p.closed()
}

// connect dials the host and does the TLS handshake, within the connect timeout.
func (h *Host) connect(ctx context.Context, to netip.AddrPort, w Want, http bool) (net.Conn, *Failure) {
	c := h.cluster.config()
	limit := time.Now().Add(c.ConnectTimeout)
	ours := true
	if !w.Deadline.IsZero() && w.Deadline.Before(limit) {
		limit, ours = w.Deadline, false
	}
	within, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	raw, err := h.cluster.network.DialFrom(within, c.SourceTo(to.Addr()), to.String())
	if err == nil {
		raw, err = h.cluster.begin(within, raw, h.cluster.transport(h), w, http)
	}
	switch {
	case err == nil:
		return raw, nil
	case ctx.Err() != nil, !ours && within.Err() != nil:
		return nil, &Failure{DeadlineExceeded, err.Error()}
	case within.Err() != nil || isTimeout(err):
		return nil, &Failure{Kind: ConnectionTimeout}
	default:
		return nil, &Failure{ConnectionFailure, reasonOf(err)}
	}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// reasonOf words an error as Envoy's transport failure reasons.
func reasonOf(err error) string {
	var tls *tlsError
	switch {
	case errors.As(err, &tls):
		return "TLS_error:|" + tls.err.Error() + ":TLS_error_end"
	case errors.Is(err, syscall.ECONNREFUSED) || strings.Contains(err.Error(), "connection refused"):
		return "delayed connect error: Connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF):
		return "delayed connect error: Connection reset by peer"
	case errors.Is(err, syscall.EHOSTUNREACH):
		return "immediate connect error: No route to host"
	case errors.Is(err, syscall.ENETUNREACH):
		return "immediate connect error: Network is unreachable"
	default:
		return err.Error()
	}
}
