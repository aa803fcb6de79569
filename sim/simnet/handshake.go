package simnet

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
	"github.com/windtunnel-mesh/windtunnel/sim/fabric"
)

const (
	// A SYN without an answer is sent again after 1 s, 3 s, … 63 s, and given up
	// after 127 s: Linux's TCP_TIMEOUT_INIT and tcp_syn_retries.
	synRTO     = int64(time.Second)
	synRetries = 6
)

// handshake is a connection until it is established. All but abandon and finish
// happens in the conductor.
type handshake struct {
	host   *Host // the dialler
	client *Conn
	to     netip.AddrPort
	how    string
	result chan error // takes one answer
	// original is for the accepting end; the dialling one knows what it dialled.
	original netip.AddrPort

	mu       sync.Mutex
	over     bool // the dialler has its answer, or waits no more
	tries    int
	sentAt   int64
	server   *Conn
	listener *Listener
}

// open makes what a connection needs, up to its first SYN.
func (h *Host) open(source netip.Addr, t fabric.Target) (*handshake, error) {
	peer := t.To.Addr().String()
	if fabric.Local(h, t.To.Addr()) {
		peer = h.Name()
	} else if p := h.net.hostAt(t.To.Addr()); p != nil {
		peer = p.Name()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, fmt.Errorf("host %s is down: %w", h.Name(), net.ErrClosed)
	}
	port, err := h.ephemeral(t.To)
	if err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	from := netip.AddrPortFrom(source, port)
	there := h.net.route(h.Name(), peer)
	link := fmt.Sprintf("%s>%s#%d", h.Name(), peer, there.next())
	out := h.net.newStream(there, link, false, from, t.To)
	in := h.net.newStream(h.net.route(peer, h.Name()), link, true, t.To, from)
	out.back, in.back = in, out
	s := &handshake{host: h, to: t.To, original: t.OriginalDst, how: t.How, result: make(chan error, 1)}
	s.client = &Conn{
		host: h, in: in, out: out, dialler: true,
		local: net.TCPAddrFromAddrPort(from), remote: net.TCPAddrFromAddrPort(t.Dialled),
	}
	in.shake, out.shake = s, s
	h.shakes[s] = struct{}{}
	return s, nil
}

// finish gives the dialler its answer; false: the connection is not wanted, as
// the dialler has an answer already, or its host is down.
func (s *handshake) finish(err error) bool {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return false
	}
	s.over = true
	s.mu.Unlock()

	h := s.host
	h.mu.Lock()
	delete(h.shakes, s)
	if err == nil && h.closed {
		err = net.ErrClosed
	}
	if err == nil {
		h.conns[s.client] = struct{}{}
	} else {
		h.release(s.to, uint16(s.client.local.Port))
	}
	h.mu.Unlock()
	s.traceOpen(err)
	s.result <- err
	return err == nil
}

// abandon ends the wait with an error; nil if the connection was established first.
func (s *handshake) abandon(err error) error {
	s.finish(err)
	return <-s.result
}

func (s *handshake) traceOpen(err error) {
	t := s.host.net.o.Trace
	if t == nil {
		return
	}
	c := s.client
	kind, text := "conn-open", fmt.Sprintf("%s > %s%s", c.local, c.remote, s.how)
	if err != nil {
		kind, text = "conn-fail", text+": "+err.Error()
	}
	t.Add(kind, c.in.link, text)
}

func (s *handshake) sendSYN() {
	out := s.client.out
	out.mu.Lock()
	defer out.mu.Unlock()
	s.mu.Lock()
	s.sentAt = out.net.now()
	s.mu.Unlock()
	switch v := out.verdict(SYN, 0); v.Action {
	case Drop:
		s.retryLater(out)
	case Reset:
		out.schedule(out.route.latency, fRefused)
	default:
		out.push(v.Delay, fSYN)
	}
}

// retryLater sets the SYN's retransmission timer. The outward stream is locked.
func (s *handshake) retryLater(out *stream) {
	s.mu.Lock()
	at := s.sentAt + synRTO<<s.tries
	s.mu.Unlock()
	out.schedule(max(0, at-out.net.now()), fRetry)
}

// deliver takes the handshake's own events; false: the handshake is over and the event
// is the stream's.
func (s *handshake) deliver(on *stream, f flags) bool {
	s.mu.Lock()
	over := s.over
	s.mu.Unlock()
	switch {
	case f&fSYNACK != 0:
		s.established(on.back)
	case f&fRetry != 0 && (over || on.reply):
		return false
	case over:
	case f&fSYN != 0:
		s.arrive(on)
	case f&fRefused != 0:
		s.finish(os.NewSyscallError("connect", syscall.ECONNREFUSED))
	case f&fRetry != 0:
		s.retry()
	}
	return true
}

func (s *handshake) retry() {
	s.mu.Lock()
	s.tries++
	tries := s.tries
	s.mu.Unlock()
	if tries > synRetries {
		s.finish(os.NewSyscallError("connect", syscall.ETIMEDOUT))
		return
	}
	s.sendSYN()
}

// arrive is the SYN's arrival where the destination address is. For a host that is gone
// its network answers, as a node does for a Pod that it has removed.
func (s *handshake) arrive(out *stream) {
	h, to := s.peer()
	var l *Listener
	if h != nil {
		l = h.listener(to)
	}
	if h == nil && !s.host.net.hasLeft(to.Addr()) || l != nil && l.full() {
		s.silence(out)
		return
	}
	kind, answer := SYNACK, fSYNACK
	if l == nil {
		kind, answer = RST, fRefused
	}
	in := out.back
	in.mu.Lock()
	v := in.verdict(kind, 0)
	if v.Action == Drop {
		in.mu.Unlock()
		s.silence(out)
		return
	}
	if v.Action == Reset {
		answer = fRefused
	}
	if answer == fSYNACK {
		s.accepting(h, l, to)
	}
	in.push(v.Delay, answer)
	in.mu.Unlock()
}

// silence leaves the SYN without an answer.
func (s *handshake) silence(out *stream) {
	out.mu.Lock()
	defer out.mu.Unlock()
	s.retryLater(out)
}

// peer is the host that the SYN reaches, and the address there after its rules;
// nil where there is none.
func (s *handshake) peer() (*Host, netip.AddrPort) {
	if fabric.Local(s.host, s.to.Addr()) {
		return s.host, s.to // not seen by Prerouting: Output has decided
	}
	h := s.host.net.hostAt(s.to.Addr())
	if h == nil {
		return nil, s.to
	}
	s.original = netip.AddrPort{} // of an earlier SYN, under other rules
	if rules := h.Rules(); rules != nil {
		v := rules.Prerouting(capture.Packet{Source: s.client.out.source, Destination: s.to})
		if v.Redirect != 0 {
			s.original = s.to
			return h, netip.AddrPortFrom(h.Addr(), v.Redirect)
		}
	}
	return h, s.to
}

// accepting makes the server's end, which gets to the listener with the dialler's ACK.
func (s *handshake) accepting(h *Host, l *Listener, to netip.AddrPort) {
	c := s.client
	server := &Conn{
		host: h, in: c.out, out: c.in,
		local: net.TCPAddrFromAddrPort(to), remote: net.TCPAddrFromAddrPort(c.out.source),
		original: s.original,
	}
	s.server, s.listener = server, l
	h.register(server)
}

// established is the SYN-ACK's arrival. A dialler that waits no more resets.
func (s *handshake) established(out *stream) {
	out.mu.Lock() // first: nothing that the dialler writes goes before the ACK
	defer out.mu.Unlock()
	if s.finish(nil) {
		out.transmit(0, fACK)
	} else {
		out.transmit(0, fRST)
	}
}

// accept is the ACK's arrival: the connection is established on both ends.
func (s *handshake) accept() {
	s.client.in.shake, s.client.out.shake = nil, nil
	if !s.listener.enqueue(s.server) {
		s.server.abort()
	}
}

// cancelled is a reset's arrival before the ACK's.
func (s *handshake) cancelled() {
	if s.server != nil {
		s.server.host.forget(s.server)
	}
}
