package http2

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// role is what the two sides do differently. Its methods are called with the lock held.
type role interface {
	headers(f *http2.MetaHeadersFrame) error
	malformed(id uint32) // a head that could not be decoded
	idle(id uint32) bool // no stream of that id has been opened
	goAway(f *http2.GoAwayFrame)
	changed()        // the peer's settings are known
	ended(s *stream) // the stream is over both ways, or reset
}

// conn is what the two sides share.
type conn struct {
	raw    net.Conn
	role   role
	reader *bufio.Reader
	framer *http2.Framer
	done   chan struct{} // closed when the writer has ended

	own     Settings
	linger  time.Duration // how long the last frames of a closing connection may take
	headBy  time.Duration // how long one head may take to come; 0: any time
	heading uint32        // the stream whose head is being read; the reader's

	mu      sync.Mutex // guards what follows; never held across I/O
	work    sync.Cond  // there is something to write, or the end
	room    sync.Cond  // there is room or window to send in
	out     *bytes.Buffer
	spare   *bytes.Buffer
	encoded bytes.Buffer
	encoder *hpack.Encoder
	buffers [][]byte // free ones, for content

	streams     map[uint32]*stream
	sendWindow  int64
	peerWindow  int64 // of new streams
	peerStreams int64 // how many the peer allows; below 0: it has not said
	recvWindow  int64
	credit      int64  // received, not given back yet
	closing     bool   // what is queued goes out, then the connection ends
	after       func() // due once the lock is free
	err         error  // why the connection ended
	pinger      *time.Timer
	flood       flood
	pings       uint64
	unanswered  bool // a PING is
}

// lingerTime bounds how long the last frames of a closing connection may take, where
// nothing else is said.
const lingerTime = time.Second

func (c *conn) init(raw net.Conn, r role, headBytes uint32, s Settings) {
	c.raw, c.role, c.own, c.linger = raw, r, s.defaulted(), lingerTime
	c.reader = bufio.NewReaderSize(raw, 4<<10)
	c.done = make(chan struct{})
	c.work.L, c.room.L = &c.mu, &c.mu
	c.out, c.spare = new(bytes.Buffer), new(bytes.Buffer)
	c.encoder = hpack.NewEncoder(&c.encoded)
	c.framer = http2.NewFramer((*queue)(c), c.reader)
	c.framer.SetReuseFrames()
	c.framer.SetMaxReadFrameSize(frameSize)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.MaxHeaderListSize = headBytes
	c.streams = map[uint32]*stream{}
	c.sendWindow, c.peerWindow, c.peerStreams = initialWindow, initialWindow, -1
	c.recvWindow = max(int64(c.own.ConnectionWindow), initialWindow)
}

// queue is where the framer writes to, with the lock held.
type queue conn

// Write implements io.Writer.
func (q *queue) Write(p []byte) (int, error) { return q.out.Write(p) }

// must is for writes to the queue, which fail only where a frame is not valid.
func must(err error) {
	if err != nil {
		panic("http/2: " + err.Error())
	}
}

// write is the goroutine that writes what is queued, all of it at a time.
func (c *conn) write() {
	defer close(c.done)
	c.mu.Lock()
	for {
		for c.out.Len() == 0 && c.err == nil && !c.closing {
			c.work.Wait()
		}
		if c.err != nil || c.out.Len() == 0 {
			break
		}
		b := c.out
		c.out, c.spare = c.spare, nil
		controls := c.flood.controls
		c.mu.Unlock()
		_, err := c.raw.Write(b.Bytes())
		c.mu.Lock()
		c.flood.controls -= controls
		b.Reset()
		c.spare = b
		c.room.Broadcast()
		if err != nil {
			c.failLocked(ErrGone)
		}
	}
	c.failLocked(ErrClosed)
	c.mu.Unlock()
	_ = c.raw.Close()
}

// wake tells the writer. The lock must be held.
func (c *conn) wake() { c.work.Signal() }

// closeLocked lets what is queued go out and ends the connection. The lock must be held.
func (c *conn) closeLocked() {
	if !c.closing && c.err == nil {
		c.closing = true
		_ = c.raw.SetWriteDeadline(time.Now().Add(c.linger))
		c.wake()
	}
}

// fail ends the connection and all its streams.
func (c *conn) fail(err error) {
	c.mu.Lock()
	c.failLocked(err)
	c.mu.Unlock()
	_ = c.raw.Close()
}

func (c *conn) failLocked(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	if c.pinger != nil {
		c.pinger.Stop()
	}
	for _, s := range c.inOrder() {
		s.over(err, err)
	}
	c.work.Signal()
	c.room.Broadcast()
}

// inOrder are the streams by their ids. The lock must be held.
func (c *conn) inOrder() []*stream {
	list := make([]*stream, 0, len(c.streams))
	for _, s := range c.streams {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *stream) int { return int(a.id) - int(b.id) })
	return list
}

// read reads frames until the connection ends, and returns why.
func (c *conn) read() error {
	for {
		f, err := c.readFrame()
		c.mu.Lock()
		for c.out.Len() > maxQueued && c.err == nil {
			c.room.Wait() // a peer that asks but does not read is not heard
		}
		if c.err != nil {
			err = c.err
		} else if err == nil {
			err = c.handle(f)
		}
		err = c.settle(err)
		after := c.after
		c.after = nil
		c.mu.Unlock()
		if after != nil {
			after()
		}
		if err != nil {
			return err
		}
	}
}

// errSlowHead is a head that took too long.
var errSlowHead = errors.New("a head that takes too long")

// readFrame reads a frame; a head, with its continuations, within its time.
func (c *conn) readFrame() (http2.Frame, error) {
	if c.headBy <= 0 {
		return c.framer.ReadFrame()
	}
	const kind, size = 3, 9 // of a frame's own head (RFC 9113, 4.1)
	begin, err := c.reader.Peek(1)
	if err == nil {
		_ = c.raw.SetReadDeadline(time.Now().Add(c.headBy))
		begin, err = c.reader.Peek(size)
	}
	if err == nil && http2.FrameType(begin[kind]) != http2.FrameHeaders {
		_ = c.raw.SetReadDeadline(time.Time{})
	}
	if err != nil {
		return nil, slow(err)
	}
	c.heading = 0
	if http2.FrameType(begin[kind]) == http2.FrameHeaders {
		c.heading = binary.BigEndian.Uint32(begin[size-4:]) &^ (1 << 31)
	}
	f, err := c.framer.ReadFrame()
	_ = c.raw.SetReadDeadline(time.Time{})
	return f, slow(err)
}

// slow tells a read that ran out of its time.
func slow(err error) error {
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return errSlowHead
	}
	return err
}

// settle resets the stream that an error is about; an error of the whole connection is
// told to the peer and returned. The lock must be held.
func (c *conn) settle(err error) error {
	var broken http2.StreamError
	var fatal http2.ConnectionError
	switch {
	case err == nil, err == ErrClosed, err == ErrGone:
	case err == errSlowHead:
		if s, ok := c.role.(*Server); ok {
			s.late(c.heading)
		}
		must(c.framer.WriteGoAway(c.lastID(), http2.ErrCodeNo, nil))
		c.closeLocked()
	case errors.As(err, &broken):
		reason := ""
		if broken.Cause != nil {
			reason = broken.Cause.Error()
		}
		if s := c.streams[broken.StreamID]; s != nil {
			s.reset(broken.Code, reason)
			return nil
		}
		c.role.malformed(broken.StreamID)
		must(c.framer.WriteRSTStream(broken.StreamID, broken.Code))
		c.flood.controls++
		c.wake()
		return nil
	case errors.As(err, &fatal), errors.Is(err, http2.ErrFrameTooLarge):
		code := http2.ErrCode(fatal)
		if fatal == 0 {
			code = http2.ErrCodeFrameSize
		}
		must(c.framer.WriteGoAway(c.lastID(), code, nil))
		broken := &ResetError{Code: code, Reason: err.Error()}
		for _, s := range c.inOrder() {
			s.over(broken, broken)
		}
		c.closeLocked()
	default:
		err = ErrGone
	}
	return err
}

// lastID is the last stream of the peer's that was taken up.
func (c *conn) lastID() uint32 {
	if s, ok := c.role.(*Server); ok {
		return s.last
	}
	return 0
}

// handle does what a frame says. The lock must be held.
func (c *conn) handle(f http2.Frame) error {
	if err := c.flood.meet(f); err != nil {
		return err
	}
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.role.headers(f)
	case *http2.DataFrame:
		return c.data(f)
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.WindowUpdateFrame:
		return c.windowUpdate(f)
	case *http2.RSTStreamFrame:
		if s := c.streams[f.StreamID]; s != nil {
			s.remoteReset(f.ErrCode)
			return c.flood.reset(time.Since(s.opened), s.answered())
		} else if c.role.idle(f.StreamID) {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			must(c.framer.WritePing(true, f.Data))
			c.flood.controls++
			c.wake()
		} else {
			c.pong(f)
		}
	case *http2.GoAwayFrame:
		c.role.goAway(f)
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil
}

func (c *conn) data(f *http2.DataFrame) error {
	n := int64(f.Length)
	if c.recvWindow -= n; c.recvWindow < 0 {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	if c.credit += n; c.credit >= max(int64(c.own.ConnectionWindow), initialWindow)/2 {
		must(c.framer.WriteWindowUpdate(0, uint32(c.credit)))
		c.recvWindow += c.credit
		c.credit = 0
		c.wake()
	}
	s := c.streams[f.StreamID]
	if s == nil {
		if c.role.idle(f.StreamID) {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		return nil // it was reset; the peer may not have known yet
	}
	return s.data(f)
}

func (c *conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	if f.HasDuplicates() {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingHeaderTableSize:
			c.encoder.SetMaxDynamicTableSizeLimit(min(s.Val, 4096))
			c.encoder.SetMaxDynamicTableSize(min(s.Val, 4096))
		case http2.SettingMaxConcurrentStreams:
			c.peerStreams = int64(s.Val)
		case http2.SettingInitialWindowSize:
			change := int64(s.Val) - c.peerWindow
			c.peerWindow = int64(s.Val)
			for _, st := range c.inOrder() {
				if st.sendWindow += change; st.sendWindow > maxID {
					return http2.ConnectionError(http2.ErrCodeFlowControl)
				}
			}
			c.room.Broadcast()
		}
		return nil
	})
	if err != nil {
		return err
	}
	must(c.framer.WriteSettingsAck())
	c.flood.controls++
	c.wake()
	c.role.changed()
	return nil
}

func (c *conn) windowUpdate(f *http2.WindowUpdateFrame) error {
	if f.StreamID == 0 {
		if c.sendWindow += int64(f.Increment); c.sendWindow > maxID {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		c.room.Broadcast()
		return nil
	}
	s := c.streams[f.StreamID]
	if s == nil {
		if c.role.idle(f.StreamID) {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		return nil
	}
	if s.sendWindow += int64(f.Increment); s.sendWindow > maxID {
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
	}
	c.room.Broadcast()
	return nil
}

// writeHead queues a HEADERS frame, with CONTINUATIONs where one is too small, of what
// encode gives. The lock must be held.
func (c *conn) writeHead(id uint32, end bool, encode func(field func(name, value string))) {
	c.encoded.Reset()
	encode(func(name, value string) {
		_ = c.encoder.WriteField(hpack.HeaderField{Name: name, Value: value}) // to memory
	})
	b := c.encoded.Bytes()
	first := b[:min(len(b), frameSize)]
	b = b[len(first):]
	must(c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: end, EndHeaders: len(b) == 0}))
	for len(b) > 0 {
		next := b[:min(len(b), frameSize)]
		b = b[len(next):]
		must(c.framer.WriteContinuation(id, len(b) == 0, next))
	}
}

// takeBuffer gives a buffer for content; giveBuffer takes it back.
func (c *conn) takeBuffer() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.buffers); n > 0 {
		b := c.buffers[n-1]
		c.buffers = c.buffers[:n-1]
		return b
	}
	return make([]byte, frameSize)
}

func (c *conn) giveBuffer(b []byte) {
	c.mu.Lock()
	if len(c.buffers) < 4 {
		c.buffers = append(c.buffers, b)
	}
	c.mu.Unlock()
}

var _ io.Writer = (*queue)(nil)
