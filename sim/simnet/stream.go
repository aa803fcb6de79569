package simnet

import (
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// flags say what an event is: segments as on a wire, and two that are none.
type flags uint16

const (
	fSYN flags = 1 << iota
	fSYNACK
	fRefused // a RST in answer to a SYN
	fACK     // ends the handshake
	fFIN
	fRST
	fCut    // a rule reset the connection: both ends
	fWindow // the receiver has room again
	fRetry  // the retransmission timer
)

const (
	window     = 256 << 10 // bytes written and not yet read, per direction
	maxSegment = 64 << 10  // bytes; a larger Write is several segments
	// reopens is the room at which a window that was full opens again. That it is
	// no single byte is RFC 9293's avoidance of silly windows (3.8.6.2.2).
	reopens = maxSegment

	headers = 40 // bytes of IPv4 and TCP, without options

	minRTO = 200 * time.Millisecond // Linux's TCP_RTO_MIN and TCP_RTO_MAX
	maxRTO = 120 * time.Second
	// maxRetries is how often a segment is sent again: Linux's tcp_retries2.
	maxRetries = 15
)

// rto is the time until a segment is sent for the n-th time again.
func rto(n int) int64 { return int64(min(minRTO<<n, maxRTO)) }

// stream is one direction of a connection. Payload is copied once, into buf, when it is
// written; a segment's arrival only moves arrived.
type stream struct {
	net                 *Net
	route               *route
	link                string
	reply               bool // the direction to the dialler
	source, destination netip.AddrPort
	seed                seed.Seed
	back                *stream    // the other direction
	shake               *handshake // while there is one

	mu     sync.Mutex
	seq    uint64
	lastAt int64 // the latest arrival so far
	last   departure
	grown  []departure // earlier ones that something joined and that are under way, in order

	buf     []byte // buf[read:arrived] can be read, buf[arrived:] is under way
	read    int
	arrived int

	readable  sync.Cond
	fin       bool  // the end has arrived
	readErr   error // a reset has
	reader    deadline
	noReader  bool // the reading end is closed
	rejecting bool // and has sent a reset for what still arrives

	writable sync.Cond
	writing  bool // a Write waits for room
	full     bool // the window has been filled, and nothing is written until its update
	opening  bool // which is under way
	writeErr error
	writer   deadline
	finSent  bool
	noWriter bool // the writing end is closed

	// Where a rule drops a segment, it and all that follows is held until
	// the retransmission gets through.
	held      bool
	heldBytes int
	heldFlags flags
	retries   int
}

// departure is a segment sent. What is written at the instant at which the last one
// was sent fills it up, and only the rest is a segment of its own: so how a library
// that is scheduled one way or the other cuts its bytes into writes makes no difference
// to when they arrive.
type departure struct {
	sentAt int64
	leaves int64 // its last bit
	way    int64 // and how long that travels,
	after  int64 // but arrives after the segment before,
	at     int64 // which makes it this instant
	seq    uint64
	n      int
	flags  flags
	open   bool // neither arrived nor such that nothing can follow it
	grown  bool // more than its event says
}

func (n *Net) newStream(r *route, link string, reply bool, source, destination netip.AddrPort) *stream {
	s := &stream{net: n, route: r, link: link, reply: reply, source: source, destination: destination}
	s.seed = n.o.Seed.Sub(link)
	if reply {
		s.seed = s.seed.Sub("reply")
	}
	s.readable.L, s.writable.L = &s.mu, &s.mu
	return s
}

func (s *stream) before(t *stream) bool {
	if s.link != t.link {
		return s.link < t.link
	}
	return !s.reply && t.reply
}

// schedule pushes an event after a delay, within the microsecond after that: so
// that periodic traffic does not meet timers of its own at one instant.
func (s *stream) schedule(delay int64, f flags) {
	s.seq++
	s.net.push(event{at: s.net.now() + delay + s.offset(), seq: s.seq, on: s, flags: f})
}

func (s *stream) offset() int64 { return 1 + int64(s.seed.At(s.seq)%999) }

// way is how long the segment travels once it has left.
func (s *stream) way(extra time.Duration, firstRTO int64) int64 {
	r := s.route
	d := r.latency + int64(extra) + s.offset()
	if r.jitter > 0 {
		d += int64((s.seed.At(s.seq) >> 10) % r.jitter)
	}
	if r.loss > 0 {
		d += s.lost(firstRTO)
	}
	return d
}

// arrive sets when the segment gets there: never before an earlier one.
func (d *departure) arrive() int64 {
	d.at = max(d.leaves+d.way, d.after+1)
	return d.at
}

// push schedules a segment of the handshake. The stream is locked.
func (s *stream) push(extra time.Duration, f flags) {
	s.seq++
	leaves := s.route.transmit(s.net.now(), headers)
	s.lastAt = max(leaves+s.way(extra, synRTO), s.lastAt+1)
	s.net.push(event{at: s.lastAt, seq: s.seq, on: s, flags: f})
}

// lost is the time that losing the segment some times costs.
func (s *stream) lost(firstRTO int64) (delay int64) {
	draws := s.seed.Sub("loss")
	for i := range uint64(maxRetries) {
		if float64(draws.At(s.seq<<4|i)>>11)/(1<<53) >= s.route.loss {
			break
		}
		delay += min(firstRTO<<i, int64(maxRTO))
	}
	return delay
}

// transmit sends payload that is in buf already, and flags. The stream is locked.
func (s *stream) transmit(n int, f flags) {
	if s.held {
		s.heldBytes += n
		s.heldFlags |= f
		return
	}
	if joined, all := s.join(n, f); !all {
		s.send(n-joined, f, 0)
	}
}

// join adds to the segment that was sent at this instant, if one was, as much payload
// as it has room for, and the flags with the last of it. A reset goes alone.
func (s *stream) join(n int, f flags) (joined int, all bool) {
	d := &s.last
	if !d.open || d.sentAt != s.net.now() || f&fRST != 0 {
		return 0, false
	}
	if joined = min(n, max(0, maxSegment-d.n)); joined > 0 {
		d.n += joined
		d.leaves = s.route.transmit(d.sentAt, joined)
		d.grown = true
		s.lastAt = d.arrive()
	}
	if joined < n {
		return joined, false
	}
	d.flags |= f
	d.grown = d.grown || f != 0
	return joined, true
}

func (s *stream) send(n int, f flags, retries int) {
	v := s.verdict(kindOf(n, f), n)
	if v.Action == Drop {
		s.held, s.heldBytes, s.heldFlags, s.retries = true, n, f, retries
		s.schedule(rto(retries), fRetry)
		return
	}
	if v.Action == Reset {
		f |= fCut
	}
	s.seq++
	now := s.net.now()
	if s.last.grown {
		s.grown = append(s.grown, s.last)
	}
	s.last = departure{
		sentAt: now, leaves: s.route.transmit(now, n+headers), way: s.way(v.Delay, int64(minRTO)), after: s.lastAt,
		seq: s.seq, n: n, flags: f, open: n > 0 && f == 0,
	}
	s.lastAt = s.last.arrive()
	s.net.push(event{at: s.lastAt, seq: s.seq, on: s, n: n, flags: f})
}

// complete adds to an event what joined its segment; false: the last bit is not here
// yet, and the event is scheduled again. The stream is locked.
func (s *stream) complete(e *event) bool {
	d := &s.last
	if len(s.grown) > 0 && s.grown[0].seq == e.seq {
		d = &s.grown[0]
	}
	if d.seq != e.seq {
		return true
	}
	if d.at > e.at {
		e.at = d.at
		s.net.push(*e)
		return false
	}
	e.n, e.flags = d.n, d.flags
	if d == &s.last {
		d.open, d.grown = false, false
	} else {
		s.grown = s.grown[1:] // they arrive in order
	}
	return true
}

func kindOf(n int, f flags) Kind {
	switch {
	case f&fRST != 0:
		return RST
	case n > 0:
		return Data
	case f&fFIN != 0:
		return FIN
	default:
		return ACK
	}
}

// retry is the retransmission timer.
func (s *stream) retry() {
	s.mu.Lock()
	if !s.held {
		s.mu.Unlock()
		return
	}
	s.held = false
	if s.retries < maxRetries {
		s.send(s.heldBytes, s.heldFlags, s.retries+1)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	breakEnd(s.back, s, syscall.ETIMEDOUT)
}

// deliver is called by the conductor only.
func (s *stream) deliver(e event) {
	switch {
	case s.shake != nil && e.flags&(fSYN|fSYNACK|fRefused|fRetry) != 0 && s.shake.deliver(s, e.flags):
		return
	case e.flags&fRetry != 0:
		s.retry()
		return
	case e.flags&fWindow != 0:
		s.mu.Lock()
		s.full, s.opening = false, false
		s.writable.Broadcast()
		s.mu.Unlock()
		return
	}
	if !s.receive(&e) {
		return
	}
	if e.flags&fACK != 0 {
		s.shake.accept()
	}
	if e.flags&fCut != 0 {
		breakEnd(s.back, s, syscall.ECONNRESET)
	}
	if e.flags&(fCut|fRST) != 0 {
		s.reset()
	}
}

// receive makes payload readable, or answers it with a reset where nobody reads.
// It is false where the segment is still arriving.
func (s *stream) receive(e *event) bool {
	s.mu.Lock()
	if !s.complete(e) {
		s.mu.Unlock()
		return false
	}
	s.arrived += e.n
	s.fin = s.fin || e.flags&fFIN != 0
	reject := false
	if s.noReader {
		s.read = s.arrived
		reject = e.n > 0 && !s.rejecting
		s.rejecting = s.rejecting || reject
	} else {
		s.readable.Broadcast()
	}
	s.mu.Unlock()
	if reject {
		s.back.mu.Lock()
		s.back.transmit(0, fRST)
		s.back.mu.Unlock()
	}
	return true
}

// reset is a reset's arrival. As in Linux, what has arrived before can still be
// read; after the peer's end of stream, writes fail with EPIPE.
func (s *stream) reset() {
	if s.shake != nil {
		s.shake.cancelled()
	}
	s.mu.Lock()
	err := syscall.ECONNRESET
	if s.fin {
		err = syscall.EPIPE
	}
	s.mu.Unlock()
	breakEnd(s, s.back, err)
}

// breakEnd breaks the end of a connection that reads in and writes out.
func breakEnd(in, out *stream, err error) {
	in.mu.Lock()
	if !in.fin && in.readErr == nil {
		in.readErr = err
	}
	in.readable.Broadcast()
	in.mu.Unlock()
	out.mu.Lock()
	if out.writeErr == nil {
		out.writeErr = err
	}
	out.held = false // what is held is not sent again
	out.writable.Broadcast()
	out.mu.Unlock()
}

// put copies p behind what is under way.
func (s *stream) put(p []byte) {
	if s.read == len(s.buf) {
		s.buf, s.read, s.arrived = s.buf[:0], 0, 0
	}
	if need := len(s.buf) + len(p); need > cap(s.buf) {
		live := s.buf[s.read:]
		if to := s.buf[:0]; 2*(len(live)+len(p)) <= cap(s.buf) {
			s.buf = append(to, live...)
		} else {
			s.buf = append(make([]byte, 0, max(1024, 2*cap(s.buf), 2*(len(live)+len(p)))), live...)
		}
		s.arrived -= s.read
		s.read = 0
	}
	s.buf = append(s.buf, p...)
}

// room is how much may be written. The stream is locked.
func (s *stream) room() int { return window - (len(s.buf) - s.read) }
