package simnet

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/windtunnel-mesh/windtunnel/sim/fabric"
)

// Host is a host of a Net.
type Host struct {
	fabric.Base
	net *Net

	mu        sync.Mutex
	listeners map[uint16][]*Listener
	conns     map[*Conn]struct{}
	shakes    map[*handshake]struct{}   // of its own dials
	ports     map[netip.AddrPort]*ports // ephemeral ones, by what is dialled
	closed    bool

	// dead is set before anything of the host is taken down: what its processes still do,
	// whenever the scheduler lets them, has no effect and leaves no trace.
	dead atomic.Bool
}

var _ fabric.Wire = (*Host)(nil)

// ports are the ephemeral ports in use towards one address. Each address has its own
// order: a port has to be unique among connections to it only, and who dials another
// one at the same instant must not change which port this one gets.
type ports struct {
	used map[uint16]bool
	last uint16
}

// Linux's default ip_local_port_range.
const firstPort, lastPort = 32768, 60999

func newHost(n *Net, name string, addr netip.Addr) *Host {
	h := &Host{
		net:       n,
		listeners: make(map[uint16][]*Listener),
		conns:     make(map[*Conn]struct{}),
		shakes:    make(map[*handshake]struct{}),
		ports:     make(map[netip.AddrPort]*ports),
	}
	h.Init(name, addr, &n.Directory, h)
	return h
}

// Close implements fabric.Host. Peers learn of it by a reset, a link's latency later; who
// dials the address afterwards gets no answer.
func (h *Host) Close() error {
	h.dead.Store(true)
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	var listeners []*Listener
	for _, port := range slices.Sorted(maps.Keys(h.listeners)) {
		listeners = append(listeners, h.listeners[port]...)
	}
	conns := slices.SortedFunc(maps.Keys(h.conns), func(a, b *Conn) int {
		return cmp.Or(cmp.Compare(a.in.link, b.in.link), boolCompare(a.dialler, b.dialler))
	})
	shakes := slices.SortedFunc(maps.Keys(h.shakes), func(a, b *handshake) int {
		return cmp.Compare(a.client.in.link, b.client.in.link)
	})
	h.mu.Unlock()

	h.net.remove(h)
	for _, s := range shakes {
		s.finish(net.ErrClosed)
	}
	for _, l := range listeners {
		_ = l.Close() // it may be closed already
	}
	for _, c := range conns {
		c.abort()
	}
	return nil
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// register keeps a connection for as long as it is open; false: the host is down.
func (h *Host) register(c *Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.conns[c] = struct{}{}
	return true
}

func (h *Host) forget(c *Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.conns[c]; ok && c.dialler {
		h.release(c.out.destination, uint16(c.local.Port))
	}
	delete(h.conns, c)
}

// release gives an ephemeral port back. The host is locked.
func (h *Host) release(to netip.AddrPort, port uint16) { delete(h.ports[to].used, port) }

// ephemeral takes the next free port towards an address, in order. The host is locked.
func (h *Host) ephemeral(to netip.AddrPort) (uint16, error) {
	p := h.ports[to]
	if p == nil {
		p = &ports{used: make(map[uint16]bool), last: lastPort}
		h.ports[to] = p
	}
	for range lastPort - firstPort + 1 {
		if p.last++; p.last > lastPort {
			p.last = firstPort
		}
		if !p.used[p.last] && len(h.listeners[p.last]) == 0 {
			p.used[p.last] = true
			return p.last, nil
		}
	}
	return 0, syscall.EADDRNOTAVAIL
}

// Listen implements fabric.Wire. Where the address is not valid, all addresses are meant.
func (h *Host) Listen(_ context.Context, ip netip.Addr, port uint16) (net.Listener, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, fmt.Errorf("host %s is down: %w", h.Name(), net.ErrClosed)
	}
	if port == 0 {
		var err error
		if port, err = h.ephemeral(netip.AddrPort{}); err != nil {
			return nil, os.NewSyscallError("bind", err)
		}
		h.release(netip.AddrPort{}, port) // the listener's entry keeps it from now on
	}
	for _, l := range h.listeners[port] {
		if !l.bound.IsValid() || !ip.IsValid() || l.bound == ip {
			return nil, os.NewSyscallError("bind", syscall.EADDRINUSE)
		}
	}
	l := newListener(h, ip, port)
	h.listeners[port] = append(h.listeners[port], l)
	return l, nil
}

func (h *Host) unlisten(l *Listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	rest := slices.DeleteFunc(h.listeners[l.port], func(x *Listener) bool { return x == l })
	if len(rest) == 0 {
		delete(h.listeners, l.port)
		return
	}
	h.listeners[l.port] = rest
}

// listener finds who listens on an address; one bound to it comes before one
// bound to all.
func (h *Host) listener(addr netip.AddrPort) *Listener {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all *Listener
	for _, l := range h.listeners[addr.Port()] {
		if l.bound == addr.Addr() {
			return l
		}
		if !l.bound.IsValid() {
			all = l
		}
	}
	return all
}
