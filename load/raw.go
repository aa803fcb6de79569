package load

import (
	"bytes"
	"errors"
	"fmt"
	"net"
)

// raw makes a call of TCP: a connection of its own, on which the body goes out and its
// end after it (unless the target keeps it open); the answer is all that comes back until the peer's end.
func raw(c *caller, r *Record) (answered bool, err error) {
	conn := c.conn
	r.ID, r.Protocol = FlowID(conn.LocalAddr()), "TCP"
	defer c.close()
	written := make(chan error, 1)
	body := c.request.target.Body
	if n := c.request.target.Filler; n > 0 && n <= inlineBody {
		body = bytes.Repeat(filler, int(n))
	}
	send := func() error {
		if _, err := conn.Write(body); err != nil {
			return err
		}
		if n := c.request.target.Filler; n > inlineBody {
			if err := fill(conn, n); err != nil {
				return err
			}
		}
		if c.request.target.KeepOpen {
			return nil
		}
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			return half.CloseWrite()
		}
		return errors.New("the connection cannot end one way only")
	}
	if c.request.target.size() <= inlineBody {
		written <- send()
	} else {
		go func() { written <- send() }()
	}
	kept, err := c.take(r, conn)
	conn.Close()
	<-written // a peer that does not read on has answered nonetheless
	switch {
	case err != nil:
		return r.Bytes > 0, err
	case r.Bytes == 0:
		return false, errNoByte
	}
	c.keep(r, nil, kept)
	return true, nil
}

// FlowID stands for the request id where there are no headers to carry one: proxies
// know a connection by its client's address.
func FlowID(client net.Addr) string { return fmt.Sprintf("tcp %v", client) }
