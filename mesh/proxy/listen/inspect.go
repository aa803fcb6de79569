package listen

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// The transports and plaintext protocols that filter chains match by.
const (
	transportRaw = "raw_buffer"
	transportTLS = "tls"
	appHTTP10    = "http/1.0"
	appHTTP11    = "http/1.1"
	appHTTP2     = "h2c"
)

// inspected is what the first bytes say.
type inspected struct {
	transport  string
	serverName string
	protocols  []string
}

// errUndecided means that the bytes so far do not decide.
var errUndecided = errors.New("more bytes are needed")

// inspect looks at the first bytes as the listener's filters want, for at most the
// listener's timeout; a timeout is an error unless the listener goes on without knowing.
func inspect(c *peekConn, l *snapshot.Listener, port uint16) (inspected, error) {
	seen := inspected{transport: transportRaw}
	wantTLS, wantHTTP := enabled(l.TLSInspector, port), enabled(l.HTTPInspector, port)
	if !wantTLS && !wantHTTP {
		return seen, nil
	}
	if l.InspectTimeout > 0 {
		_ = c.SetReadDeadline(time.Now().Add(l.InspectTimeout))
		defer func() { _ = c.SetReadDeadline(time.Time{}) }()
	}
	for {
		decided := len(c.ahead) > 0 && seen.decide(c.ahead, wantTLS, wantHTTP)
		if decided {
			return seen, nil
		}
		if _, err := c.more(); err != nil {
			if t, ok := err.(interface{ Timeout() bool }); ok && t.Timeout() && l.ContinueOnTimeout {
				return inspected{transport: transportRaw}, nil
			}
			return seen, err
		}
	}
}

func enabled(i *snapshot.Inspector, port uint16) bool {
	if i == nil {
		return false
	}
	for _, r := range i.DisabledPorts {
		if r.Start <= uint32(port) && uint32(port) < r.End {
			return false
		}
	}
	return true
}

// decide looks at the bytes so far; false where more are needed.
func (s *inspected) decide(b []byte, wantTLS, wantHTTP bool) bool {
	if wantTLS {
		switch hello, err := parseClientHello(b); err {
		case nil:
			s.transport, s.serverName, s.protocols = transportTLS, hello.serverName, hello.protocols
			return true
		case errUndecided:
			return false
		}
	}
	if !wantHTTP {
		return true
	}
	protocol, err := parseProtocol(b)
	if err == errUndecided {
		return false
	}
	if protocol != "" {
		s.protocols = []string{protocol}
	}
	return true
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// maxRequestLine bounds what the inspector waits for.
const maxRequestLine = 8 << 10

// parseProtocol recognises a request line; "" is no HTTP.
func parseProtocol(b []byte) (string, error) {
	if n := min(len(b), len(preface)); string(b[:n]) == preface[:n] {
		if n < len(preface) {
			return "", errUndecided
		}
		return appHTTP2, nil
	}
	if !maybeMethod(b) {
		return "", nil
	}
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		if len(b) > maxRequestLine {
			return "", nil
		}
		return "", errUndecided
	}
	line := bytes.TrimSuffix(b[:i], []byte("\r"))
	switch {
	case bytes.HasSuffix(line, []byte(" HTTP/1.1")):
		return appHTTP11, nil
	case bytes.HasSuffix(line, []byte(" HTTP/1.0")):
		return appHTTP10, nil
	}
	return "", nil
}

// methods are those that the inspector takes for HTTP (RFC 9110, 5789, 4918, 3253).
var methods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "ACL", "BIND", "CHECKOUT",
	"COPY", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MOVE", "MSEARCH", "NOTIFY", "PROPFIND", "PROPPATCH", "PURGE",
	"REBIND", "REPORT", "SEARCH", "SOURCE", "SUBSCRIBE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE", "QUERY"}

// maybeMethod tells whether b begins like one of the methods, or they with it.
func maybeMethod(b []byte) bool {
	word, _, whole := bytes.Cut(b, []byte(" "))
	for _, m := range methods {
		if whole && string(word) == m || !whole && strings.HasPrefix(m, string(b)) {
			return true
		}
	}
	return false
}

// hello is what matters of a ClientHello.
type hello struct {
	serverName string
	protocols  []string
}

var errNoTLS = errors.New("no TLS ClientHello")

// maxHello bounds the handshake message, as Envoy's inspector does (16 KiB and a record's head).
const maxHello = 16 << 10

// parseClientHello reads the first flight of TLS (RFC 8446, 4.1.2 and 5.1): records of
// type 22 whose content, joined, begins with a ClientHello.
func parseClientHello(b []byte) (hello, error) {
	var message []byte
	need := 4
	for len(message) < need {
		if len(b) > 0 && b[0] != 22 || len(b) > 1 && b[1] != 3 {
			return hello{}, errNoTLS
		}
		if len(b) < 5 {
			return hello{}, errUndecided
		}
		size := int(binary.BigEndian.Uint16(b[3:]))
		if size == 0 || size > maxHello {
			return hello{}, errNoTLS
		}
		have := b[5:min(len(b), 5+size)]
		message = append(message, have...)
		if len(message) > 0 && message[0] != 1 {
			return hello{}, errNoTLS
		}
		if len(message) >= 4 {
			need = 4 + int(message[1])<<16 + int(binary.BigEndian.Uint16(message[2:]))
			if need > maxHello {
				return hello{}, errNoTLS
			}
		}
		if len(message) < need && len(have) < size {
			return hello{}, errUndecided
		}
		b = b[5+len(have):]
	}
	return parseHelloBody(cursor(message[4:need]))
}

// cursor takes length-prefixed pieces off a message; what is cut short is not ok.
type cursor []byte

func (c *cursor) take(n int) (cursor, bool) {
	if n > len(*c) {
		return nil, false
	}
	piece := (*c)[:n]
	*c = (*c)[n:]
	return piece, true
}

// vector takes a vector whose length has that many bytes.
func (c *cursor) vector(lengthBytes int) (cursor, bool) {
	prefix, ok := c.take(lengthBytes)
	if !ok {
		return nil, false
	}
	n := 0
	for _, b := range prefix {
		n = n<<8 | int(b)
	}
	return c.take(n)
}

func parseHelloBody(c cursor) (h hello, err error) {
	_, ok := c.take(2 + 32) // version, random
	for _, lengthBytes := range []int{1, 2, 1} {
		if ok { // session id, cipher suites, compression
			_, ok = c.vector(lengthBytes)
		}
	}
	if !ok {
		return hello{}, errNoTLS
	}
	extensions, _ := c.vector(2) // may be absent in TLS 1.2
	for len(extensions) > 0 {
		kind, ok := extensions.take(2)
		if !ok {
			return hello{}, errNoTLS
		}
		data, ok := extensions.vector(2)
		if !ok {
			return hello{}, errNoTLS
		}
		switch binary.BigEndian.Uint16(kind) {
		case 0:
			h.serverName = parseServerName(data)
		case 16:
			h.protocols = parseProtocols(data)
		}
	}
	return h, nil
}

// parseServerName is RFC 6066, 3: the first name of type 0.
func parseServerName(c cursor) string {
	list, _ := c.vector(2)
	for len(list) > 0 {
		kind, _ := list.take(1)
		name, ok := list.vector(2)
		if !ok {
			return ""
		}
		if kind[0] == 0 {
			return strings.ToLower(string(name))
		}
	}
	return ""
}

// parseProtocols is RFC 7301, 3.1.
func parseProtocols(c cursor) (protocols []string) {
	list, _ := c.vector(2)
	for len(list) > 0 {
		name, ok := list.vector(1)
		if !ok {
			return nil
		}
		protocols = append(protocols, string(name))
	}
	return protocols
}
