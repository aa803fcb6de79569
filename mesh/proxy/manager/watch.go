package manager

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/http1"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
)

// patience is how long an exchange goes unwatched. Most are over by then, and cost no
// goroutine and no timer.
const patience = 5 * time.Millisecond

// ErrClientGone is why a request ends whose client went away.
var ErrClientGone = errors.New("the client closed its connection")

// watch looks after the exchange in progress once it takes longer: that the client is
// still there, that its timeouts hold. One timer serves all exchanges of a connection; it
// is not stopped at the end of a short one but finds another, or none, when it fires.
type watch struct {
	s     *session
	timer *time.Timer

	mu       sync.Mutex // never held while reading or waiting
	at       time.Time  // when the timer fires; zero: it is not set
	running  bool
	quietBy  time.Time // from then on the connection may be read to see its end
	bodyDone bool
	limits   deadlines
	exchange *lifetime
	cause    error         // why the exchange was cancelled
	answers  bool          // the response is being written
	reading  chan struct{} // not nil while a watcher reads; closed when it has stopped
}

// deadlines of one exchange; zero fields are none.
type deadlines struct {
	request time.Time     // the whole request has come
	stream  time.Time     // the whole exchange is over
	idle    time.Duration // since the last byte either way
}

// begin starts to look after an exchange.
func (w *watch) begin(now time.Time, hasBody bool, limits deadlines, exchange *lifetime) {
	w.mu.Lock()
	w.running, w.bodyDone, w.quietBy, w.limits, w.exchange, w.cause = true, !hasBody, now.Add(patience), limits, exchange, nil
	w.answers = false
	w.schedule(now)
	w.mu.Unlock()
}

// end stops looking and returns why the exchange was cancelled, if it was. When it
// returns nobody but the caller reads the connection.
func (w *watch) end() error {
	w.mu.Lock()
	w.running = false
	w.exchange = nil
	cause, reading := w.cause, w.reading
	w.mu.Unlock()
	if reading != nil {
		w.s.conn.abort()
		<-reading
		w.s.conn.resume()
	}
	return cause
}

// respond notes that the response is being written: from now on it is cut off when a
// limit is over, where before it would be replaced.
func (w *watch) respond() {
	w.mu.Lock()
	w.answers = true
	w.mu.Unlock()
}

// relax is message.Stream.Relax.
func (w *watch) relax(idle, duration bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if idle {
		w.limits.idle = 0
	}
	if duration {
		w.limits.stream = time.Time{}
	}
}

// stop ends the timer for good.
func (w *watch) stop() {
	w.mu.Lock()
	w.running = false
	timer := w.timer
	w.mu.Unlock()
	if timer != nil {
		timer.Stop()
	}
}

// failed gives the cause so far.
func (w *watch) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cause
}

// fail cancels the exchange in progress.
func (w *watch) fail(cause error) {
	w.mu.Lock()
	w.failLocked(cause)
	w.mu.Unlock()
}

func (w *watch) failLocked(cause error) {
	if !w.running || w.cause != nil {
		return
	}
	w.cause = cause
	w.exchange.end()
}

// bodyEnd hears from the codec that the request's body has ended.
func (w *watch) bodyEnd(err error) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bodyDone = true
	var broken *http1.ProtocolError
	switch {
	case err == nil:
		w.limits.request = time.Time{}
		w.quietBy = now.Add(patience)
		if w.running {
			w.schedule(now)
		}
	case errors.Is(err, io.ErrUnexpectedEOF):
		w.bodyDone = false // nothing more to see there
		w.failLocked(ErrClientGone)
	case errors.As(err, &broken):
		w.bodyDone = false
		w.failLocked(&reply.Reply{Status: broken.Status, Flag: message.DownstreamProtocolError, Details: broken.Details, Body: http1.StatusText(broken.Status)})
	default:
		w.bodyDone = false
	}
}

// schedule sets the timer to the next moment of interest, unless it fires before.
func (w *watch) schedule(now time.Time) {
	next := w.nextDeadline()
	if w.bodyDone && w.reading == nil && w.cause == nil && (next.IsZero() || w.quietBy.Before(next)) {
		next = w.quietBy
	}
	if next.IsZero() || !w.at.IsZero() && !next.Before(w.at) {
		return
	}
	w.at = next
	if w.timer == nil {
		w.timer = time.AfterFunc(next.Sub(now), w.fire)
		return
	}
	w.timer.Reset(next.Sub(now))
}

func (w *watch) nextDeadline() time.Time {
	next := w.limits.stream
	earlier := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	earlier(w.limits.request)
	if w.limits.idle > 0 {
		earlier(w.s.conn.active().Add(w.limits.idle))
	}
	return next
}

// fire runs in the timer's goroutine.
func (w *watch) fire() {
	now := time.Now()
	w.mu.Lock()
	w.at = time.Time{}
	if !w.running || w.cause != nil {
		w.mu.Unlock()
		return
	}
	if late := w.expired(now); late != nil {
		w.failLocked(late)
		answers := w.answers
		w.mu.Unlock()
		w.s.conn.setReadBy(now) // whoever waits for the body gives up, too
		if answers {
			_ = w.s.conn.SetWriteDeadline(now)
		}
		return
	}
	if !w.bodyDone || w.reading != nil || now.Before(w.quietBy) || w.s.reader.Buffered() > 0 {
		if w.bodyDone && w.reading == nil && !now.Before(w.quietBy) {
			w.bodyDone = false // a pipelined request is there: the end cannot be seen behind it
		}
		w.schedule(now)
		w.mu.Unlock()
		return
	}
	w.reading = make(chan struct{})
	w.schedule(now)
	w.mu.Unlock()
	err := w.s.reader.Await() // keeps what comes for the next request
	w.mu.Lock()
	if err != nil && !isTimeout(err) {
		w.failLocked(ErrClientGone)
	}
	w.bodyDone = false
	close(w.reading)
	w.reading = nil
	w.mu.Unlock()
}

func isTimeout(err error) bool {
	t, ok := err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}

// expired gives the answer for the deadline that has passed. Envoy says 504 where the
// request had come completely, else 408.
func (w *watch) expired(now time.Time) error {
	status := 408
	if w.s.reader.Complete() {
		status = 504
	}
	passed := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch l := &w.limits; {
	case passed(l.request):
		return &reply.Reply{Status: 408, Details: "request_overall_timeout", Body: "request timeout"}
	case passed(l.stream):
		return &reply.Reply{Status: status, Flag: message.DurationTimeout, Details: "max_duration_timeout", Body: "downstream duration timeout"}
	case l.idle > 0 && passed(w.s.conn.active().Add(l.idle)):
		return &reply.Reply{Status: status, Flag: message.StreamIdleTimeout, Details: "stream_idle_timeout", Body: "stream timeout"}
	}
	return nil
}
