package router

import (
	"errors"
	"io"
	"sync"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// copyLimit is how far a mirrored request may be behind the one that it is a copy of, in
// bytes: Envoy's default buffer limit.
const copyLimit = 1 << 20

// The ends of a copy that is not complete.
var (
	errBehind = errors.New("the mirror's cluster is too slow for the body that streams")
	errCut    = errors.New("the request that is mirrored was not complete")
)

// copied is the body of a mirrored request whose original streams: what the original's
// upload reads comes here, too. A mirror that is too far behind is given up; it never
// holds the original up.
type copied struct {
	mu      sync.Mutex
	arrived sync.Cond
	pieces  [][]byte
	held    int
	trailer message.Header
	err     error // io.EOF: complete
}

func newCopied() *copied {
	c := &copied{}
	c.arrived.L = &c.mu
	return c
}

// add takes a piece, of which it keeps a copy.
func (c *copied) add(p []byte) {
	if len(p) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return
	case c.held+len(p) > copyLimit:
		c.pieces, c.held, c.err = nil, 0, errBehind
	default:
		c.pieces = append(c.pieces, append([]byte(nil), p...))
		c.held += len(p)
	}
	c.arrived.Broadcast()
}

// end tells that nothing follows; the first end counts.
func (c *copied) end(err error, trailer message.Header) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err, c.trailer = err, trailer
		c.arrived.Broadcast()
	}
}

// Read implements message.Body.
func (c *copied) Read(p []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.pieces) == 0 && c.err == nil {
		c.arrived.Wait()
	}
	for len(c.pieces) > 0 && n < len(p) {
		k := copy(p[n:], c.pieces[0])
		n += k
		if c.pieces[0] = c.pieces[0][k:]; len(c.pieces[0]) == 0 {
			c.pieces[0], c.pieces = nil, c.pieces[1:]
		}
	}
	c.held -= n
	if len(c.pieces) == 0 && c.err != nil {
		return n, c.err
	}
	return n, nil
}

// Ready implements message.ReadyBody.
func (c *copied) Ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pieces) > 0 || c.err != nil
}

// Close implements message.Body: nothing more is kept.
func (c *copied) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pieces, c.held = nil, 0
	if c.err == nil {
		c.err = io.ErrClosedPipe
		c.arrived.Broadcast()
	}
	return nil
}

// Trailer implements message.Body.
func (c *copied) Trailer() message.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trailer
}

var _ message.ReadyBody = (*copied)(nil)
