package http1

import (
	"bytes"
	"io"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

type responseRoom struct {
	message.Response
	fields [roomFields]message.Field
}

// ReadResponse reads the head of the final response to a request of that method, or a
// 101; other 1xx go to Inform. Errors are as ReadRequest's; io.EOF is a connection that
// ended before the first byte. After a 101, or a 2xx to CONNECT, Body is nil and the
// connection belongs to the caller: Rest has what already came on it.
func (r *Reader) ReadResponse(method string) (*message.Response, error) {
	for {
		p, err := r.readResponse(method)
		if err != nil || p.Status >= 200 || p.Status == 101 {
			return p, err
		}
		if r.Inform != nil {
			r.Inform(p.Status, p.Header)
		}
	}
}

func (r *Reader) readResponse(method string) (*message.Response, error) {
	if err := r.begin(); err != nil {
		return nil, err
	}
	size, _, err := r.head(Limits{})
	if err != nil {
		return nil, err
	}
	head := r.buf[r.r : r.r+size]
	line := bytes.IndexByte(head, '\r')
	status, version, err := scanStatusLine(head[:line])
	if err != nil {
		return nil, err
	}
	if head[line+1] != '\n' {
		return nil, malformed(detailsCharacters, "CR inside the status line")
	}
	if err := r.scanFields(head, line+2); err != nil {
		return nil, err
	}
	text := string(head[line+2:])
	for i := range r.spans {
		s := &r.spans[i]
		s.name, s.nameEnd, s.value, s.valueEnd = s.name-line-2, s.nameEnd-line-2, s.value-line-2, s.valueEnd-line-2
	}
	r.r += size
	room := &responseRoom{Response: message.Response{Status: status, Protocol: version}}
	var f framing
	if room.Header, err = r.collect(text, room.fields[:0], &f, false); err != nil {
		return nil, err
	}
	if err := f.checkEncoding(version); err != nil {
		return nil, err
	}
	if err := r.setContent(&room.Response, method, &f); err != nil {
		return nil, err
	}
	return &room.Response, nil
}

// setContent decides how the content ends (RFC 9112, 6.3).
func (r *Reader) setContent(p *message.Response, method string, f *framing) error {
	r.keepAlive = f.persists(p.Protocol)
	p.ContentLength = f.length
	switch {
	case p.Status < 200 || p.Status == 204:
		if f.chunked {
			return malformed(detailsEncodingForbidden, "transfer-encoding in a response without content")
		}
		if f.length > 0 {
			return malformed(detailsLengthForbidden, "content-length in a response without content")
		}
		p.Header.Del("content-length")
		p.ContentLength = 0
		if p.Status == 101 {
			p.Header.Set("upgrade", f.upgrade)
			r.keepAlive = false
		}
	case method == "CONNECT" && p.Status < 300:
		p.ContentLength = 0
		r.keepAlive = false
	case method == "HEAD" || p.Status == 304:
	case f.chunked:
		p.ContentLength = -1
		r.body = &body{r: r, kind: chunked}
		p.Body = r.body
	case f.length > 0:
		r.body = &body{r: r, kind: sized, remaining: f.length}
		p.Body = r.body
	case f.length < 0:
		r.keepAlive = false
		r.body = &body{r: r, kind: untilClose}
		p.Body = r.body
	}
	return nil
}

func scanStatusLine(line []byte) (status int, version message.Protocol, err error) {
	if len(line) < 12 || line[8] != ' ' || string(line[:7]) != "HTTP/1." {
		return 0, 0, malformed(detailsCodec, "no HTTP/1 status line")
	}
	switch line[7] {
	case '1':
	case '0':
		version = message.HTTP10
	default:
		return 0, 0, malformed(detailsCodec, "an unknown version of HTTP/1")
	}
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return 0, 0, malformed(detailsCodec, "the status is no number")
		}
		status = status*10 + int(c-'0')
	}
	if status < 100 || status > 599 {
		return 0, 0, malformed(detailsCodec, "a status outside 100 to 599")
	}
	if len(line) > 12 && line[12] != ' ' {
		return 0, 0, malformed(detailsCodec, "the status has more than three digits")
	}
	for _, c := range line[12:] {
		if isControl(c) {
			return 0, 0, malformed(detailsCharacters, "the reason has control characters")
		}
	}
	return status, version, nil
}

var _ io.Reader = (*body)(nil)
