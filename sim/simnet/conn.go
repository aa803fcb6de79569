package simnet

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
)

// Conn is one end of a connection. Besides net.Conn it has CloseWrite, as TCP has.
type Conn struct {
	host          *Host
	in, out       *stream
	local, remote *net.TCPAddr
	original      netip.AddrPort // what was dialled, where a rule redirected it
	dialler       bool
}

var (
	_ net.Conn        = (*Conn)(nil)
	_ netx.Redirected = (*Conn)(nil)
)

// OriginalDst implements netx.Redirected.
func (c *Conn) OriginalDst() (netip.AddrPort, bool) { return c.original, c.original.IsValid() }

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn. For the dialler it is what was dialled, whatever
// rules and services made of it.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.get(p)
	if err != nil && err != io.EOF {
		err = c.wrap("read", err)
	}
	return n, err
}

func (s *stream) get(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.noReader:
			return 0, net.ErrClosed
		case s.reader.expired:
			return 0, os.ErrDeadlineExceeded
		case s.arrived > s.read:
			n := copy(p, s.buf[s.read:s.arrived])
			s.read += n
			if s.full && !s.opening && s.room() >= reopens {
				s.opening = true
				s.schedule(s.back.route.latency, fWindow)
			}
			return n, nil
		case s.readErr != nil:
			return 0, s.readErr
		case s.fin:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		s.readable.Wait()
	}
}

// Write implements net.Conn. It returns when the peer's window has taken everything.
func (c *Conn) Write(p []byte) (int, error) {
	if c.host.dead.Load() {
		return 0, c.wrap("write", syscall.ECONNRESET)
	}
	n, err := c.out.write(p)
	if err != nil {
		err = c.wrap("write", err)
	}
	return n, err
}

func (s *stream) write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.writing { // Writes of several goroutines do not mix
		if err := s.broken(); err != nil {
			return 0, err
		}
		s.writable.Wait()
	}
	for {
		if err := s.broken(); err != nil {
			return n, err
		}
		if n == len(p) {
			return n, nil
		}
		room := s.room()
		if s.full = s.full || room == 0; s.full {
			s.await()
			continue
		}
		size := min(len(p)-n, maxSegment, room)
		s.put(p[n : n+size])
		s.transmit(size, 0)
		n += size
	}
}

// await waits for the window's update, or for what ends the wait, as the only Write.
func (s *stream) await() {
	s.writing = true
	for s.full && s.broken() == nil {
		s.writable.Wait()
	}
	s.writing = false
	s.writable.Broadcast()
}

func (s *stream) broken() error {
	switch {
	case s.noWriter:
		return net.ErrClosed
	case s.writer.expired:
		return os.ErrDeadlineExceeded
	case s.writeErr != nil:
		return s.writeErr
	case s.finSent:
		return syscall.EPIPE
	}
	return nil
}

// CloseWrite ends the stream to the peer, which can still send.
func (c *Conn) CloseWrite() error {
	if c.host.dead.Load() {
		return c.wrap("close", syscall.ENOTCONN)
	}
	s := c.out
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.noWriter:
		return c.wrap("close", net.ErrClosed)
	case s.writeErr != nil:
		return c.wrap("close", syscall.ENOTCONN)
	case !s.finSent:
		s.finSent = true
		s.transmit(0, fFIN)
		s.writable.Broadcast()
	}
	return nil
}

// Close implements net.Conn. As in TCP, unread data makes it a reset.
func (c *Conn) Close() error {
	if c.host.dead.Load() {
		return nil // abort closes it
	}
	in, out := c.in, c.out
	in.mu.Lock()
	if in.noReader {
		in.mu.Unlock()
		return c.wrap("close", net.ErrClosed)
	}
	in.noReader = true
	unread := in.arrived > in.read
	in.rejecting = unread
	in.read = in.arrived
	in.reader.clear()
	in.readable.Broadcast()
	in.mu.Unlock()

	how := "fin"
	out.mu.Lock()
	out.noWriter = true
	out.writer.clear()
	switch {
	case out.writeErr != nil:
		how = "after a reset"
	case unread:
		how = "rst"
		out.transmit(0, fRST)
	case !out.finSent:
		out.transmit(0, fFIN)
	}
	out.finSent = true
	out.writable.Broadcast()
	out.mu.Unlock()
	c.host.forget(c)
	c.traceClose(how)
	return nil
}

// abort takes the end down with its host: the peer gets a reset.
func (c *Conn) abort() {
	c.out.mu.Lock()
	if c.out.writeErr == nil && !c.out.noWriter {
		c.out.held = false
		c.out.transmit(0, fRST)
	}
	c.out.mu.Unlock()
	breakEnd(c.in, c.out, syscall.ECONNRESET)
	c.host.forget(c)
	c.traceClose("abort")
}

func (c *Conn) traceClose(how string) {
	if t := c.host.net.o.Trace; t != nil {
		side := "listener"
		if c.dialler {
			side = "dialler"
		}
		t.Add("conn-close", c.in.link, side+" "+how)
	}
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	s := c.in
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noReader {
		return c.wrap("set", net.ErrClosed)
	}
	s.reader.set(t, &s.readable)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	s := c.out
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noWriter {
		return c.wrap("set", net.ErrClosed)
	}
	s.writer.set(t, &s.writable)
	return nil
}

func (c *Conn) wrap(op string, err error) error {
	if errno, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

// deadline is guarded by the lock of the condition that it wakes.
type deadline struct {
	expired bool
	timer   *time.Timer
}

func (d *deadline) clear() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.expired = false
}

func (d *deadline) set(t time.Time, wake *sync.Cond) {
	d.clear()
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		d.expired = true
		wake.Broadcast()
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(left, func() {
		wake.L.Lock()
		defer wake.L.Unlock()
		if d.timer == timer { // not replaced meanwhile
			d.expired = true
			wake.Broadcast()
		}
	})
	d.timer = timer
}
