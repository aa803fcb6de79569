package simnet

import (
	"net"
	"net/netip"
	"sync"
)

// backlog is Linux's default somaxconn: connections that wait for Accept. Beyond it, SYNs
// are not answered.
const backlog = 4096

// Listener implements net.Listener.
type Listener struct {
	host  *Host
	bound netip.Addr // not valid: all addresses
	port  uint16

	mu      sync.Mutex
	arrival sync.Cond
	queue   []*Conn
	closed  bool
}

var _ net.Listener = (*Listener)(nil)

func newListener(h *Host, bound netip.Addr, port uint16) *Listener {
	l := &Listener{host: h, bound: bound, port: port}
	l.arrival.L = &l.mu
	return l
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr {
	addr := l.bound
	if !addr.IsValid() {
		addr = netip.IPv4Unspecified()
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, l.port))
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 && !l.closed {
		l.arrival.Wait()
	}
	if l.closed {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
	c := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	return c, nil
}

// Close implements net.Listener. Connections that nobody accepted are reset.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
	l.closed = true
	queue := l.queue
	l.queue = nil
	l.arrival.Broadcast()
	l.mu.Unlock()
	l.host.unlisten(l)
	for _, c := range queue {
		c.abort()
	}
	return nil
}

// full tells whether the queue takes no more.
func (l *Listener) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) >= backlog
}

// enqueue hands over an established connection; false: closed meanwhile.
func (l *Listener) enqueue(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.queue = append(l.queue, c)
	l.arrival.Signal()
	return true
}
