package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
)

// Network is a netx.Network whose sockets a broker opens.
type Network struct {
	path string
}

var _ netx.Network = (*Network)(nil)

// New returns the network of the broker that listens on a Unix socket.
func New(path string) *Network { return &Network{path: path} }

// ask opens a connection to the broker and asks; the caller closes it.
func (n *Network) ask(ctx context.Context, q question) (c *net.UnixConn, a answer, file *os.File, err error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unixpacket", n.path)
	if err != nil {
		return nil, a, nil, fmt.Errorf("the broker of this process' network: %w", err)
	}
	c = conn.(*net.UnixConn)
	stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // the broker sees it and gives up
	err = write(c, q, nil)
	if err == nil {
		file, err = read(c, &a)
	}
	if !stop() && err != nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = a.err()
	}
	if err == nil && file == nil && (q.Op == opDial || q.Op == opListen) {
		err = errors.New("the broker gave no socket")
	}
	if err != nil {
		_ = c.Close()
		return nil, a, nil, err
	}
	return c, a, file, nil
}

// Dial implements netx.Network.
func (n *Network) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return n.DialFrom(ctx, netip.Addr{}, addr)
}

// DialFrom implements netx.Network.
func (n *Network) DialFrom(ctx context.Context, source netip.Addr, addr string) (net.Conn, error) {
	c, a, file, err := n.ask(ctx, question{Op: opDial, Addr: addr, Source: source})
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	_ = c.Close()
	defer file.Close()
	socket, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	return newConn(socket, a.Flow), nil
}

// LookupHost implements netx.Network.
func (n *Network) LookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	c, a, _, err := n.ask(ctx, question{Op: opLookup, Addr: host})
	if err != nil {
		return nil, err
	}
	return a.Addrs, c.Close()
}

// Listen implements netx.Network.
func (n *Network) Listen(ctx context.Context, addr string) (net.Listener, error) {
	c, a, file, err := n.ask(ctx, question{Op: opListen, Addr: addr})
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: err}
	}
	defer file.Close()
	socket, err := net.FileListener(file)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return &listener{Listener: socket, network: n, lease: c, addr: net.TCPAddrFromAddrPort(a.Flow.Local)}, nil
}

// listener accepts on a socket of the broker's.
type listener struct {
	net.Listener
	network *Network
	lease   *net.UnixConn // its end tells the broker that the port is free
	addr    net.Addr
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.addr }

// Accept implements net.Listener. The broker knows what the dialler did.
func (l *listener) Accept() (net.Conn, error) {
	socket, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c, a, _, err := l.network.ask(context.Background(), question{Op: opAccepted, From: netx.AddrPort(socket.RemoteAddr()), To: netx.AddrPort(socket.LocalAddr())})
	if err != nil {
		_ = socket.Close()
		return nil, err
	}
	_ = c.Close()
	return newConn(socket, a.Flow), nil
}

// Close implements net.Listener.
func (l *listener) Close() error {
	return errors.Join(l.Listener.Close(), l.lease.Close())
}

// conn is a socket with the addresses that the host sees.
type conn struct {
	*netx.Socket
	local, remote net.Addr
	original      netip.AddrPort
}

var _ netx.Redirected = (*conn)(nil)

func newConn(socket net.Conn, f Flow) *conn {
	return &conn{Socket: netx.NewSocket(socket.(*net.TCPConn)), local: net.TCPAddrFromAddrPort(f.Local), remote: net.TCPAddrFromAddrPort(f.Remote), original: f.Original}
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// OriginalDst implements netx.Redirected.
func (c *conn) OriginalDst() (netip.AddrPort, bool) { return c.original, c.original.IsValid() }

// ReadFrom implements io.ReaderFrom, so that the kernel splices socket to socket.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if peer, ok := r.(*conn); ok {
		r = peer.Socket
	}
	return c.Socket.ReadFrom(r)
}

// WriteTo implements io.WriterTo, for the same.
func (c *conn) WriteTo(w io.Writer) (int64, error) {
	if peer, ok := w.(*conn); ok {
		w = peer.Socket
	}
	return c.Socket.WriteTo(w)
}
