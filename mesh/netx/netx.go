// Package netx is the seam between the mesh and the world it runs in.
//
// Everything that listens, dials or resolves takes a Network. System is the
// operating system's; the simulator and the loopback world bring their own, one
// per host, so that a source address is always known. It must import nothing of ours.
package netx

import (
	"context"
	"net"
	"net/netip"
)

// Network is what one host (a pod, a client, a process) sees of the world.
// Addresses are "host:port" as for package net; hosts may be names or literals.
type Network interface {
	Listen(ctx context.Context, addr string) (net.Listener, error)
	Dial(ctx context.Context, addr string) (net.Conn, error)
	// DialFrom dials with a local address; port 0 and the zero Addr mean any.
	DialFrom(ctx context.Context, source netip.Addr, addr string) (net.Conn, error)
	// LookupHost resolves a name to its addresses, in a stable order.
	LookupHost(ctx context.Context, host string) ([]netip.Addr, error)
}

// Packets is implemented by networks that have datagrams. The simulator's has none: what is
// asked by them in a real pod is asked of its owner there.
type Packets interface {
	ListenPacket(ctx context.Context, addr string) (net.PacketConn, error)
}

// Redirected is implemented by connections that a capture rule turned aside.
// OriginalDst is the address that the client dialled.
type Redirected interface {
	OriginalDst() (netip.AddrPort, bool)
}

// OriginalDst returns the address that the client of an accepted connection
// dialled before a capture rule redirected it, and whether it was redirected.
func OriginalDst(c net.Conn) (netip.AddrPort, bool) {
	if r, ok := c.(Redirected); ok {
		return r.OriginalDst()
	}
	return systemOriginalDst(c)
}

// AddrPort converts the address of a connection or listener.
func AddrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.TCPAddr:
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	case nil:
		return netip.AddrPort{}
	default:
		ap, _ := netip.ParseAddrPort(a.String())
		return ap
	}
}

// System is the operating system's network. The zero value is ready to use.
type System struct{}

var (
	_ Network = System{}
	_ Packets = System{}
)

// Listen implements Network.
func (System) Listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, family(addr), addr)
	if err != nil {
		return nil, err
	}
	return sockets{l}, nil
}

// ListenPacket implements Packets.
func (System) ListenPacket(ctx context.Context, addr string) (net.PacketConn, error) {
	var lc net.ListenConfig
	return lc.ListenPacket(ctx, "udp", addr)
}

// family keeps the sockets of 0.0.0.0 and :: apart, as Envoy's are: package net would give
// each of them both families. An empty host is for both.
func family(addr string) string {
	a, err := netip.ParseAddrPort(addr)
	switch {
	case err != nil || !a.Addr().IsUnspecified():
		return "tcp"
	case a.Addr().Is4():
		return "tcp4"
	}
	return "tcp6"
}

// Dial implements Network.
func (System) Dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return socket(d.DialContext(ctx, "tcp", addr))
}

// DialFrom implements Network.
func (System) DialFrom(ctx context.Context, source netip.Addr, addr string) (net.Conn, error) {
	var d net.Dialer
	if source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	return socket(d.DialContext(ctx, "tcp", addr))
}

// LookupHost implements Network.
func (System) LookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
