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
	writing  bool // a Write of several segments is on, or waits for room
	want     int  // the room that it waits for; 0: none
	opening  bool // the window update is under way
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

// departure is the segment sent last. What is written at the instant at which it was
// sent joins it: so how a library that is scheduled one way or the other cuts
// its bytes into writes makes no difference to when they arrive.
type departure struct {
	sentAt int64
	leaves int64 // its last bit, which arrives at
	at     int64
	seq    uint64
	n      int
	flags  flags
	open   bool // neither arrived nor such that nothing can follow it
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

// arrival is when a segment gets there whose last bit leaves at an instant: never
// before an earlier one.
func (s *stream) arrival(leaves int64, extra time.Duration, firstRTO int64) int64 {
	r := s.route
	at := leaves + r.latency + int64(extra) + s.offset()
	if r.jitter > 0 {
		at += int64((s.seed.At(s.seq) >> 10) % r.jitter)
	}
	if r.loss > 0 {
		at += s.lost(firstRTO)
	}
	s.lastAt = max(at, s.lastAt+1)
	return s.lastAt
}

// push schedules a segment of the handshake. The stream is locked.
func (s *stream) push(extra time.Duration, f flags) {
	s.seq++
	leaves := s.route.transmit(s.net.now(), headers)
	s.net.push(event{at: s.arrival(leaves, extra, synRTO), seq: s.seq, on: s, flags: f})
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
	switch {
	case s.held:
		s.heldBytes += n
		s.heldFlags |= f
	case f&fRST == 0 && s.join(n, f):
	default:
		s.send(n, f, 0)
	}
}

// join adds to the segment that was sent at this instant, if one was.
func (s *stream) join(n int, f flags) bool {
	d := &s.last
	if !d.open || d.sentAt != s.net.now() || d.n+n > maxSegment {
		return false
	}
	d.n += n
	d.flags |= f
	leaves := s.route.transmit(d.sentAt, n)
	d.at += leaves - d.leaves
	d.leaves, s.lastAt = leaves, d.at
	return true
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
	leaves := s.route.transmit(now, n+headers)
	at := s.arrival(leaves, v.Delay, int64(minRTO))
	s.last = departure{sentAt: now, leaves: leaves, at: at, seq: s.seq, n: n, flags: f, open: n > 0 && f == 0}
	s.net.push(event{at: at, seq: s.seq, on: s, n: n, flags: f})
}

// complete adds to an event what joined its segment; false: the last bit is not here
// yet, and the event is scheduled again. The stream is locked.
func (s *stream) complete(e *event) bool {
	d := &s.last
	if d.seq != e.seq {
		return true
	}
	if d.at > e.at {
		e.at = d.at
		s.net.push(*e)
		return false
	}
	e.n, e.flags, d.open = d.n, d.flags, false
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
		s.opening = false
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
