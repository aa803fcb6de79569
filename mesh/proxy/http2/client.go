package http2

import (
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/net/http2"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// ClientOptions are what a Client is made of.
type ClientOptions struct {
	// OnChange hears that the peer's limit changed, or that the connection takes no
	// further streams. OnClose hears, once, that it ended, when the writing goroutine has
	// and the reading one is about to; remote tells whether by the peer. Neither may be nil.
	OnChange func()
	OnClose  func(remote bool)
	Settings Settings
}

// Client is the opening side of one connection.
type Client struct {
	conn
	o ClientOptions

	// The connection's lock guards these.
	next    uint32 // id of the next stream
	refused bool   // the peer takes no further streams
}

// NewClient begins to speak on a connection, and closes it at its end.
func NewClient(raw net.Conn, o ClientOptions) *Client {
	c := &Client{o: o, next: 1}
	c.init(raw, c, defaultHeadBytes, o.Settings)
	c.out.WriteString(Preface)
	must(c.framer.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: c.own.StreamWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: defaultHeadBytes}))
	c.announceWindow()
	c.mu.Lock()
	c.keepAlive()
	c.mu.Unlock()
	go c.write()
	go c.run()
	return c
}

func (c *Client) run() {
	err := c.read()
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		<-c.done
		c.mu.Lock()
	}
	c.failLocked(err)
	remote := c.err != ErrClosed
	c.mu.Unlock()
	_ = c.raw.Close()
	<-c.done
	c.o.OnClose(remote)
}

// Limit is how many streams the peer allows at once; below 0: it has not said.
func (c *Client) Limit() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peerStreams
}

// Usable tells whether further streams may be opened.
func (c *Client) Usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.refused && !c.closing && c.err == nil && c.next < maxID
}

// Close ends the connection, streams that are open included.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && !c.closing {
		must(c.framer.WriteGoAway(0, http2.ErrCodeNo, nil))
		c.closeLocked()
	}
}

func (c *Client) idle(id uint32) bool { return id >= c.next || id%2 == 0 }

func (c *Client) changed() { c.after = c.o.OnChange }

func (c *Client) malformed(uint32) {}

func (c *Client) ended(*stream) {}

// goAway ends the streams that the peer has not taken up: they may be sent again.
func (c *Client) goAway(f *http2.GoAwayFrame) {
	c.refused = true
	for _, s := range c.inOrder() {
		if s.id > f.LastStreamID {
			s.remoteReset(http2.ErrCodeRefusedStream)
		}
	}
	c.after = c.o.OnChange
}

// headers is the head of a response, or its trailer.
func (c *Client) headers(f *http2.MetaHeadersFrame) error {
	s := c.streams[f.StreamID]
	if s == nil {
		if c.idle(f.StreamID) {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		return nil
	}
	x := s.owner.(*ClientStream)
	s.activity = time.Now()
	if x.final {
		return s.trailers(f)
	}
	p, err := decodeResponse(f)
	if err != nil {
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol, Cause: err}
	}
	x.heads = append(x.heads, p)
	if p.Status < 200 {
		s.arrived.Broadcast()
		return nil
	}
	x.final = true
	x.accept(p)
	if !f.StreamEnded() && !x.accepted(p) && x.method != "HEAD" && p.Status != 304 && p.Status != 204 {
		s.expected = p.ContentLength
	}
	if f.StreamEnded() {
		x.empty = true
		return s.endIn(nil)
	}
	s.arrived.Broadcast()
	return nil
}

// accept makes the acceptance of an upgrade what it is in HTTP/1.
func (x *ClientStream) accept(p *message.Response) {
	if x.tunnel == "" || x.tunnel == "CONNECT" || p.Status != 200 {
		return
	}
	p.Status = 101
	p.Header.Set("upgrade", x.tunnel)
}

// accepted tells whether the response opens a tunnel.
func (x *ClientStream) accepted(p *message.Response) bool {
	return x.tunnel == "CONNECT" && p.Status < 300 || p.Status == 101
}

func decodeResponse(f *http2.MetaHeadersFrame) (*message.Response, error) {
	fields := f.PseudoFields()
	if len(fields) != 1 || fields[0].Name != ":status" || f.Truncated {
		return nil, errPseudo
	}
	status, err := strconv.Atoi(fields[0].Value)
	if err != nil || len(fields[0].Value) != 3 || status < 100 || status > 599 || status == 101 || status < 200 && f.StreamEnded() {
		return nil, errStatus
	}
	p := &message.Response{Status: status, Protocol: message.HTTP2, Header: make(message.Header, 0, len(f.Fields)+4)}
	if err := decodeFields(f, &p.Header, nil); err != nil {
		return nil, err
	}
	p.ContentLength, err = contentLength(p.Header)
	return p, err
}

// ClientStream is one exchange on the opening side. One goroutine sends, one receives.
type ClientStream struct {
	// Inform hears of responses before the final one. It is called by ReadResponse.
	Inform func(status int, h message.Header)

	client *Client
	stream *stream // nil before the request was sent; the connection's lock guards it
	method string
	tunnel string // the protocol that an upgrade asks for, or "CONNECT"; "": neither
	heads  []*message.Response
	final  bool // the final head came
	empty  bool // and nothing after it

	readBy, writeBy time.Time // before there is a stream
	closed          bool
	opened          chan struct{} // closed when stream is set, or never will be
	openErr         error
}

// Open makes a stream that nothing has been sent on. It must be closed.
func (c *Client) Open() *ClientStream {
	return &ClientStream{client: c, opened: make(chan struct{})}
}

// open sends the head.
func (x *ClientStream) open(q *message.Request) error {
	c := x.client
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(x.opened)
	switch {
	case c.err != nil:
		x.openErr = c.err
	case c.closing || x.closed:
		x.openErr = ErrClosed
	case c.refused || c.next >= maxID:
		x.openErr = &ResetError{Code: http2.ErrCodeRefusedStream, Remote: true}
	}
	if x.openErr != nil {
		return x.openErr
	}
	s := c.newStream(c.next, x)
	c.next += 2
	x.stream, x.method = s, q.Method
	if x.tunnel = q.Upgrade; q.Method == "CONNECT" {
		x.tunnel = q.Method
	}
	s.readBy, s.writeBy = x.readBy, x.writeBy
	s.arm()
	last := q.Body == nil && x.tunnel == ""
	c.writeHead(s.id, last, func(field func(name, value string)) { encodeRequest(q, field) })
	if q.Body == nil || !message.Ready(q.Body) {
		c.wake()
	}
	if last {
		s.ended(true)
	}
	return nil
}

// WriteRequest sends a request with all of its body, which it does not close. An error
// of the body itself is a *http1.BodyError.
func (x *ClientStream) WriteRequest(q *message.Request) error {
	if err := x.open(q); err != nil || q.Body == nil {
		return err
	}
	return x.stream.content(q.Body)
}

// ReadResponse waits for the final head.
func (x *ClientStream) ReadResponse() (*message.Response, error) {
	<-x.opened
	if x.openErr != nil {
		return nil, x.openErr
	}
	for {
		p, err := x.nextHead()
		if err != nil {
			return nil, err
		}
		if p.Status >= 200 || x.accepted(p) {
			return p, nil
		}
		if x.Inform != nil {
			x.Inform(p.Status, p.Header)
		}
	}
}

func (x *ClientStream) nextHead() (*message.Response, error) {
	s := x.stream
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for {
		switch {
		case expired(s.readBy):
			return nil, os.ErrDeadlineExceeded
		case len(x.heads) > 0:
			p := x.heads[0]
			x.heads = x.heads[1:]
			if p.Status >= 200 && !x.empty && !x.accepted(p) {
				p.Body = (*responseBody)(x)
			}
			return p, nil
		case s.readErr != nil:
			return nil, s.readErr
		}
		s.arrived.Wait()
	}
}

// Tunnel is the server's side of a tunnel, once a response has opened it.
func (x *ClientStream) Tunnel() *Tunnel { return &Tunnel{x.stream} }

// SetDeadline is when what waits on the stream gives up with os.ErrDeadlineExceeded;
// zero: never.
func (x *ClientStream) SetDeadline(at time.Time) { x.setDeadlines(at, true) }

// SetReadDeadline is SetDeadline for receiving only.
func (x *ClientStream) SetReadDeadline(at time.Time) { x.setDeadlines(at, false) }

func (x *ClientStream) setDeadlines(at time.Time, write bool) {
	x.client.mu.Lock()
	s := x.stream
	if s == nil {
		x.readBy = at
		if write {
			x.writeBy = at
		}
	}
	x.client.mu.Unlock()
	if s != nil {
		s.setDeadlines(at, write)
	}
}

// Complete tells whether both messages are, and nothing is left to read.
func (x *ClientStream) Complete() bool {
	x.client.mu.Lock()
	defer x.client.mu.Unlock()
	return x.stream != nil && x.stream.inEnd && x.stream.sentEnd
}

// Close resets the stream unless both messages are complete.
func (x *ClientStream) Close() {
	x.client.mu.Lock()
	defer x.client.mu.Unlock()
	x.closed = true
	if x.stream != nil {
		x.stream.in = nil
		x.stream.reset(http2.ErrCodeCancel, "")
	}
}

// responseBody is the content of the response.
type responseBody ClientStream

// Read implements message.Body.
func (b *responseBody) Read(p []byte) (int, error) { return b.stream.Read(p) }

// Ready implements message.ReadyBody.
func (b *responseBody) Ready() bool { return b.stream.Ready() }

// Close implements message.Body: the stream's Close resets what is not complete.
func (b *responseBody) Close() error { return nil }

// Trailer implements message.Body.
func (b *responseBody) Trailer() message.Header { return b.stream.Trailer() }

var _ message.ReadyBody = (*responseBody)(nil)
