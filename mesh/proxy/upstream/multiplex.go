package upstream

import (
	"context"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/http2"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// shared is an HTTP/2 connection that many requests use at once. The pool's lock guards
// what changes.
type shared struct {
	pool        *pool
	key         string
	generation  uint64
	local, peer netip.AddrPort
	identities  Identities

	ready   chan struct{} // closed when it is up, or never will be
	failure *Failure      // why not; valid once ready is closed
	client  *http2.Client // nil until then
	waiting int           // requests that wait for ready
	active  int           // requests on it
	total   int           // requests so far
	retired bool          // takes no further request
	ended   bool
	idler   *time.Timer
	since   time.Time // idle since
}

// Protocol is what requests to the cluster are sent with: HTTP/2 where it is
// configured, or where the cluster follows its clients and this one speaks it.
func (c *Cluster) Protocol(downstream message.Protocol) message.Protocol {
	o := c.config().HTTP
	if o.HTTP2 || o.UseDownstream && downstream == message.HTTP2 {
		return message.HTTP2
	}
	return message.HTTP11
}

// acquireStream is Acquire for HTTP/2: a stream on a connection that is there, or that is
// being made; a further one is made where all have as many streams as their peer, or the
// configuration, allows.
func (h *Host) acquireStream(ctx context.Context, w Want) (*Conn, *Failure) {
	c, p := h.cluster, &h.pools[w.Priority]
	limits := p.breaker.limits.Load()
	key, generation := w.key(c.transport(h)), c.generation.Load()
	p.mu.Lock()
	if sh := p.vacant(key, generation); sh != nil && sh.client != nil {
		return p.lend(sh, limits)
	}
	s := c.Stats
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
	var expired <-chan time.Time
	if !w.Deadline.IsZero() {
		t := time.NewTimer(time.Until(w.Deadline))
		defer t.Stop()
		expired = t.C
	}
	for {
		sh := p.vacant(key, generation)
		if sh != nil && sh.client != nil {
			return p.lend(sh, limits)
		}
		if sh == nil && p.reserve() {
			sh = p.make(w, key, generation)
		}
		if failure := p.await(ctx, sh, expired); failure != nil {
			return nil, failure
		}
		p.mu.Lock()
	}
}

// await waits for a connection that is being made, or where there is none for room on
// another. It is called with the lock held, and gives it back.
func (p *pool) await(ctx context.Context, sh *shared, expired <-chan time.Time) *Failure {
	var wait chan struct{}
	if sh != nil {
		wait = sh.ready
		sh.waiting++
	} else {
		if p.freed == nil {
			p.freed = make(chan struct{})
		}
		wait = p.freed
	}
	p.mu.Unlock()
	var failure *Failure
	select {
	case <-wait:
		if sh != nil {
			failure = sh.failure
		}
	case <-ctx.Done():
		failure = &Failure{Kind: DeadlineExceeded, Reason: "no connection came free"}
	case <-expired:
		failure = &Failure{Kind: DeadlineExceeded, Reason: "no connection came free"}
	}
	if sh != nil {
		p.mu.Lock()
		sh.waiting--
		p.mu.Unlock()
	}
	return failure
}

// vacant returns the first connection with room for one more. The lock must be held.
func (p *pool) vacant(key string, generation uint64) *shared {
	limit := int64(p.host.cluster.config().HTTP.MaxConcurrentStreams)
	for _, sh := range p.shared {
		if sh.key != key || sh.generation != generation || sh.retired {
			continue
		}
		room := limit
		if sh.client != nil {
			if !sh.client.Usable() {
				continue
			}
			if peer := sh.client.Limit(); peer >= 0 && (room == 0 || peer < room) {
				if room = peer; room == 0 {
					continue
				}
			}
		}
		if room == 0 || int64(sh.active+sh.waiting) < room || sh.client != nil && int64(sh.active) < room {
			return sh
		}
	}
	return nil
}

// make begins to make a connection that reserve has counted. It belongs to all requests
// that wait for it, so none of them ends it. The lock must be held.
func (p *pool) make(w Want, key string, generation uint64) *shared {
	sh := &shared{pool: p, key: key, generation: generation, ready: make(chan struct{})}
	p.shared = append(p.shared, sh)
	p.host.connections.Add(1)
	s := p.host.cluster.Stats
	s.cxTotal.Inc()
	s.cxActive.Add(1)
	w.Deadline = time.Time{}
	go sh.dial(w)
	return sh
}

func (sh *shared) dial(w Want) {
	p := sh.pool
	sh.peer = p.host.Target()
	raw, failure := p.host.connect(p.host.cluster.dialing, sh.peer, w, true)
	if failure != nil {
		if failure.Kind == DeadlineExceeded { // the proxy ended meanwhile
			failure = &Failure{Kind: ConnectionFailure, Reason: "cluster removed"}
		}
		sh.failure = failure
		p.mu.Lock()
		sh.ended, sh.retired = true, true
		p.dropShared(sh)
		p.mu.Unlock()
		close(sh.ready)
		p.closedFailing(failure)
		return
	}
	sh.up(raw)
}

func (sh *shared) up(raw net.Conn) {
	p := sh.pool
	sh.local, sh.identities = netx.AddrPort(raw.LocalAddr()), identitiesOf(raw)
	client := http2.NewClient(raw, http2.ClientOptions{OnChange: sh.changed, OnClose: sh.closed,
		Settings: http2.SettingsOf(&p.host.cluster.config().HTTP.Settings, p.host.cluster.seed.Float64("keepalive/"+sh.local.String()))})
	p.mu.Lock()
	sh.client = client
	stale := sh.waiting == 0 && (p.host.gone.Load() || p.host.cluster.isClosed())
	if sh.active == 0 {
		sh.rest()
	}
	p.mu.Unlock()
	close(sh.ready)
	if stale {
		sh.retire()
	}
}

// lend takes a stream on a connection. It is called with the lock held, and gives it back.
func (p *pool) lend(sh *shared, limits *snapshot.Breaker) (*Conn, *Failure) {
	s := p.host.cluster.Stats
	if !take(&p.breaker.requests, limits.MaxRequests) {
		p.mu.Unlock()
		s.PendingOverflow.Inc()
		return nil, &Failure{Kind: Overflow}
	}
	sh.active++
	sh.total++
	if limit := p.host.cluster.config().HTTP.MaxRequestsPerConn; limit > 0 && sh.total >= limit {
		sh.retired = true
		s.cxMaxRequests.Inc()
	}
	p.mu.Unlock()
	p.host.requests.Add(1)
	p.host.active.Add(1)
	s.Requests.Inc()
	s.RequestsActive.Add(1)
	return &Conn{pool: p, key: sh.key, generation: sh.generation, Local: sh.local, Peer: sh.peer, Identities: sh.identities, shared: sh, stream: sh.client.Open()}, nil
}

// releaseStream ends a request. What is not complete is reset; the connection stays.
func (c *Conn) releaseStream() {
	sh, p := c.shared, c.pool
	h := p.host
	c.stream.Close()
	p.breaker.requests.Add(-1)
	h.active.Add(-1)
	h.cluster.Stats.RequestsActive.Add(-1)
	p.mu.Lock()
	sh.active--
	if h.gone.Load() || h.cluster.isClosed() || sh.generation != h.cluster.generation.Load() || !sh.client.Usable() {
		sh.retired = true
	}
	last := sh.active == 0 && sh.retired
	if sh.active == 0 && !last {
		sh.rest()
	}
	p.wakeWaiting()
	p.mu.Unlock()
	if last {
		sh.client.Close()
	}
}

// rest begins the idle time. The lock must be held.
func (sh *shared) rest() {
	idle := sh.pool.host.cluster.config().HTTP.IdleTimeout
	if idle <= 0 || sh.ended {
		return
	}
	sh.since = time.Now()
	if sh.idler == nil {
		sh.idler = time.AfterFunc(idle, sh.idleOver)
		return
	}
	sh.idler.Reset(idle)
}

func (sh *shared) idleOver() {
	p := sh.pool
	idle := p.host.cluster.config().HTTP.IdleTimeout
	p.mu.Lock()
	if sh.active > 0 || sh.waiting > 0 || sh.retired || time.Since(sh.since) < idle {
		p.mu.Unlock()
		return
	}
	sh.retired = true
	p.mu.Unlock()
	p.host.cluster.Stats.cxIdleTimeout.Inc()
	sh.client.Close()
}

// retire takes no further request, and ends the connection after the last.
func (sh *shared) retire() {
	p := sh.pool
	p.mu.Lock()
	sh.retired = true
	now := sh.active == 0 && sh.client != nil
	p.mu.Unlock()
	if now {
		sh.client.Close()
	}
}

// changed hears that the peer allows more streams, or none.
func (sh *shared) changed() {
	p := sh.pool
	p.mu.Lock()
	over := sh.client != nil && sh.active == 0 && !sh.client.Usable()
	if over {
		sh.retired = true
	}
	p.wakeWaiting()
	p.mu.Unlock()
	if over {
		sh.client.Close()
	}
}

// closed hears that the connection has ended.
func (sh *shared) closed(remote bool) {
	p := sh.pool
	p.mu.Lock()
	sh.ended, sh.retired = true, true
	if sh.idler != nil {
		sh.idler.Stop()
	}
	p.dropShared(sh)
	p.mu.Unlock()
	if remote {
		p.host.cluster.Stats.cxDestroyRemote.Inc()
	}
	p.closed()
}

// dropShared takes a connection out. The lock must be held.
func (p *pool) dropShared(sh *shared) {
	for i, other := range p.shared {
		if other == sh {
			p.shared = append(p.shared[:i:i], p.shared[i+1:]...)
			break
		}
	}
	p.wakeWaiting()
}

// wakeWaiting has those that found no room look again. The lock must be held.
func (p *pool) wakeWaiting() {
	if p.freed != nil {
		close(p.freed)
		p.freed = nil
	}
}

// retireShared is closeIdle for connections of HTTP/2.
func (p *pool) retireShared(keep func(*Conn) bool) {
	p.mu.Lock()
	list := append([]*shared(nil), p.shared...)
	p.mu.Unlock()
	for _, sh := range list {
		if keep == nil || !keep(&Conn{pool: p, key: sh.key, generation: sh.generation, Peer: sh.peer}) {
			sh.retire()
		}
	}
}

// SetInform has f hear of responses before the final one; nil: nobody.
func (c *Conn) SetInform(f func(status int, h message.Header)) {
	if c.stream != nil {
		c.stream.Inform = f
		return
	}
	c.Reader.Inform = f
}

// WriteRequest sends a request; see the codecs.
func (c *Conn) WriteRequest(q *message.Request) error {
	if c.stream != nil {
		return c.stream.WriteRequest(q)
	}
	return c.Writer.WriteRequest(q)
}

// ReadResponse waits for the final head of the response; see the codecs.
func (c *Conn) ReadResponse(method string) (*message.Response, error) {
	if c.stream != nil {
		return c.stream.ReadResponse()
	}
	return c.Reader.ReadResponse(method)
}

// Tunnel is the way for bytes once the answer to a CONNECT, or an upgrade, has opened it.
func (c *Conn) Tunnel() io.ReadWriter {
	if c.stream != nil {
		return c.stream.Tunnel()
	}
	return c.Conn
}

// Early takes out the tunnel's bytes that came with the head of the answer.
func (c *Conn) Early() []byte {
	if c.stream != nil {
		return nil
	}
	return append([]byte(nil), c.Reader.Rest()...)
}

// KeepAlive tells whether nothing is left of the exchange, and the connection, or the
// stream, can end well.
func (c *Conn) KeepAlive() bool {
	if c.stream != nil {
		return c.stream.Complete()
	}
	return c.Reader.KeepAlive()
}

// SetDeadline implements net.Conn, for the one exchange.
func (c *Conn) SetDeadline(at time.Time) error {
	if c.stream != nil {
		c.stream.SetDeadline(at)
		return nil
	}
	return c.limit.set(at)
}

// SetReadDeadline implements net.Conn, for the one exchange.
func (c *Conn) SetReadDeadline(at time.Time) error {
	if c.stream != nil {
		c.stream.SetReadDeadline(at)
		return nil
	}
	return c.Conn.SetReadDeadline(at)
}
