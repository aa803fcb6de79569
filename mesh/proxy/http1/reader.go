package http1

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"syscall"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// Reader reads the messages of one direction of a connection. One goroutine at a
// time uses it; a body that has come to its end no longer touches it.
type Reader struct {
	// Yield lets other goroutines run before each read. On a busy processor the bytes
	// have come by then, which saves a system call that finds nothing; see OverKernel.
	Yield bool
	// Reads counts what was asked of the source, so that who knows the time before knows
	// whether time went by.
	Reads int

	src  io.Reader
	buf  []byte
	r, w int   // unread bytes are buf[r:w]
	err  error // what the source said last; given once the buffer is empty

	// BodyEnd, if set, is told when a body ends: nil at its end, else why it broke.
	// It is called by whoever reads the body, before that Read returns.
	BodyEnd func(error)
	// Inform, if set, gets the 1xx responses that come before a final one.
	Inform func(status int, h message.Header)

	body      *body // of the message read last; nil: it had none
	keepAlive bool
	spans     []span // of the head being parsed
}

// span is where one field lies, from the start of its head.
type span struct{ name, nameEnd, value, valueEnd int }

// NewReader reads from src, which may give what it has in any pieces.
func NewReader(src io.Reader) *Reader {
	return &Reader{src: src, buf: make([]byte, bufferSize)}
}

// OverKernel tells whether reading from a connection is a system call. Virtual
// connections are none: there a yield would only reorder goroutines.
func OverKernel(c net.Conn) bool {
	for {
		switch t := c.(type) {
		case syscall.Conn:
			return true
		case interface{ NetConn() net.Conn }: // TLS
			c = t.NetConn()
		default:
			return false
		}
	}
}

// Buffered is the number of bytes that came and were not read.
func (r *Reader) Buffered() int { return r.w - r.r }

// Rest takes the unread bytes out: what came after the head of an upgrade.
// They are valid until the next use of the Reader.
func (r *Reader) Rest() []byte {
	b := r.buf[r.r:r.w]
	r.r = r.w
	return b
}

// Await returns when a byte is there to be read, or the source's error.
func (r *Reader) Await() error {
	if r.r < r.w {
		return nil
	}
	return r.fill()
}

// Complete tells whether the last message was read to its end.
func (r *Reader) Complete() bool { return r.body == nil || r.body.done.Load() }

// KeepAlive tells whether the peer means to go on after the last message (RFC 9112,
// 9.3) and that message was read to its end, so that the connection can be used again.
func (r *Reader) KeepAlive() bool { return r.keepAlive && r.Complete() }

// BodyBytes is the number of content bytes of the last message given out so far.
func (r *Reader) BodyBytes() int64 {
	if r.body == nil {
		return 0
	}
	return r.body.total.Load()
}

// fill reads once from the source into the buffer, which it makes larger if full.
func (r *Reader) fill() error {
	if r.err != nil {
		return r.err
	}
	if r.r == r.w {
		r.r, r.w = 0, 0
	}
	if r.w == len(r.buf) {
		if r.r > 0 {
			r.w = copy(r.buf, r.buf[r.r:r.w])
			r.r = 0
		} else {
			larger := make([]byte, 2*len(r.buf))
			copy(larger, r.buf[:r.w])
			r.buf = larger
		}
	}
	if r.Yield {
		runtime.Gosched()
	}
	r.Reads++
	n, err := r.src.Read(r.buf[r.w:])
	r.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	if !isTimeout(err) {
		r.err = err
	}
	return err
}

// isTimeout tells a deadline, after which the connection is still good.
func isTimeout(err error) bool {
	t, ok := err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}

// head reads up to the empty line that ends a head and returns its length, empty line
// included; the head lies at buf[r.r:]. Only whole lines are looked at, so a broken line
// is refused when it comes. The error is io.EOF only where nothing came at all.
func (r *Reader) head(limits Limits) (size, lines int, err error) {
	for {
		line := 0
		for size < r.w-r.r {
			pending := r.buf[r.r+size : r.w]
			i := bytes.IndexByte(pending, '\n')
			if i < 0 {
				break
			}
			if i == 0 || pending[i-1] != '\r' {
				return 0, 0, malformed(detailsCodec, "a line ends without CR")
			}
			size += i + 1
			line = i - 1
			if line == 0 {
				if lines == 0 && size == 2 { // RFC 9112, 2.2: one empty line before a request
					r.r, size = r.r+2, 0
					lines = -1
					continue
				}
				if lines <= 0 {
					return 0, 0, malformed(detailsCodec, "empty lines in place of a message")
				}
				return size, lines, checkHead(size, lines, limits)
			}
			lines = max(lines, 0) + 1
		}
		if err := checkHead(r.w-r.r, lines, limits); err != nil {
			return 0, 0, err
		}
		if err := r.fill(); err != nil {
			if err == io.EOF && (r.w > r.r || lines > 0) {
				err = io.ErrUnexpectedEOF
			}
			return 0, 0, err
		}
	}
}

func checkHead(size, lines int, limits Limits) error {
	if size > limits.headBytes() {
		return &ProtocolError{Status: 431, Details: detailsHeadTooLarge, Reason: "the head is too large"}
	}
	if lines-1 > limits.fields() {
		return &ProtocolError{Status: 431, Details: detailsTooManyFields, Reason: "too many fields"}
	}
	return nil
}

// begin makes the Reader ready for the next head.
func (r *Reader) begin() error {
	if !r.Complete() {
		return ErrBusy
	}
	r.body = nil
	r.keepAlive = false
	r.spans = r.spans[:0]
	return nil
}
