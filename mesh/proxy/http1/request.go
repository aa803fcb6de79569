package http1

import (
	"bytes"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// roomFields is how many fields a message has room for without another allocation.
const roomFields = 18

type requestRoom struct {
	message.Request
	fields [roomFields]message.Field
}

// ReadRequest reads the head of the next request. The error is io.EOF where the
// connection ended between two requests, a *ProtocolError where what came is no good
// (answer and close), ErrPreface for HTTP/2, else the source's own. The body, if any, is
// read through the request. Stream is left nil. Scheme is set for absolute targets only.
func (r *Reader) ReadRequest(limits Limits) (*message.Request, error) {
	room := new(requestRoom)
	room.Header = room.fields[:0]
	if err := r.ReadRequestInto(&room.Request, limits); err != nil {
		return nil, err
	}
	return &room.Request, nil
}

// ReadRequestInto is ReadRequest into memory of the caller: q is zero but for the
// array of its Header, which is used as far as it goes.
func (r *Reader) ReadRequestInto(q *message.Request, limits Limits) error {
	if err := r.begin(); err != nil {
		return err
	}
	size, _, err := r.head(limits)
	if err != nil {
		return err
	}
	head := r.buf[r.r : r.r+size]
	line := bytes.IndexByte(head, '\r')
	method, target, version, err := scanRequestLine(head[:line])
	if err != nil {
		return err
	}
	if head[line+1] != '\n' {
		return malformed(detailsCharacters, "CR inside the request line")
	}
	if err := r.scanFields(head, line+2); err != nil {
		return err
	}
	text := string(head) // the one allocation that all strings of the head share
	r.r += size
	var f framing
	if q.Header, err = r.collect(text, q.Header[:0], &f, true); err != nil {
		return err
	}
	q.Method, q.Protocol = text[:method], version
	if err := f.checkEncoding(version); err != nil {
		return err
	}
	if err := setTarget(q, text[method+1:target], &f); err != nil {
		return err
	}
	r.keepAlive = f.persists(version)
	if version == message.HTTP11 {
		q.Upgrade = strings.ToLower(f.upgrade)
	}
	q.ContentLength = max(f.length, 0)
	switch {
	case f.chunked:
		q.ContentLength = -1
		r.body = &body{r: r, kind: chunked}
		q.Body = r.body
	case f.length > 0:
		r.body = &body{r: r, kind: sized, remaining: f.length}
		q.Body = r.body
	}
	return nil
}

// scanRequestLine finds the ends of method and target (RFC 9112, 3): exactly one
// space between the three parts.
func scanRequestLine(line []byte) (method, target int, version message.Protocol, err error) {
	for method < len(line) && lowerToken[line[method]] != 0 {
		method++
	}
	if method == 0 || method == len(line) || line[method] != ' ' {
		return 0, 0, 0, malformed(detailsCodec, "the method is no token")
	}
	target = method + 1
	for target < len(line) && line[target] > ' ' && line[target] != 0x7f {
		target++
	}
	if target == method+1 || target == len(line) || line[target] != ' ' {
		return 0, 0, 0, malformed(detailsURL, "the target is empty or has control characters")
	}
	switch rest := line[target+1:]; {
	case string(rest) == "HTTP/1.1":
		return method, target, message.HTTP11, nil
	case string(rest) == "HTTP/1.0":
		return method, target, message.HTTP10, nil
	case string(line) == "PRI * HTTP/2.0":
		return 0, 0, 0, ErrPreface
	case isVersion(rest):
		return 0, 0, 0, &ProtocolError{Status: 505, Details: detailsCodec, Reason: "HTTP version " + string(rest)}
	}
	return 0, 0, 0, malformed(detailsCodec, "the request line does not end with a version")
}

func isVersion(b []byte) bool {
	return len(b) == 8 && string(b[:5]) == "HTTP/" && b[5]-'0' <= 9 && b[6] == '.' && b[7]-'0' <= 9
}

// setTarget splits the target by its form (RFC 9112, 3.2). The authority of an absolute
// target wins over host; host must be there exactly once from HTTP/1.1 on all the same.
func setTarget(q *message.Request, target string, f *framing) error {
	if f.hosts > 1 {
		return malformed(detailsCodec, "more than one host")
	}
	q.Authority = f.host
	switch {
	case q.Method == "CONNECT":
		q.Authority = target
	case target[0] == '/':
		q.Path = target
	case target == "*" && q.Method == "OPTIONS":
		q.Path = target
	default:
		if err := absolute(q, target); err != nil {
			return err
		}
	}
	if q.Protocol == message.HTTP11 && f.hosts == 0 {
		return malformed(detailsHost, "no host")
	}
	if q.Authority == "" && q.Protocol == message.HTTP11 {
		return malformed(detailsHost, "an empty host")
	}
	for i := range len(q.Authority) {
		if !hostByte[q.Authority[i]] {
			return malformed(detailsCharacters, "host has characters that no host has")
		}
	}
	return nil
}

func absolute(q *message.Request, target string) error {
	scheme, rest, found := strings.Cut(target, "://")
	if !found {
		return malformed(detailsURL, "the target is neither a path nor a URL")
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case "http", "https":
		q.Scheme = scheme
	default:
		return malformed(detailsScheme, "scheme "+scheme)
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	q.Authority, q.Path = rest[:end], rest[end:]
	if q.Authority == "" {
		return malformed(detailsURL, "a URL without a host")
	}
	if q.Path == "" || q.Path[0] != '/' {
		q.Path = "/" + q.Path
	}
	return nil
}
