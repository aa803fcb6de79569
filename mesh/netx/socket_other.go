//go:build !linux

package netx

import "net"

// Socket is a TCP socket.
type Socket struct{ *net.TCPConn }

// NewSocket makes a Socket of a connection.
func NewSocket(c *net.TCPConn) *Socket { return &Socket{TCPConn: c} }
