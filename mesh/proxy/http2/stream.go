package http2

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/http1"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// stream is one exchange on a connection, as both sides have it. The connection's lock
// guards it.
type stream struct {
	c       *conn
	id      uint32
	arrived sync.Cond // something came, or the end
	owner   any       // *ServerStream or *ClientStream

	in         [][]byte // received, not read
	inEnd      bool     // all of it came
	trailer    message.Header
	expected   int64 // content-length less what came; below 0: not declared
	recvWindow int64
	credit     int64 // read, not given back yet
	readErr    error

	sendWindow int64
	sentEnd    bool
	writeErr   error

	finished       bool // out of the connection's streams
	received, sent int64
	opened         time.Time
	activity       time.Time

	readBy, writeBy, armed time.Time
	timer                  *time.Timer
}

func (c *conn) newStream(id uint32, owner any) *stream {
	now := time.Now()
	c.flood.opened++
	s := &stream{c: c, id: id, owner: owner, expected: -1, recvWindow: int64(c.own.StreamWindow), sendWindow: c.peerWindow, opened: now, activity: now}
	s.arrived.L = &c.mu
	c.streams[id] = s
	return s
}

// over ends the stream. What has come already can still be read. The lock must be held.
func (s *stream) over(readErr, writeErr error) {
	if s.readErr == nil && !s.inEnd {
		s.readErr = readErr
	}
	if s.writeErr == nil {
		s.writeErr = writeErr
	}
	s.leave()
	s.arrived.Broadcast()
	s.c.room.Broadcast()
}

// leave takes the stream out of its connection's.
func (s *stream) leave() {
	if s.finished {
		return
	}
	s.finished = true
	s.c.flood.closed++
	if s.timer != nil {
		s.timer.Stop()
	}
	delete(s.c.streams, s.id)
	s.c.role.ended(s)
}

// halfEnded notices the end of a stream that has ended both ways.
func (s *stream) halfEnded() {
	if s.inEnd && s.sentEnd {
		s.leave()
	}
}

// reset ends the stream by this side's decision. The lock must be held.
func (s *stream) reset(code http2.ErrCode, reason string) {
	if s.finished {
		return
	}
	must(s.c.framer.WriteRSTStream(s.id, code))
	s.c.wake()
	err := &ResetError{Code: code, Reason: reason}
	s.over(err, err)
}

// remoteReset ends the stream by the peer's. NO_ERROR after a complete message asks to
// stop sending (RFC 9113, 8.1); what came stays good.
func (s *stream) remoteReset(code http2.ErrCode) {
	err := &ResetError{Code: code, Remote: true}
	s.over(err, err)
}

// answered tells whether this side has begun a response; a stream that it opened itself
// is not the peer's to give up.
func (s *stream) answered() bool {
	x, server := s.owner.(*ServerStream)
	return !server || x.responded
}

// data takes a DATA frame's content.
func (s *stream) data(f *http2.DataFrame) error {
	if s.inEnd {
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeStreamClosed}
	}
	b := f.Data()
	if s.recvWindow -= int64(f.Length); s.recvWindow < 0 {
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeFlowControl}
	}
	s.credit += int64(f.Length) - int64(len(b)) // padding is never read
	s.activity = time.Now()
	if len(b) > 0 {
		s.in = append(s.in, append([]byte(nil), b...))
		s.received += int64(len(b))
		if s.expected >= 0 {
			if s.expected -= int64(len(b)); s.expected < 0 {
				return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol, Cause: errLength}
			}
		}
	}
	if f.StreamEnded() {
		return s.endIn(nil)
	}
	s.arrived.Broadcast()
	return nil
}

var errLength = errors.New("the content is not as long as content-length says")

// endIn notes that the peer's message is complete.
func (s *stream) endIn(trailer message.Header) error {
	if s.expected > 0 {
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol, Cause: errLength}
	}
	s.inEnd, s.trailer = true, trailer
	s.activity = time.Now()
	s.arrived.Broadcast()
	s.halfEnded()
	return nil
}

// Read reads content.
func (s *stream) Read(p []byte) (int, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for {
		switch {
		case expired(s.readBy):
			return 0, os.ErrDeadlineExceeded
		case len(s.in) > 0:
			return s.take(p)
		case s.inEnd:
			return 0, io.EOF
		case s.readErr != nil:
			return 0, s.readErr
		}
		s.arrived.Wait()
	}
}

// take copies what came, and gives its window back once half of it is used.
func (s *stream) take(p []byte) (n int, err error) {
	for len(s.in) > 0 && n < len(p) {
		k := copy(p[n:], s.in[0])
		n += k
		if s.in[0] = s.in[0][k:]; len(s.in[0]) == 0 {
			s.in[0], s.in = nil, s.in[1:]
		}
	}
	s.credit += int64(n)
	if s.credit >= int64(s.c.own.StreamWindow)/2 && !s.inEnd && !s.finished {
		must(s.c.framer.WriteWindowUpdate(s.id, uint32(s.credit)))
		s.recvWindow += s.credit
		s.credit = 0
		s.c.wake()
	}
	if len(s.in) == 0 && s.inEnd {
		return n, io.EOF
	}
	return n, nil
}

// Ready tells whether Read returns at once.
func (s *stream) Ready() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return len(s.in) > 0 || s.inEnd || s.readErr != nil
}

// Trailer is valid after the end.
func (s *stream) Trailer() message.Header {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.trailer
}

// writable tells why the stream cannot send, if so. The lock must be held.
func (s *stream) writable() error {
	switch {
	case s.writeErr != nil:
		return s.writeErr
	case s.c.closing:
		return ErrClosed
	case expired(s.writeBy):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// send queues content, as the windows allow.
func (s *stream) send(b []byte, end bool) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := s.writable(); err != nil {
			return err
		}
		n := int(max(0, min(int64(len(b)), s.sendWindow, c.sendWindow, frameSize)))
		if n == 0 && len(b) > 0 || c.out.Len() >= roomBytes {
			c.wake()
			c.room.Wait()
			continue
		}
		last := n == len(b)
		c.flood.sent++
		must(c.framer.WriteData(s.id, end && last, b[:n]))
		b = b[n:]
		s.sendWindow -= int64(n)
		c.sendWindow -= int64(n)
		s.sent += int64(n)
		if last {
			s.activity = time.Now()
			s.ended(end)
			return nil
		}
	}
}

// ended tells the writer, and notes the end of this side's message.
func (s *stream) ended(end bool) {
	s.c.wake()
	if end {
		s.sentEnd = true
		s.halfEnded()
	}
}

// content sends a body with its trailer. Where the next piece is there already the
// writer hears of both at once.
func (s *stream) content(body message.Body) error {
	buf := s.c.takeBuffer()
	defer s.c.giveBuffer(buf)
	for {
		n, err := body.Read(buf)
		if err != nil && err != io.EOF {
			return &http1.BodyError{Err: err}
		}
		var trailer message.Header
		if err == io.EOF {
			trailer = sendable(body.Trailer())
		}
		end := err == io.EOF && len(trailer) == 0
		if n > 0 || end {
			if err := s.send(buf[:n], end); err != nil {
				return err
			}
		}
		if err == io.EOF {
			if !end {
				return s.sendTrailer(trailer)
			}
			return nil
		}
	}
}

func (s *stream) sendTrailer(trailer message.Header) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	s.c.writeHead(s.id, true, func(field func(name, value string)) {
		for _, f := range trailer {
			field(f.Name, f.Value)
		}
	})
	s.activity = time.Now()
	s.ended(true)
	return nil
}

func expired(at time.Time) bool { return !at.IsZero() && !time.Now().Before(at) }

// setDeadlines sets one or both deadlines; zero is none.
func (s *stream) setDeadlines(at time.Time, write bool) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.readBy = at
	if write {
		s.writeBy = at
	}
	if expired(at) {
		s.arrived.Broadcast()
		s.c.room.Broadcast()
	}
	s.arm()
}

// arm sets the timer to the earlier of the deadlines to come, unless it fires before.
func (s *stream) arm() {
	next := s.readBy
	if now := time.Now(); !next.After(now) {
		next = time.Time{}
		if s.writeBy.After(now) {
			next = s.writeBy
		}
	} else if s.writeBy.After(now) && s.writeBy.Before(next) {
		next = s.writeBy
	}
	if next.IsZero() || s.finished || !s.armed.IsZero() && !next.Before(s.armed) {
		return
	}
	s.armed = next
	if s.timer == nil {
		s.timer = time.AfterFunc(time.Until(next), s.fire)
		return
	}
	s.timer.Reset(time.Until(next))
}

func (s *stream) fire() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.armed = time.Time{}
	s.arrived.Broadcast()
	s.c.room.Broadcast()
	s.arm()
}
