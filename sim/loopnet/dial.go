package loopnet

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/sim/fabric"
)

// Connect implements fabric.Wire. An address without a host is unreachable at once
// (EHOSTUNREACH): nobody wants to wait for it in real time. A source of 127.0.0.0/8 is
// what the accepting end sees, though the socket has the host's address.
func (h *Host) Connect(ctx context.Context, source netip.Addr, t fabric.Target) (net.Conn, error) {
	peer, to, original := h, t.To, t.OriginalDst
	if !fabric.Local(h, to.Addr()) {
		if peer = h.net.hostAt(to.Addr()); peer == nil {
			return nil, os.NewSyscallError("connect", syscall.EHOSTUNREACH)
		}
		if rules := peer.Rules(); rules != nil {
			// The source has no port yet; rules do not match on it.
			v := rules.Prerouting(capture.Packet{Source: netip.AddrPortFrom(source, 0), Destination: to})
			if v.Redirect != 0 {
				original, to = to, netip.AddrPortFrom(to.Addr(), v.Redirect)
			}
		}
	}
	real, ok := peer.reach(to)
	if !ok {
		return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	c := &conn{host: h, remote: tcpAddr(t.Dialled), dialler: true}
	err := c.connect(ctx, real, func(port uint16) arrival {
		from := netip.AddrPortFrom(source, port)
		c.local = tcpAddr(from)
		return arrival{local: to, remote: from, original: original}
	})
	if err != nil {
		return nil, err
	}
	if err := h.keep(c); err != nil {
		h.net.retract(c.flow)
		return nil, err
	}
	return c, nil
}

// connect binds, announces the flow, and only then connects: so the accepting end
// finds it. A port that is still in use with that listener is left for another.
func (c *conn) connect(ctx context.Context, real netip.AddrPort, describe func(port uint16) arrival) error {
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) {
			c.flow, err = bind(int(fd), c.host.mapped)
		}); e != nil {
			return e
		}
		if err != nil {
			return err
		}
		c.flow.to = real
		c.host.net.announce(c.flow, describe(c.flow.from.Port()))
		return nil
	}}
	d.SetMultipathTCP(false)
	const attempts = 5
	for i := 1; ; i++ {
		tcp, err := d.DialContext(ctx, "tcp4", real.String())
		if err == nil {
			c.TCPConn = tcp.(*net.TCPConn)
			return nil
		}
		if c.flow.from.IsValid() {
			c.host.net.retract(c.flow)
		}
		if i == attempts || !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return inner(err)
		}
	}
}

// inner is an error without its net.OpError, which names the real address.
func inner(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// bind gives a socket the host's address and a port. SO_REUSEADDR is for ports in
// TIME_WAIT, of which a dialler that closes first leaves many.
func bind(fd int, addr netip.Addr) (flow, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return flow{}, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: addr.As4()}); err != nil {
		return flow{}, os.NewSyscallError("bind", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return flow{}, os.NewSyscallError("getsockname", err)
	}
	in4, ok := name.(*unix.SockaddrInet4)
	if !ok {
		return flow{}, os.NewSyscallError("getsockname", syscall.EAFNOSUPPORT)
	}
	return flow{from: netip.AddrPortFrom(addr, uint16(in4.Port))}, nil
}

// conn is a socket with the addresses that the host sees. What *net.TCPConn can do, it
// can do.
type conn struct {
	*net.TCPConn
	host          *Host
	local, remote *net.TCPAddr
	original      netip.AddrPort
	dialler       bool
	flow          flow // of the dialler
}

var _ netx.Redirected = (*conn)(nil)

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// OriginalDst implements netx.Redirected.
func (c *conn) OriginalDst() (netip.AddrPort, bool) { return c.original, c.original.IsValid() }

// ReadFrom implements io.ReaderFrom, so that the kernel splices socket to socket.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if peer, ok := r.(*conn); ok {
		r = peer.TCPConn
	}
	return c.TCPConn.ReadFrom(r)
}

// WriteTo implements io.WriterTo, for the same.
func (c *conn) WriteTo(w io.Writer) (int64, error) {
	if peer, ok := w.(*conn); ok {
		w = peer.TCPConn
	}
	return c.TCPConn.WriteTo(w)
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.host.forget(c)
	if c.dialler {
		c.host.net.retract(c.flow) // where nobody accepted it
	}
	return c.TCPConn.Close()
}
