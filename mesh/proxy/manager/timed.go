package manager

import (
	"net"
	"sync/atomic"
	"time"
)

// timedConn is a connection whose read deadline is cheap to move: a later one is only
// noted, and looked at when the earlier one fires. It also answers "Expect:
// 100-continue" when somebody first waits for a body.
type timedConn struct {
	net.Conn
	readBy   atomic.Int64 // Unix nanoseconds; 0: none
	armed    atomic.Int64 // what the connection was told
	aborted  atomic.Bool
	expects  atomic.Bool  // the client waits for a 100
	base     time.Time    // of activity
	activity atomic.Int64 // the last read or write, in nanoseconds since base
	clocked  bool         // note that
}

// Read implements io.Reader.
func (c *timedConn) Read(p []byte) (int, error) {
	if c.expects.Load() {
		c.sendContinue()
	}
	for {
		n, err := c.Conn.Read(p)
		if n > 0 {
			c.touch()
			return n, nil
		}
		if t, ok := err.(net.Error); !ok || !t.Timeout() || c.aborted.Load() {
			return n, err
		}
		by := c.readBy.Load()
		if by != 0 && time.Now().UnixNano() >= by {
			return n, err
		}
		c.arm(by)
		if c.aborted.Load() {
			return n, err
		}
	}
}

// Write implements io.Writer.
func (c *timedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.touch()
	return n, err
}

// WriteBuffers writes several pieces, with one system call where that can be.
func (c *timedConn) WriteBuffers(pieces *net.Buffers) (int64, error) {
	n, err := pieces.WriteTo(c.Conn)
	c.touch()
	return n, err
}

func (c *timedConn) touch() {
	if c.clocked {
		c.note(time.Since(c.base))
	}
}

func (c *timedConn) note(at time.Duration) { c.activity.Store(int64(at)) }

// active is when the last byte went either way.
func (c *timedConn) active() time.Time { return c.base.Add(time.Duration(c.activity.Load())) }

func (c *timedConn) arm(by int64) {
	c.armed.Store(by)
	var t time.Time
	if by != 0 {
		t = time.Unix(0, by)
	}
	_ = c.Conn.SetReadDeadline(t) // fails on a closed connection only, where reading fails too
}

// setReadBy sets when reads give up; the zero time is never.
func (c *timedConn) setReadBy(t time.Time) {
	by := int64(0)
	if !t.IsZero() {
		by = t.UnixNano()
	}
	c.readBy.Store(by)
	if armed := c.armed.Load(); by != 0 && (armed == 0 || by < armed) {
		c.arm(by)
	}
}

// abort makes reads, those in progress too, return at once, until resume.
func (c *timedConn) abort() {
	c.aborted.Store(true)
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
}

func (c *timedConn) resume() {
	c.aborted.Store(false)
	c.arm(c.readBy.Load())
}

// sendContinue lets the client send its body, once.
func (c *timedConn) sendContinue() {
	if c.expects.CompareAndSwap(true, false) {
		_, _ = c.Conn.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n")) // a broken connection shows at the next read
	}
}
