package router

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// replayLimit is how much of a request's body is kept for retries, as
// Envoy's buffer limit (whose default is 1 MiB) bounds it there.
const replayLimit = 64 << 10

// content is the body of a request over all its tries. A short one of known length is
// read before the first try; others stream, and are kept as long as they are short.
type content struct {
	source  message.Body // nil: none, or read already
	whole   []byte       // of a short one
	trailer message.Header
	inHand  bool // whole has all of it
	keep    bool
	kept    []byte
	over    bool        // too long to be kept
	ended   atomic.Bool // the upload has come to the end of source
	started bool
	moved   func()    // what to do when a piece went through; nil: nothing
	leave   chan bool // of the server to send the body, for "Expect: 100-continue"; nil: not needed
	began   bool      // the wait for that is over
	copies  []*copied // for mirrors, while it streams
}

// continueWait is how long a body is held back for the server's "100 Continue". A
// client need not wait longer, and there are servers that never say it.
const continueWait = time.Second

// read reads what is short. An error is the client's.
func (c *content) read(r *message.Request, keep bool) error {
	c.source, c.keep = r.Body, keep
	if r.Body == nil {
		c.inHand = true
		return nil
	}
	if r.ContentLength < 0 || r.ContentLength > replayLimit || r.Header.Has("expect") || r.Continue != nil || r.Upgrade != "" {
		if r.Continue != nil && r.Header.Has("expect") {
			c.leave = make(chan bool, 1)
		}
		return nil
	}
	c.whole = make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, c.whole); err != nil {
		return gone()
	}
	if n, err := r.Body.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) { // notices its end
		return gone()
	}
	c.trailer, c.inHand, c.source = r.Body.Trailer(), true, nil
	return nil
}

// complete tells whether all of the request has come.
func (c *content) complete() bool { return c.inHand || c.ended.Load() }

// permit gives or refuses leave to send the body.
func (c *content) permit(send bool) {
	select {
	case c.leave <- send:
	default: // not needed, or given already
	}
}

// uploads tells whether the next try has to upload the body while the answer may come.
func (c *content) uploads() bool { return !c.inHand && !c.started }

// canReplay tells whether another try could send the body again. What streams can be
// sent again once all of it came and was short.
func (c *content) canReplay() bool {
	return c.inHand || !c.started || c.keep && c.ended.Load() && !c.over
}

// cut gives up the mirrors of a body that is not going to be complete.
func (c *content) cut() {
	for _, m := range c.copies {
		m.end(errCut, nil)
	}
}

// body is what a try sends.
func (c *content) body() message.Body {
	switch {
	case c.inHand && c.whole == nil:
		return nil
	case c.inHand:
		return message.NewBytes(c.whole, c.trailer)
	case c.started: // and has ended: canReplay said so
		return message.NewBytes(c.kept, c.source.Trailer())
	default:
		c.started = true
		return (*upload)(c)
	}
}

// upload is the streaming source; it keeps what goes through.
type upload content

// Read implements io.Reader.
func (u *upload) Read(p []byte) (int, error) {
	if u.leave != nil && !u.mayBegin() {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := u.source.Read(p)
	if u.moved != nil {
		u.moved()
	}
	if u.keep && !u.over {
		if len(u.kept)+n > replayLimit {
			u.over, u.kept = true, nil
		} else {
			u.kept = append(u.kept, p[:n]...)
		}
	}
	for _, c := range u.copies {
		c.add(p[:n])
	}
	if err == io.EOF {
		u.ended.Store(true)
		for _, c := range u.copies {
			c.end(io.EOF, u.source.Trailer())
		}
	}
	return n, err
}

// mayBegin waits for leave. Reading the source would make the client send.
func (u *upload) mayBegin() bool {
	if u.began {
		return true
	}
	u.began = true
	timer := time.NewTimer(continueWait)
	defer timer.Stop()
	select {
	case send := <-u.leave:
		return send
	case <-timer.C:
		return true
	}
}

// Ready implements message.ReadyBody.
func (u *upload) Ready() bool { return (u.leave == nil || u.began) && message.Ready(u.source) }

// Close does nothing: the source belongs to whoever made the request.
func (u *upload) Close() error { return nil }

// Trailer implements message.Body.
func (u *upload) Trailer() message.Header { return u.source.Trailer() }
