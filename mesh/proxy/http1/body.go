package http1

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

type bodyKind uint8

const (
	sized bodyKind = iota
	chunked
	untilClose
)

// The places in a chunked body (RFC 9112, 7.1).
type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkData
	chunkDataEnd
	chunkTrailer
)

// body is the content of one message. Its end, once known, is sticky: a body that is
// done never touches the Reader again, which may be at the next message by then.
type body struct {
	r         *Reader
	kind      bodyKind
	state     chunkState
	remaining int64 // of the content (sized) or of the chunk
	overhead  int   // bytes of chunk heads since the last content
	trailer   message.Header
	err       error
	done      atomic.Bool
	total     atomic.Int64
}

var errClosed = errors.New("http/1: body is closed")

// Read implements io.Reader. It gives io.EOF together with the last bytes where the
// end is known by then, and never waits once it has a byte.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n := 0
	for {
		b.frame()
		if b.err != nil {
			break
		}
		if n == len(p) {
			break
		}
		if b.content() > 0 {
			n += b.copy(p[n:])
			continue
		}
		if n > 0 {
			break
		}
		if b.canBypass(len(p)) {
			n = b.bypass(p)
			continue
		}
		if err := b.r.fill(); err != nil {
			b.broken(err)
		}
	}
	b.total.Add(int64(n))
	if b.err != nil && n > 0 && b.err != io.EOF {
		return n, nil
	}
	return n, b.err
}

// content is how many bytes of content can be had without reading.
func (b *body) content() int64 {
	if b.kind == chunked && b.state != chunkData {
		return 0
	}
	have := int64(b.r.w - b.r.r)
	if b.kind != untilClose {
		have = min(have, b.remaining)
	}
	return have
}

func (b *body) copy(p []byte) int {
	n := copy(p, b.r.buf[b.r.r:b.r.r+int(b.content())])
	b.r.r += n
	b.take(n)
	return n
}

func (b *body) take(n int) {
	if b.kind != untilClose {
		b.remaining -= int64(n)
	}
}

// canBypass tells whether reading straight into the caller's memory saves a copy.
func (b *body) canBypass(size int) bool {
	if b.r.r != b.r.w || b.r.err != nil || size < bufferSize {
		return false
	}
	return b.kind == untilClose || b.remaining >= bufferSize && (b.kind == sized || b.state == chunkData)
}

func (b *body) bypass(p []byte) int {
	if b.kind != untilClose {
		p = p[:min(int64(len(p)), b.remaining)]
	}
	n, err := b.r.src.Read(p)
	b.take(n)
	if n == 0 && err != nil {
		if !isTimeout(err) {
			b.r.err = err
		}
		b.broken(err)
	}
	return n
}

// broken notes why the source gave no more.
func (b *body) broken(err error) {
	if err == io.EOF {
		if b.kind == untilClose {
			b.finish()
			return
		}
		err = io.ErrUnexpectedEOF
	}
	b.fail(err)
}

func (b *body) fail(err error) {
	b.err = err
	if b.r.BodyEnd != nil {
		b.r.BodyEnd(err)
	}
}

func (b *body) finish() {
	b.err = io.EOF
	end := b.r.BodyEnd
	b.done.Store(true) // from here on the Reader may be at the next message
	if end != nil {
		end(nil)
	}
}

// Ready implements message.ReadyBody.
func (b *body) Ready() bool {
	if b.err == nil {
		b.frame()
	}
	return b.err != nil || b.content() > 0
}

// Trailer implements message.Body.
func (b *body) Trailer() message.Header { return b.trailer }

// Close gives the rest up. The connection can only be used again where nothing was left.
func (b *body) Close() error {
	if b.err == nil {
		b.fail(errClosed)
	}
	return nil
}

// frame goes on in the framing as far as the buffered bytes go: it stops where content
// comes, where bytes are missing, or at the end.
func (b *body) frame() {
	if b.kind == sized {
		if b.remaining == 0 && b.err == nil {
			b.finish()
		}
		return
	}
	if b.kind == untilClose {
		return
	}
	for b.err == nil && b.step() {
	}
}

// step is one move of the chunked decoder; false where it can not go on by itself.
func (b *body) step() bool {
	have := b.r.buf[b.r.r:b.r.w]
	switch b.state {
	case chunkData:
		if b.remaining > 0 {
			b.overhead = 0
			return false
		}
		b.state = chunkDataEnd
		return true
	case chunkDataEnd:
		if len(have) > 0 && have[0] != '\r' || len(have) > 1 && have[1] != '\n' {
			b.fail(malformed(detailsCodec, "a chunk is longer than it says"))
			return false
		}
		if len(have) < 2 {
			return false
		}
		b.r.r += 2
		b.state = chunkSize
		return true
	case chunkSize:
		return b.stepSize(have)
	default:
		return b.stepTrailer(have)
	}
}

// maxChunkOverhead bounds the lines around content, extensions and trailers included,
// so that a stream of them cannot go on for ever.
const maxChunkOverhead = 16 << 10

func (b *body) line(have []byte) ([]byte, bool) {
	i := bytes.IndexByte(have, '\n')
	if i < 0 {
		if len(have) > maxChunkOverhead {
			b.fail(malformed(detailsCodec, "a chunk's line is too long"))
		}
		return nil, false
	}
	if i == 0 || have[i-1] != '\r' {
		b.fail(malformed(detailsCodec, "a chunk's line ends without CR"))
		return nil, false
	}
	b.overhead += i + 1
	if b.overhead > maxChunkOverhead {
		b.fail(malformed(detailsCodec, "too many bytes around chunks"))
		return nil, false
	}
	return have[:i+1], true
}

func (b *body) stepSize(have []byte) bool {
	line, ok := b.line(have)
	if !ok {
		return false
	}
	size, ok := parseChunkSize(line[:len(line)-2])
	if !ok {
		b.fail(malformed(detailsCodec, "a chunk's size is no hexadecimal number"))
		return false
	}
	b.r.r += len(line)
	b.remaining, b.state = size, chunkData
	if size == 0 {
		b.state = chunkTrailer
	}
	return true
}

// parseChunkSize takes up to 15 hexadecimal digits, then nothing or an extension, which
// is ignored (RFC 9112, 7.1.1) but may not hold control characters.
func parseChunkSize(line []byte) (int64, bool) {
	var n int64
	i := 0
	for ; i < len(line); i++ {
		d := hexDigit(line[i])
		if d < 0 {
			break
		}
		if i == 15 {
			return 0, false
		}
		n = n<<4 | int64(d)
	}
	if i == 0 {
		return 0, false
	}
	if i == len(line) {
		return n, true
	}
	ext := bytes.TrimLeft(line[i:], " \t")
	if len(ext) == 0 || ext[0] != ';' {
		return 0, false
	}
	for _, c := range ext {
		if isControl(c) {
			return 0, false
		}
	}
	return n, true
}

func hexDigit(c byte) int {
	switch {
	case c-'0' <= 9:
		return int(c - '0')
	case c-'a' <= 5:
		return int(c-'a') + 10
	case c-'A' <= 5:
		return int(c-'A') + 10
	}
	return -1
}

// stepTrailer reads one line of the trailer section. Fields that would change the
// message's framing or routing after the fact are dropped (RFC 9110, 6.5.1).
func (b *body) stepTrailer(have []byte) bool {
	line, ok := b.line(have)
	if !ok {
		return false
	}
	if len(line) == 2 {
		b.r.r += 2
		b.finish()
		return false
	}
	s, next, err := scanField(line, 0)
	if err == nil && next != len(line) {
		err = malformed(detailsCharacters, "CR inside a trailer")
	}
	if err == nil && len(b.trailer) >= defaultFields {
		err = &ProtocolError{Status: 431, Details: detailsTooManyFields, Reason: "too many trailers"}
	}
	if err != nil {
		b.fail(err)
		return false
	}
	switch name := string(line[s.name:s.nameEnd]); name {
	case "transfer-encoding", "content-length", "host", "connection", "trailer", "te", "upgrade", "content-encoding", "content-type":
	default:
		b.trailer.Add(name, string(line[s.value:s.valueEnd]))
	}
	b.r.r += len(line)
	return true
}
