package fabric

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
)

// Directory is what a fabric was told about names and services, and the way that a
// dialled address takes through them and a host's capture rules. Both fabrics embed it. The
// zero value knows nothing.
type Directory struct {
	mu       sync.Mutex
	resolver func(Process, string) ([]netip.Addr, error)
	service  func(Host, netip.AddrPort) (netip.AddrPort, bool, error)
}

// Process is who dials.
type Process struct {
	Host     Host
	Capture  Capture // the host's rules; nil: none
	UID, GID int
}

// Target is where a dialled address leads.
type Target struct {
	Dialled netip.AddrPort
	// To is the address after the rules of Output, or the service's endpoint.
	To netip.AddrPort
	// OriginalDst is Dialled where a rule of Output redirected it; not valid otherwise.
	OriginalDst netip.AddrPort
	// How says what was done, for traces; empty where To is Dialled.
	How string
}

// Localhost is 127.0.0.1.
func Localhost() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

// Local tells whether a host reaches an address by loopback.
func Local(h Host, addr netip.Addr) bool { return addr == h.Addr() || addr.IsLoopback() }

// SetResolver implements Fabric.
func (d *Directory) SetResolver(f func(from Process, name string) ([]netip.Addr, error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resolver = f
}

// SetServiceAddress implements Fabric.
func (d *Directory) SetServiceAddress(f func(from Host, dst netip.AddrPort) (netip.AddrPort, bool, error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.service = f
}

// LookupHost resolves a name as seen from a process. Literals are themselves; what is
// not known is a *net.DNSError.
func (d *Directory) LookupHost(ctx context.Context, from Process, name string) ([]netip.Addr, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{ip.Unmap()}, nil
	}
	if name == "localhost" {
		return []netip.Addr{Localhost()}, nil
	}
	d.mu.Lock()
	resolve := d.resolver
	d.mu.Unlock()
	if resolve != nil {
		if ips, err := resolve(from, name); err != nil || len(ips) > 0 {
			return ips, err
		}
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// ListenAddr resolves the address that a host is to listen on. The address is not
// valid where all are meant; one that is not the host's is EADDRNOTAVAIL.
func (d *Directory) ListenAddr(ctx context.Context, h Host, addr string) (netip.Addr, uint16, error) {
	name, port, err := splitHostPort(addr)
	if err != nil || name == "" {
		return netip.Addr{}, port, err
	}
	ips, err := d.LookupHost(ctx, Process{Host: h}, name)
	switch {
	case err != nil:
		return netip.Addr{}, 0, err
	case ips[0].IsUnspecified():
		return netip.Addr{}, port, nil
	case !Local(h, ips[0]):
		return netip.Addr{}, 0, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
	}
	return ips[0], port, nil
}

// Dial finds where an address leads and has open connect there, for one address
// of a name after the other. The source given to open is that of the connection.
func (d *Directory) Dial(ctx context.Context, p Process, source netip.Addr, addr string,
	open func(source netip.Addr, t Target) (net.Conn, error)) (net.Conn, error) {
	name, port, err := splitHostPort(addr)
	if err != nil {
		return nil, OpError("dial", addr, err)
	}
	if name == "" {
		name = "localhost"
	}
	ips, err := d.LookupHost(ctx, p, name)
	if err != nil {
		return nil, OpError("dial", addr, err)
	}
	var errs []error
	for _, ip := range ips {
		if ip.IsUnspecified() {
			ip = Localhost()
		}
		dst := netip.AddrPortFrom(ip.Unmap(), port)
		c, err := d.dial(p, source.Unmap(), dst, open)
		if err == nil {
			return c, nil
		}
		errs = append(errs, OpError("dial", dst.String(), err))
		if ctx.Err() != nil {
			break
		}
	}
	if len(errs) == 1 {
		return nil, errs[0]
	}
	return nil, errors.Join(errs...)
}

func (d *Directory) dial(p Process, source netip.Addr, dst netip.AddrPort,
	open func(netip.Addr, Target) (net.Conn, error)) (net.Conn, error) {
	source, err := sourceFor(p.Host, source, dst.Addr())
	if err != nil {
		return nil, err
	}
	t, err := d.target(p, source, dst)
	if err != nil {
		return nil, err
	}
	if source.IsLoopback() && !Local(p.Host, t.To.Addr()) {
		return nil, os.NewSyscallError("connect", syscall.EINVAL) // as Linux has it
	}
	return open(source, t)
}

// target asks the rules of Output, then the services. The rules see the
// connection before it has a port, as they do not match on that.
func (d *Directory) target(p Process, source netip.Addr, dst netip.AddrPort) (Target, error) {
	t := Target{Dialled: dst, To: dst}
	if p.Capture != nil {
		v := p.Capture.Output(capture.Packet{
			UID: p.UID, GID: p.GID, Source: netip.AddrPortFrom(source, 0), Destination: dst,
			Loopback: Local(p.Host, dst.Addr()),
		})
		if v.Redirect != 0 {
			t.OriginalDst, t.To = dst, netip.AddrPortFrom(Localhost(), v.Redirect)
			t.How = fmt.Sprintf(" redirected to %s", t.To)
			return t, nil
		}
	}
	d.mu.Lock()
	service := d.service
	d.mu.Unlock()
	if service == nil {
		return t, nil
	}
	endpoint, ok, err := service(p.Host, dst)
	if err != nil {
		return t, fmt.Errorf("%w: %w", os.NewSyscallError("connect", syscall.ECONNREFUSED), err)
	}
	if ok {
		t.To = netip.AddrPortFrom(endpoint.Addr().Unmap(), endpoint.Port())
		t.How = fmt.Sprintf(" by service to %s", t.To)
	}
	return t, nil
}

// sourceFor is the local address of a connection to dst.
func sourceFor(h Host, asked, dst netip.Addr) (netip.Addr, error) {
	switch {
	case asked.IsValid() && !asked.IsUnspecified():
		if !Local(h, asked) {
			return asked, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
		}
		return asked, nil
	case dst.IsLoopback() && dst.Is6():
		return netip.IPv6Loopback(), nil
	case dst.IsLoopback():
		return Localhost(), nil
	}
	return h.Addr(), nil
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

// OpError is the error of an operation that has no connection yet, as package net's.
func OpError(op, addr string, err error) error {
	e := &net.OpError{Op: op, Net: "tcp", Err: err}
	if ap, parseErr := netip.ParseAddrPort(addr); parseErr == nil {
		e.Addr = net.TCPAddrFromAddrPort(ap)
	}
	return e
}
