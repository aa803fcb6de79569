package http1

import (
	"io"
	"net"
	"strconv"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

const (
	// oneWrite is how much head and content share one buffer and one write.
	oneWrite = 16 << 10
	// streamBuffer is the piece in which longer content passes.
	streamBuffer = 32 << 10
	// chunkRoom is kept free in front of a chunk for its size line, and behind for its end.
	chunkRoom, chunkTail = 10, 2
	lastChunk            = "0\r\n"
)

// Writer writes the messages of one direction of a connection. It holds nothing back
// when a call returns. One goroutine at a time uses it.
type Writer struct {
	dst  io.Writer
	buf  []byte
	sent int64
}

// NewWriter writes to dst.
func NewWriter(dst io.Writer) *Writer { return &Writer{dst: dst, buf: make([]byte, 0, bufferSize)} }

// Sent is the number of content bytes of the last message written so far.
func (w *Writer) Sent() int64 { return w.sent }

// ResponseOptions are what a response depends on beside itself.
type ResponseOptions struct {
	Method   string           // of the request: HEAD and CONNECT change the framing
	Protocol message.Protocol // of the request: HTTP/1.0 knows no chunks
	Close    bool             // say "connection: close"
}

// MustClose tells whether the response can only end with the connection.
func (o ResponseOptions) MustClose(p *message.Response) bool {
	return o.Close || o.Protocol == message.HTTP10 && p.Body != nil && p.ContentLength < 0
}

// WriteInform writes a 1xx response without fields, for example 100.
func (w *Writer) WriteInform(status int) error {
	w.buf = appendStatus(w.buf[:0], status)
	w.buf = append(w.buf, "\r\n"...)
	return w.flush()
}

// WriteRequest writes a request with its whole body, which it does not close. An error
// of the body is a *BodyError; the connection is unusable after any error.
func (w *Writer) WriteRequest(q *message.Request) error {
	w.sent = 0
	b := append(w.buf[:0], q.Method...)
	b = append(b, ' ')
	if q.Method == "CONNECT" {
		b = append(b, q.Authority...)
	} else {
		b = append(b, q.Path...)
	}
	b = append(b, " HTTP/1.1\r\nhost: "...)
	b = append(b, q.Authority...)
	b = append(b, "\r\n"...)
	b = appendFields(b, q.Header)
	if q.Upgrade != "" {
		b = append(b, "connection: Upgrade\r\nupgrade: "...)
		b = append(b, q.Upgrade...)
		b = append(b, "\r\n"...)
	}
	switch {
	case q.Body == nil:
		if hasContent(q) {
			b = append(b, "content-length: 0\r\n"...)
		}
	case q.ContentLength >= 0:
		b = appendLength(b, q.ContentLength)
	default:
		b = append(b, "transfer-encoding: chunked\r\n"...)
	}
	w.buf = append(b, "\r\n"...)
	if q.Body == nil {
		return w.flush()
	}
	hold := !q.Header.Has("expect") // the peer may want to see the head before it lets content come
	return w.writeBody(q.Body, q.ContentLength, q.ContentLength < 0, hold)
}

// hasContent tells whether to say that there is no content (RFC 9110, 8.6): where the
// method means to have some, or where the sender said so.
func hasContent(q *message.Request) bool {
	switch q.Method {
	case "GET", "HEAD", "OPTIONS", "DELETE", "CONNECT", "TRACE":
		return q.ContentLength == 0 && q.Header.Has("content-length")
	}
	return q.Upgrade == ""
}

// WriteResponse writes a response with its whole body, as far as the request's method
// lets it have one; it does not close the body. Errors are as WriteRequest's.
func (w *Writer) WriteResponse(p *message.Response, o ResponseOptions) error {
	w.sent = 0
	b := appendStatus(w.buf[:0], p.Status)
	b = appendFields(b, p.Header)
	body, inChunks := p.Body, false
	switch {
	case p.Status == 101:
		b = append(b, "connection: Upgrade\r\nupgrade: "...)
		b = append(b, p.Header.Get("upgrade")...)
		b = append(b, "\r\n"...)
		body = nil
	case p.Status < 200 || p.Status == 204 || o.Method == "CONNECT" && p.Status < 300:
		body = nil
	case o.Method == "HEAD" || p.Status == 304:
		b = appendDeclared(b, p)
		body = nil
	case body == nil:
		b = append(b, "content-length: 0\r\n"...)
	case p.ContentLength >= 0:
		b = appendLength(b, p.ContentLength)
	case o.Protocol != message.HTTP10:
		b = append(b, "transfer-encoding: chunked\r\n"...)
		inChunks = true
	}
	switch {
	case o.MustClose(p):
		b = append(b, "connection: close\r\n"...)
	case o.Protocol == message.HTTP10 && p.Status != 101:
		b = append(b, "connection: keep-alive\r\n"...)
	}
	w.buf = append(b, "\r\n"...)
	if body == nil {
		return w.flush()
	}
	return w.writeBody(body, p.ContentLength, inChunks, true)
}

// appendDeclared repeats the length of content that does not come (HEAD, 304).
func appendDeclared(b []byte, p *message.Response) []byte {
	if p.Body != nil && p.ContentLength >= 0 {
		return appendLength(b, p.ContentLength)
	}
	if n, err := parseLength(p.Header.Get("content-length")); err == nil {
		return appendLength(b, n)
	}
	return b
}

func appendLength(b []byte, n int64) []byte {
	b = append(b, "content-length: "...)
	b = strconv.AppendInt(b, n, 10)
	return append(b, "\r\n"...)
}

func appendStatus(b []byte, status int) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, StatusText(status)...)
	return append(b, "\r\n"...)
}

func appendFields(b []byte, h message.Header) []byte {
	for i := range h {
		f := &h[i]
		if isHops(f.Name) {
			continue
		}
		b = append(b, f.Name...)
		b = append(b, ':', ' ')
		b = append(b, f.Value...)
		b = append(b, '\r', '\n')
	}
	return b
}

// isHops names the fields that a Writer makes itself.
func isHops(name string) bool {
	switch name {
	case "host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "upgrade":
		return true
	}
	return false
}

func (w *Writer) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.dst.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}

// writeBody sends what is in the buffer, then the content. What is ready goes with the
// head; before anything that may wait the buffer is flushed, unless hold says that short
// content of known size is in memory anyway.
func (w *Writer) writeBody(body message.Body, length int64, inChunks, hold bool) error {
	if mem, ok := body.(*message.Bytes); ok && length > int64(oneWrite-len(w.buf)) && !inChunks {
		return w.writeMemory(mem, length)
	}
	if _, knows := body.(message.ReadyBody); knows || length < 0 || length > int64(oneWrite-len(w.buf)) {
		hold = false
	}
	w.makeRoom(length)
	left := length
	for {
		if !hold && !message.Ready(body) || len(w.buf) == cap(w.buf) {
			if err := w.flush(); err != nil {
				return err
			}
		}
		n, err := w.readPiece(body, inChunks)
		w.sent += int64(n)
		if length >= 0 {
			if left -= int64(n); left < 0 {
				return &BodyError{errLonger}
			}
			if left == 0 && err == nil {
				return w.expectEnd(body)
			}
		}
		if err == io.EOF {
			if left > 0 && length >= 0 {
				return &BodyError{io.ErrUnexpectedEOF}
			}
			return w.end(body, inChunks)
		}
		if err != nil {
			_ = w.flush() // what came before the break goes on its way; the break itself is the error
			return &BodyError{err}
		}
		if !hold || len(w.buf) > oneWrite {
			if message.Ready(body) && len(w.buf) < oneWrite {
				continue
			}
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
}

// expectEnd makes sure that content of the declared length ends there, and lets the
// body notice its end, as owners of connections wait for it.
func (w *Writer) expectEnd(body io.Reader) error {
	if err := w.flush(); err != nil {
		return err
	}
	var one [1]byte
	n, err := body.Read(one[:])
	switch {
	case n > 0:
		return &BodyError{errLonger}
	case err != nil && err != io.EOF:
		return &BodyError{err}
	}
	return nil
}

// makeRoom grows the buffer once for the content to come.
func (w *Writer) makeRoom(length int64) {
	need := int64(streamBuffer)
	if all := int64(len(w.buf)) + length + chunkRoom + chunkTail; length >= 0 && all < need {
		need = all
	}
	if int64(cap(w.buf)) < need || cap(w.buf)-len(w.buf) < bufferSize/4 && length > bufferSize/4 {
		w.buf = append(make([]byte, 0, roundUp(max(int(need), len(w.buf)+bufferSize))), w.buf...)
	}
}

var errLonger = &lengthError{}

type lengthError struct{}

func (*lengthError) Error() string { return "longer than its declared length" }

func roundUp(n int) int {
	size := bufferSize
	for size < n {
		size *= 2
	}
	return size
}

// readPiece reads once from the body to the end of the buffer, with a chunk's lines
// around it where those are wanted.
func (w *Writer) readPiece(body io.Reader, inChunks bool) (int, error) {
	if !inChunks {
		n, err := body.Read(w.buf[len(w.buf):cap(w.buf)])
		w.buf = w.buf[:len(w.buf)+n]
		return n, err
	}
	if cap(w.buf)-len(w.buf) < 2*(chunkRoom+chunkTail) {
		if err := w.flush(); err != nil {
			return 0, err
		}
	}
	start := len(w.buf)
	n, err := body.Read(w.buf[start+chunkRoom : cap(w.buf)-chunkTail])
	if n == 0 {
		return 0, err
	}
	// The size line has no fixed length: write it, then close the gap.
	b := strconv.AppendInt(w.buf[:start], int64(n), 16)
	b = append(b, '\r', '\n')
	data := w.buf[start+chunkRoom : start+chunkRoom+n]
	b = append(b, data...)
	w.buf = append(b, '\r', '\n')
	return n, err
}

// buffersWriter is implemented by wrapped connections, which net.Buffers does not
// recognise, to pass a writev on.
type buffersWriter interface {
	WriteBuffers(*net.Buffers) (int64, error)
}

// writeMemory sends head and a long body in memory with one writev, without a copy.
func (w *Writer) writeMemory(body *message.Bytes, length int64) error {
	rest := body.Rest()
	if int64(len(rest)) != length {
		return &BodyError{errLonger}
	}
	pieces := net.Buffers{w.buf, rest}
	var n int64
	var err error
	if v, ok := w.dst.(buffersWriter); ok {
		n, err = v.WriteBuffers(&pieces)
	} else {
		n, err = pieces.WriteTo(w.dst)
	}
	w.sent = max(n-int64(len(w.buf)), 0)
	w.buf = w.buf[:0]
	_ = body.Close()
	return err
}

func (w *Writer) end(body message.Body, inChunks bool) error {
	if inChunks {
		w.buf = append(w.buf, lastChunk...)
		w.buf = appendFields(w.buf, body.Trailer())
		w.buf = append(w.buf, "\r\n"...)
	}
	return w.flush()
}
