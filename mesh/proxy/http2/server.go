package http2

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// ServerOptions are what a Server is made of.
type ServerOptions struct {
	// Serve answers one stream, in a goroutine of its own. Its context ends with the
	// stream; the cause is a *ResetError, ErrGone, or the cause of Run's context.
	Serve func(ctx context.Context, x *ServerStream)
	// MaxStreams is how many streams may be open at once; 0: 1024, Envoy's default.
	MaxStreams uint32
	HeadBytes  int           // of one head, as SETTINGS_MAX_HEADER_LIST_SIZE counts; 0: 60 KiB
	Fields     int           // of one head; 0: 100
	Idle       time.Duration // without streams, after which the connection ends; 0: none
	// Until is when the connection begins to drain; zero: never.
	Until time.Time
	// DrainTime is how long the peer may open streams after it was told not to; 0: 5 s.
	DrainTime time.Duration
	// Linger is how long the last frames may take; nil: 1 s. 0: they are not waited for.
	Linger *time.Duration
	// HeadTime is how long one head may take from its first byte; 0: any time. A head that
	// takes longer is answered with a 408, and the connection ends.
	HeadTime time.Duration
	// Extended takes extended CONNECTs, by which HTTP/2 upgrades one stream (RFC 8441).
	Extended bool
	Settings Settings
}

// What a Server's options are where they are zero.
const (
	defaultStreams   = 1024
	defaultHeadBytes = 60 << 10
	defaultFields    = 100
	defaultDrainTime = 5 * time.Second
)

// Server is the accepting side of one connection.
type Server struct {
	conn
	o     ServerOptions
	group sync.WaitGroup // of the streams' goroutines

	// The connection's lock guards these.
	ctx      context.Context
	last     uint32 // highest id taken up
	running  int    // goroutines
	draining bool   // the peer was told to go
	sealed   bool   // no further stream
	timers   []*time.Timer
	idler    *time.Timer
}

// NewServer makes a Server for a connection that nothing has been read from.
func NewServer(raw net.Conn, o ServerOptions) *Server {
	if o.MaxStreams == 0 {
		o.MaxStreams = defaultStreams
	}
	if o.HeadBytes <= 0 {
		o.HeadBytes = defaultHeadBytes
	}
	if o.Fields <= 0 {
		o.Fields = defaultFields
	}
	if o.DrainTime <= 0 {
		o.DrainTime = defaultDrainTime
	}
	s := &Server{o: o}
	s.init(raw, s, 4*uint32(o.HeadBytes), o.Settings) // beyond that the connection ends; up to it there is a 431
	if s.headBy = o.HeadTime; o.Linger != nil {
		s.linger = *o.Linger
	}
	return s
}

// Run serves the connection to its end and closes it. Cancelling ctx ends all at once.
// When it returns all goroutines of the connection have ended.
func (s *Server) Run(ctx context.Context) {
	s.ctx = context.WithoutCancel(ctx)
	stop := context.AfterFunc(ctx, func() { s.fail(context.Cause(ctx)) })
	s.mu.Lock()
	settings := []http2.Setting{
		{ID: http2.SettingMaxConcurrentStreams, Val: s.o.MaxStreams},
		{ID: http2.SettingInitialWindowSize, Val: s.own.StreamWindow},
		{ID: http2.SettingMaxHeaderListSize, Val: uint32(s.o.HeadBytes)}}
	if s.o.Extended {
		settings = append(settings, http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
	}
	must(s.framer.WriteSettings(settings...))
	s.announceWindow()
	s.keepAlive()
	s.rest()
	if !s.o.Until.IsZero() {
		s.timers = append(s.timers, time.AfterFunc(time.Until(s.o.Until), s.Drain))
	}
	s.mu.Unlock()
	go s.write()
	err := s.begin()
	if err == nil {
		err = s.read()
	}
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		<-s.done // the last frames go out
		s.mu.Lock()
	}
	s.failLocked(err)
	if s.idler != nil {
		s.idler.Stop()
	}
	for _, t := range s.timers {
		t.Stop()
	}
	s.mu.Unlock()
	_ = s.raw.Close()
	s.group.Wait()
	<-s.done
	stop()
}

// begin reads the client's preface.
func (s *Server) begin() error {
	var preface [len(Preface)]byte
	if _, err := io.ReadFull(s.reader, preface[:]); err != nil {
		return ErrGone
	}
	if !bytes.Equal(preface[:], []byte(Preface)) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.settle(http2.ConnectionError(http2.ErrCodeProtocol))
	}
	return nil
}

// rest begins the idle time. The lock must be held.
func (s *Server) rest() {
	if s.o.Idle <= 0 || len(s.streams) > 0 {
		return
	}
	if s.idler == nil {
		s.idler = time.AfterFunc(s.o.Idle, s.idleOver)
		return
	}
	s.idler.Reset(s.o.Idle)
}

func (s *Server) idleOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.streams) == 0 && s.err == nil {
		s.seal()
	}
}

// Drain asks the peer to open no further streams, waits, and ends the connection with
// the last of those that are open (RFC 9113, 6.8).
func (s *Server) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining || s.err != nil || s.closing {
		return
	}
	s.draining = true
	must(s.framer.WriteGoAway(maxID, http2.ErrCodeNo, nil))
	s.wake()
	s.timers = append(s.timers, time.AfterFunc(s.o.DrainTime, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seal()
	}))
}

// seal takes no further stream; the last one ends the connection. The lock must be held.
func (s *Server) seal() {
	if s.sealed || s.err != nil {
		return
	}
	s.draining, s.sealed = true, true
	must(s.framer.WriteGoAway(s.last, http2.ErrCodeNo, nil))
	s.wake()
	if len(s.streams) == 0 {
		s.closeLocked()
	}
}

func (s *Server) idle(id uint32) bool { return id > s.last || id%2 == 0 }

func (s *Server) changed() {}

// late answers a stream whose head did not come in time. The lock must be held.
func (s *Server) late(id uint32) {
	if id == 0 || s.streams[id] != nil || !s.idle(id) || id%2 == 0 {
		return
	}
	s.last = id
	s.writeHead(id, true, func(field func(name, value string)) { field(":status", "408") })
}

func (s *Server) goAway(*http2.GoAwayFrame) {} // we open no streams

func (s *Server) malformed(id uint32) {
	if id%2 == 1 {
		s.last = max(s.last, id)
	}
}

func (s *Server) ended(st *stream) {
	x := st.owner.(*ServerStream)
	cause := st.readErr
	if cause == nil {
		cause = st.writeErr
	}
	if cause != nil {
		x.cancel(cause)
	}
	if s.sealed && len(s.streams) == 0 {
		s.closeLocked()
	}
	s.rest()
}

// headers opens a stream, or ends one with a trailer.
func (s *Server) headers(f *http2.MetaHeadersFrame) error {
	id := f.StreamID
	if st := s.streams[id]; st != nil {
		return st.trailers(f)
	}
	switch {
	case id%2 == 0:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case id <= s.last:
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeStreamClosed}
	case s.sealed:
		return nil // GOAWAY says that it is not going to be processed
	}
	s.last = id
	if len(s.streams) >= int(s.o.MaxStreams) {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeRefusedStream}
	}
	if s.running >= 2*int(s.o.MaxStreams) { // a peer that opens and resets
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	x := &ServerStream{server: s, method: "GET"}
	if f.Truncated || headSize(f) > s.o.HeadBytes {
		x.headErr = &HeadError{431, "http2.headers_too_large"}
	} else if len(f.RegularFields()) > s.o.Fields {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol, Cause: errPseudo}
	} else if err := x.take(f); err != nil {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol, Cause: err}
	}
	x.stream = s.newStream(id, x)
	ctx, cancel := context.WithCancelCause(s.ctx)
	x.cancel = cancel
	if x.stream.expected = x.head.ContentLength; f.StreamEnded() {
		x.stream.inEnd = true
	}
	s.running++
	s.group.Go(func() {
		s.o.Serve(ctx, x)
		x.end()
		cancel(nil)
		s.mu.Lock()
		s.running--
		s.mu.Unlock()
	})
	return nil
}

// headSize is the size that SETTINGS_MAX_HEADER_LIST_SIZE is about (RFC 9113, 6.5.2).
func headSize(f *http2.MetaHeadersFrame) (n int) {
	for _, field := range f.Fields {
		n += int(field.Size())
	}
	return n
}

// trailers ends the peer's message.
func (s *stream) trailers(f *http2.MetaHeadersFrame) error {
	var trailer message.Header
	switch {
	case s.inEnd:
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeStreamClosed}
	case !f.StreamEnded() || len(f.PseudoFields()) > 0 || f.Truncated:
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol, Cause: errPseudo}
	}
	if err := decodeFields(f, &trailer, nil); err != nil {
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol, Cause: err}
	}
	return s.endIn(trailer)
}

// ServerStream is one exchange on the accepting side. One goroutine uses it, but the
// request's body, Abort and Activity.
type ServerStream struct {
	server    *Server
	stream    *stream
	head      message.Request
	headErr   error
	cancel    context.CancelCauseFunc
	method    string
	expects   bool // the client waits for a 100
	responded bool
}

// take keeps the head.
func (x *ServerStream) take(f *http2.MetaHeadersFrame) error {
	if err := decodeRequest(f, &x.head, x.server.o.Extended); err != nil {
		return err
	}
	if tunnels(&x.head) { // what follows are bytes, not content
		x.head.ContentLength = -1
		return nil
	}
	length, err := contentLength(x.head.Header)
	if err != nil || length > 0 && f.StreamEnded() {
		return errLength
	}
	x.head.ContentLength = length
	if f.StreamEnded() {
		x.head.ContentLength = 0
		return nil
	}
	x.method = x.head.Method
	x.head.Body = (*requestBody)(x)
	if x.head.Header.Get("expect") == "100-continue" {
		x.expects = true
		x.head.Continue = x.sendContinue
	}
	return nil
}

// Request fills q in, Stream excepted. A *HeadError is a request to be answered only.
func (x *ServerStream) Request(q *message.Request) error {
	facts := q.Stream
	*q = x.head
	q.Stream = facts
	x.method = q.Method
	return x.headErr
}

// sendContinue lets the client send its body, once.
func (x *ServerStream) sendContinue() {
	c := x.stream.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if x.expects && !x.responded && x.stream.writable() == nil {
		c.writeHead(x.stream.id, false, func(field func(name, value string)) { field(":status", "100") })
		c.wake()
	}
	x.expects = false
}

// Respond sends a response with all of its body, which it does not close. An error of
// the body itself is a *http1.BodyError.
func (x *ServerStream) Respond(p *message.Response) error {
	s, c := x.stream, x.stream.c
	body := p.Body
	if x.method == "HEAD" {
		body = nil
	}
	c.mu.Lock()
	if err := s.writable(); err != nil {
		c.mu.Unlock()
		return err
	}
	x.responded = true
	c.writeHead(s.id, body == nil, func(field func(name, value string)) { encodeResponse(p, x.method, field) })
	s.activity = time.Now()
	if body == nil {
		s.ended(true)
	}
	c.mu.Unlock()
	if body == nil {
		return nil
	}
	if !message.Ready(body) {
		c.mu.Lock()
		c.wake()
		c.mu.Unlock()
	}
	return s.content(body)
}

// Tunnel sends the head of a response that accepts a CONNECT, or an upgrade, and returns
// the client's side of the tunnel.
func (x *ServerStream) Tunnel(p *message.Response) (*Tunnel, error) {
	s, c := x.stream, x.stream.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.writable(); err != nil {
		return nil, err
	}
	x.responded = true
	c.writeHead(s.id, false, func(field func(name, value string)) { encodeResponse(p, x.method, field) })
	s.activity = time.Now()
	c.wake()
	return &Tunnel{s}, nil
}

// ID is the stream's on its connection: odd, and rising.
func (x *ServerStream) ID() uint32 { return x.stream.id }

// Responded tells whether a response has begun.
func (x *ServerStream) Responded() bool {
	x.stream.c.mu.Lock()
	defer x.stream.c.mu.Unlock()
	return x.responded
}

// Abort makes reading and, where a response has begun, writing fail with err.
func (x *ServerStream) Abort(err error) {
	s := x.stream
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.readErr == nil && !s.inEnd {
		s.readErr = err
	}
	if s.writeErr == nil && x.responded {
		s.writeErr = err
	}
	s.arrived.Broadcast()
	s.c.room.Broadcast()
}

// Complete tells whether the whole request has come.
func (x *ServerStream) Complete() bool {
	x.stream.c.mu.Lock()
	defer x.stream.c.mu.Unlock()
	return x.stream.inEnd
}

// Activity is when something last came or went on the stream.
func (x *ServerStream) Activity() time.Time {
	x.stream.c.mu.Lock()
	defer x.stream.c.mu.Unlock()
	return x.stream.activity
}

// Bytes are the lengths of the contents so far.
func (x *ServerStream) Bytes() (received, sent int64) {
	x.stream.c.mu.Lock()
	defer x.stream.c.mu.Unlock()
	return x.stream.received, x.stream.sent
}

// end leaves nothing open: a response that is not complete is reset; after a complete
// one the client is asked to stop sending.
func (x *ServerStream) end() {
	s := x.stream
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	code := http2.ErrCodeInternal
	if s.sentEnd {
		code = http2.ErrCodeNo
	}
	s.reset(code, "")
}

// requestBody is the content of the request.
type requestBody ServerStream

// Read implements message.Body.
func (b *requestBody) Read(p []byte) (int, error) {
	(*ServerStream)(b).sendContinue()
	return b.stream.Read(p)
}

// Ready implements message.ReadyBody.
func (b *requestBody) Ready() bool { return b.stream.Ready() }

// Close implements message.Body: the rest is let go when the exchange ends.
func (b *requestBody) Close() error { return nil }

// Trailer implements message.Body.
func (b *requestBody) Trailer() message.Header { return b.stream.Trailer() }

var _ message.ReadyBody = (*requestBody)(nil)
