package fabric

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
)

// Wire is what a host leaves to its fabric, once names, services and rules are dealt with.
type Wire interface {
	Host
	// Listen opens a port; an unspecified address means all of the host's.
	Listen(ctx context.Context, addr netip.Addr, port uint16) (net.Listener, error)
	// Connect opens a connection to a target, from the source address if it is valid.
	Connect(ctx context.Context, source netip.Addr, t Target) (net.Conn, error)
}

// Base is what the hosts of every fabric have in common: a name, an address, capture
// rules, and the network as their processes see it. Hosts embed it.
type Base struct {
	name      string
	addr      netip.Addr
	directory *Directory
	wire      Wire

	mu      sync.Mutex
	capture Capture
}

// Init makes a Base that is part of a host. It must be called before the host is used.
func (b *Base) Init(name string, addr netip.Addr, d *Directory, w Wire) {
	b.name, b.addr, b.directory, b.wire = name, addr, d, w
}

// Name implements Host.
func (b *Base) Name() string { return b.name }

// Addr implements Host.
func (b *Base) Addr() netip.Addr { return b.addr }

// SetCapture implements Host.
func (b *Base) SetCapture(c Capture) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.capture = c
}

// Rules are the capture rules in force; nil: none.
func (b *Base) Rules() Capture {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.capture
}

// Network implements Host.
func (b *Base) Network(uid, gid int) netx.Network { return &network{host: b, uid: uid, gid: gid} }

// network is a host as a process of some user sees it.
type network struct {
	host     *Base
	uid, gid int
}

var _ netx.Network = (*network)(nil)

// process is who asks.
func (n *network) process() Process {
	return Process{Host: n.host.wire, Capture: n.host.Rules(), UID: n.uid, GID: n.gid}
}

// Listen implements netx.Network.
func (n *network) Listen(ctx context.Context, addr string) (net.Listener, error) {
	ip, port, err := n.host.directory.ListenAddr(ctx, n.host.wire, addr)
	if err != nil {
		return nil, OpError("listen", addr, err)
	}
	l, err := n.host.wire.Listen(ctx, ip, port)
	if err != nil {
		return nil, OpError("listen", addr, err)
	}
	return l, nil
}

// LookupHost implements netx.Network.
func (n *network) LookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	return n.host.directory.LookupHost(ctx, n.process(), host)
}

// Dial implements netx.Network. What becomes of an address that does not answer is
// the fabric's affair: see its Connect.
func (n *network) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return n.DialFrom(ctx, netip.Addr{}, addr)
}

// DialFrom implements netx.Network. A source is the host's address or one of
// 127.0.0.0/8; the latter reaches the host itself only.
func (n *network) DialFrom(ctx context.Context, source netip.Addr, addr string) (net.Conn, error) {
	return n.host.directory.Dial(ctx, n.process(), source, addr, func(source netip.Addr, t Target) (net.Conn, error) {
		return n.host.wire.Connect(ctx, source, t)
	})
}
