package router

import (
	"errors"
	"io"
	"sync/atomic"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// replayLimit is how much of a request's body is kept for retries and mirrors, as
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
}

// newContent reads what is short. An error is the client's.
func newContent(r *message.Request, keep bool) (*content, error) {
	c := &content{source: r.Body, keep: keep}
	if r.Body == nil {
		c.inHand = true
		return c, nil
	}
	if r.ContentLength < 0 || r.ContentLength > replayLimit || r.Header.Has("expect") || r.Continue != nil || r.Upgrade != "" {
		return c, nil
	}
	c.whole = make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, c.whole); err != nil {
		return nil, gone()
	}
	if n, err := r.Body.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) { // notices its end
		return nil, gone()
	}
	c.trailer, c.inHand, c.source = r.Body.Trailer(), true, nil
	return c, nil
}

// streams tells whether the body has to be uploaded while the answer may come.
func (c *content) streams() bool { return !c.inHand }

// canReplay tells whether another try could send the body again. What streams can be
// sent again once all of it came and was short.
func (c *content) canReplay() bool {
	return c.inHand || !c.started || c.keep && c.ended.Load() && !c.over
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
	n, err := u.source.Read(p)
	if u.keep && !u.over {
		if len(u.kept)+n > replayLimit {
			u.over, u.kept = true, nil
		} else {
			u.kept = append(u.kept, p[:n]...)
		}
	}
	if err == io.EOF {
		u.ended.Store(true)
	}
	return n, err
}

// Ready implements message.ReadyBody.
func (u *upload) Ready() bool { return message.Ready(u.source) }

// Close does nothing: the source belongs to whoever made the request.
func (u *upload) Close() error { return nil }

// Trailer implements message.Body.
func (u *upload) Trailer() message.Header { return u.source.Trailer() }
