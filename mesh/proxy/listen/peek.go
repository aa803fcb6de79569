package listen

import (
	"io"
	"net"
)

// peekConn is a connection whose first bytes can be looked at before they are read.
// Looking is for one goroutine, before the connection is handed on.
type peekConn struct {
	net.Conn
	ahead []byte
}

// more reads once and returns all that came so far.
func (c *peekConn) more() ([]byte, error) {
	if len(c.ahead) == cap(c.ahead) {
		c.ahead = append(make([]byte, 0, max(2*cap(c.ahead), 1024)), c.ahead...)
	}
	n, err := c.Conn.Read(c.ahead[len(c.ahead):cap(c.ahead)])
	c.ahead = c.ahead[:len(c.ahead)+n]
	if n > 0 {
		return c.ahead, nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return c.ahead, err
}

// Read implements io.Reader.
func (c *peekConn) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
			c.ahead = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

// CloseWrite passes a half-close on where the connection knows it.
func (c *peekConn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return c.Conn.Close()
}
