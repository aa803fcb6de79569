package loopnet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/sim/fabric"
)

// Host is a host of a Net.
type Host struct {
	fabric.Base
	net    *Net
	mapped netip.Addr

	mu        sync.Mutex
	listeners map[uint16]*listener // by the port that the host knows
	conns     map[*conn]struct{}
	closed    bool
}

var _ fabric.Wire = (*Host)(nil)

// Real is the socket's address behind a port of the host: what another process on
// this machine dials.
func (h *Host) Real(port uint16) netip.AddrPort {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.listeners[port]; l != nil {
		return l.real
	}
	return netip.AddrPortFrom(h.mapped, port)
}

// reach is Real, unless a listener there is not to be reached from that side.
func (h *Host) reach(to netip.AddrPort) (netip.AddrPort, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.listeners[to.Port()]
	if l == nil {
		return netip.AddrPortFrom(h.mapped, to.Port()), true
	}
	return l.real, !l.bound.IsValid() || l.bound == to.Addr()
}

// Close implements fabric.Host.
func (h *Host) Close() error {
	h.mu.Lock()
	h.closed = true
	listeners := slices.Collect(maps.Values(h.listeners))
	conns := slices.Collect(maps.Keys(h.conns))
	h.mu.Unlock()
	h.net.remove(h)
	for _, l := range listeners {
		_ = l.Close() // it may be closed already
	}
	for _, c := range conns {
		_ = c.SetLinger(0) // a reset, not an end
		_ = c.Close()
	}
	return nil
}

// keep counts a connection as the host's for as long as it is open; where the host
// is down, it is closed.
func (h *Host) keep(c *conn) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		_ = c.TCPConn.Close()
		return fmt.Errorf("host %s is down: %w", h.Name(), net.ErrClosed)
	}
	h.conns[c] = struct{}{}
	return nil
}

func (h *Host) forget(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, c)
}

// Listen implements fabric.Wire. All addresses of the host are one here, so a port
// can be bound once. Where the process may not bind a port below 1024, another one is used.
func (h *Host) Listen(ctx context.Context, bound netip.Addr, port uint16) (net.Listener, error) {
	h.mu.Lock()
	taken, down := port != 0 && h.listeners[port] != nil, h.closed
	h.mu.Unlock()
	if down {
		return nil, fmt.Errorf("host %s is down: %w", h.Name(), net.ErrClosed)
	}
	if taken {
		return nil, fmt.Errorf("port %d of host %s: %w", port, h.Name(), syscall.EADDRINUSE)
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	real := netip.AddrPortFrom(h.mapped, port)
	tcp, err := lc.Listen(ctx, "tcp4", real.String())
	if errors.Is(err, syscall.EACCES) && port != 0 {
		tcp, err = lc.Listen(ctx, "tcp4", netip.AddrPortFrom(h.mapped, 0).String())
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s, which stands for port %d of host %s, is taken on this machine: %w", real, port, h.Name(), err)
	}
	if err != nil {
		return nil, err
	}
	l := &listener{TCPListener: tcp.(*net.TCPListener), host: h, bound: bound, port: port, real: netx.AddrPort(tcp.Addr())}
	if port == 0 {
		l.port = l.real.Port()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.listeners[l.port] != nil {
		_ = tcp.Close()
		return nil, fmt.Errorf("port %d of host %s: %w", port, h.Name(), syscall.EADDRINUSE)
	}
	h.listeners[l.port] = l
	return l, nil
}

// listener shows the host's address and accepts connections as the host sees them.
type listener struct {
	*net.TCPListener
	host  *Host
	bound netip.Addr // not valid: all
	port  uint16
	real  netip.AddrPort
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr {
	addr := l.bound
	if !addr.IsValid() {
		addr = netip.IPv4Unspecified()
	}
	return tcpAddr(netip.AddrPortFrom(addr, l.port))
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	tcp, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	a := l.host.net.arrived(flow{from: netx.AddrPort(tcp.RemoteAddr()), to: l.real})
	c := &conn{TCPConn: tcp, host: l.host, local: tcpAddr(a.local), remote: tcpAddr(a.remote), original: a.original}
	if err := l.host.keep(c); err != nil {
		return nil, err
	}
	return c, nil
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.host.mu.Lock()
	if l.host.listeners[l.port] == l {
		delete(l.host.listeners, l.port)
	}
	l.host.mu.Unlock()
	return l.TCPListener.Close()
}
