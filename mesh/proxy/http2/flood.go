package http2

import (
	"time"

	"golang.org/x/net/http2"
)

// The limits of a peer that sends what costs it little and the proxy much: the defaults
// of Envoy's Http2ProtocolOptions, and of its runtime keys overload.premature_reset_*.
const (
	maxControls       = 1000 // answers to PING, SETTINGS and bad streams that nobody has read
	maxEmpty          = 1    // frames of content without content, one after the other
	maxPriorities     = 100  // per stream opened, and as many again
	maxWindowUpdates  = 10   // per frame of content sent
	freeWindowUpdates = 5
	maxPremature      = 250 // half of 500 streams
	prematureTime     = time.Second
)

// flood counts what one connection's peer sends. The connection's lock guards it.
type flood struct {
	opened        int // streams, by either side
	sent          int // frames of content
	controls      int // queued since the writer last finished
	empty         int
	priorities    int
	windowUpdates int
	closed        int // streams
	premature     int // streams that the peer reset before they had an answer
}

// errFlood ends a connection.
const errFlood = http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)

// meet looks at a frame before it is handled.
func (l *flood) meet(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.DataFrame:
		if len(f.Data()) > 0 || f.StreamEnded() {
			l.empty = 0
		} else if l.empty++; l.empty > maxEmpty {
			return errFlood
		}
	case *http2.PriorityFrame:
		if l.priorities++; l.priorities > maxPriorities*(1+l.opened) {
			return errFlood
		}
	case *http2.WindowUpdateFrame:
		if l.windowUpdates++; l.windowUpdates > freeWindowUpdates+2*(l.opened+maxWindowUpdates*l.sent) {
			return errFlood
		}
	}
	if l.controls > maxControls {
		return errFlood
	}
	return nil
}

// reset counts a stream that the peer has reset. Of 500 streams, half may be given up
// within their first second and before their answer: who opens streams to reset them has
// work done and never waits for it.
func (l *flood) reset(age time.Duration, answered bool) error {
	if answered || age >= prematureTime {
		return nil
	}
	if l.premature++; l.premature >= maxPremature && 2*l.premature >= l.closed {
		return errFlood
	}
	return nil
}
