package netx

import (
	"io"
	"net"
)

// socket makes a Socket where a connection is TCP's.
func socket(c net.Conn, err error) (net.Conn, error) {
	if tcp, ok := c.(*net.TCPConn); ok && err == nil {
		return NewSocket(tcp), nil
	}
	return c, err
}

// sockets is a listener that accepts Sockets.
type sockets struct{ net.Listener }

// Accept implements net.Listener.
func (l sockets) Accept() (net.Conn, error) { return socket(l.Listener.Accept()) }

// ReadFrom implements io.ReaderFrom, so that the kernel splices socket to socket.
func (s *Socket) ReadFrom(r io.Reader) (int64, error) {
	if peer, ok := r.(*Socket); ok {
		r = peer.TCPConn
	}
	return s.TCPConn.ReadFrom(r)
}

// WriteTo implements io.WriterTo, for the same.
func (s *Socket) WriteTo(w io.Writer) (int64, error) {
	if peer, ok := w.(*Socket); ok {
		w = peer.TCPConn
	}
	return s.TCPConn.WriteTo(w)
}
