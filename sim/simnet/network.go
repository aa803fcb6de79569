package simnet

import (
	"context"
	"net"
	"net/netip"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/sim/fabric"
)

// network is a host as a process of some user sees it.
type network struct {
	host     *Host
	uid, gid int
}

var _ netx.Network = (*network)(nil)

// Listen implements netx.Network.
func (n *network) Listen(ctx context.Context, addr string) (net.Listener, error) {
	ip, port, err := n.host.net.ListenAddr(ctx, n.host, addr)
	if err != nil {
		return nil, fabric.OpError("listen", addr, err)
	}
	l, err := n.host.listen(ip, port)
	if err != nil {
		return nil, fabric.OpError("listen", addr, err)
	}
	return l, nil
}

// LookupHost implements netx.Network. Names cost no time.
func (n *network) LookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	return n.host.net.LookupHost(ctx, n.host, host)
}

// Dial implements netx.Network. Without a deadline, an address that does not
// answer fails after 127 s, as in Linux.
func (n *network) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return n.DialFrom(ctx, netip.Addr{}, addr)
}

// DialFrom implements netx.Network. A source is the host's address or one of 127.0.0.0/8; the
// latter reaches the host itself only.
func (n *network) DialFrom(ctx context.Context, source netip.Addr, addr string) (net.Conn, error) {
	p := fabric.Process{Host: n.host, Capture: n.host.rules(), UID: n.uid, GID: n.gid}
	return n.host.net.Directory.Dial(ctx, p, source, addr, func(source netip.Addr, t fabric.Target) (net.Conn, error) {
		return n.host.dial(ctx, source, t)
	})
}

// dial opens a connection and waits for it.
func (h *Host) dial(ctx context.Context, source netip.Addr, t fabric.Target) (net.Conn, error) {
	shake, err := h.open(source, t)
	if err != nil {
		return nil, err
	}
	shake.sendSYN()
	select {
	case err = <-shake.result:
	case <-ctx.Done():
		if err = shake.abandon(ctx.Err()); err == nil {
			_ = shake.client.Close()
			err = ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	return shake.client, nil
}
