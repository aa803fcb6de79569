package simnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
)

// network is a host as a process of some user sees it.
type network struct {
	host     *Host
	uid, gid int
}

var _ netx.Network = (*network)(nil)

// Listen implements netx.Network.
func (n *network) Listen(ctx context.Context, addr string) (net.Listener, error) {
	host, port, err := splitHostPort(addr)
	if err != nil {
		return nil, opError("listen", addr, err)
	}
	var ip netip.Addr
	if host != "" {
		ips, err := n.LookupHost(ctx, host)
		if err != nil {
			return nil, opError("listen", addr, err)
		}
		ip = ips[0]
	}
	l, err := n.host.listen(netip.AddrPortFrom(ip, port))
	if err != nil {
		return nil, opError("listen", addr, err)
	}
	return l, nil
}

// LookupHost implements netx.Network. Names cost no time.
func (n *network) LookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip.Unmap()}, nil
	}
	if host == "localhost" {
		return []netip.Addr{localhost}, nil
	}
	n.host.net.mu.Lock()
	resolve := n.host.net.resolver
	n.host.net.mu.Unlock()
	if resolve == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	ips, err := resolve(n.host, host)
	if err == nil && len(ips) == 0 {
		err = &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return ips, err
}

// Dial implements netx.Network. Without a deadline, an address that does not
// answer fails after 127 s, as in Linux.
func (n *network) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return n.DialFrom(ctx, netip.Addr{}, addr)
}

// DialFrom implements netx.Network. A source is the host's address or one of 127.0.0.0/8; the
// latter reaches the host itself only.
func (n *network) DialFrom(ctx context.Context, source netip.Addr, addr string) (net.Conn, error) {
	host, port, err := splitHostPort(addr)
	if err != nil {
		return nil, opError("dial", addr, err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	ips, err := n.LookupHost(ctx, host)
	if err != nil {
		return nil, opError("dial", addr, err)
	}
	var errs []error
	for _, ip := range ips {
		dst := netip.AddrPortFrom(ip.Unmap(), port)
		if ip.IsUnspecified() {
			dst = netip.AddrPortFrom(localhost, port)
		}
		c, err := n.dial(ctx, source.Unmap(), dst)
		if err == nil {
			return c, nil
		}
		errs = append(errs, opError("dial", dst.String(), err))
		if ctx.Err() != nil {
			break
		}
	}
	if len(errs) == 1 {
		return nil, errs[0]
	}
	return nil, errors.Join(errs...)
}

// dial opens a connection to an address as the host's rules and services have it.
func (n *network) dial(ctx context.Context, source netip.Addr, dst netip.AddrPort) (*Conn, error) {
	h := n.host
	source, err := h.source(source, dst.Addr())
	if err != nil {
		return nil, err
	}
	t := target{dialled: dst, to: dst}
	if err := t.apply(n, source); err != nil {
		return nil, err
	}
	if source.IsLoopback() && !h.local(t.to.Addr()) {
		return nil, os.NewSyscallError("connect", syscall.EINVAL)
	}
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

// target is where a dialled address leads.
type target struct {
	dialled  netip.AddrPort
	to       netip.AddrPort
	original netip.AddrPort // dialled, where a rule of Output redirected it
	how      string         // for the trace
}

// apply asks the rules of Output, then the services. Both see the connection
// before it has a port, as ours do not match on that.
func (t *target) apply(n *network, source netip.Addr) error {
	h := n.host
	if rules := h.rules(); rules != nil {
		v := rules.Output(capture.Packet{
			UID: n.uid, GID: n.gid, Source: netip.AddrPortFrom(source, 0), Destination: t.dialled,
			Loopback: h.local(t.dialled.Addr()),
		})
		if v.Redirect != 0 {
			t.original = t.dialled
			t.to = netip.AddrPortFrom(localhost, v.Redirect)
			t.how = fmt.Sprintf(" redirected to %s", t.to)
			return nil
		}
	}
	h.net.mu.Lock()
	service := h.net.service
	h.net.mu.Unlock()
	if service == nil {
		return nil
	}
	endpoint, ok, err := service(h, t.dialled)
	if err != nil {
		return fmt.Errorf("%w: %w", os.NewSyscallError("connect", syscall.ECONNREFUSED), err)
	}
	if ok {
		t.to = netip.AddrPortFrom(endpoint.Addr().Unmap(), endpoint.Port())
		t.how = fmt.Sprintf(" by service to %s", t.to)
	}
	return nil
}

// local tells whether an address is reached by loopback.
func (h *Host) local(addr netip.Addr) bool { return addr == h.addr || addr.IsLoopback() }

// source is the local address of a connection to dst.
func (h *Host) source(asked, dst netip.Addr) (netip.Addr, error) {
	switch {
	case !asked.IsValid() || asked.IsUnspecified():
		if dst.IsLoopback() && dst.Is6() {
			return netip.IPv6Loopback(), nil
		}
		if dst.IsLoopback() {
			return localhost, nil
		}
		return h.addr, nil
	case h.local(asked):
		return asked, nil
	}
	return asked, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
}

func splitHostPort(addr string) (string, uint16, error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, &net.AddrError{Err: "invalid port", Addr: addr}
	}
	return host, uint16(port), nil
}

// opError is the error of an operation that has no connection yet.
func opError(op, addr string, err error) error {
	e := &net.OpError{Op: op, Net: "tcp", Err: err}
	if ap, parseErr := netip.ParseAddrPort(addr); parseErr == nil {
		e.Addr = net.TCPAddrFromAddrPort(ap)
	}
	return e
}
