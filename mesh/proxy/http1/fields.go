package http1

import (
	"encoding/binary"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// lowerToken maps the characters of a token (RFC 9110, 5.6.2) to lower case, all others to 0.
var lowerToken = func() (t [256]byte) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") {
		t[c] = c
	}
	for c := byte('A'); c <= 'Z'; c++ {
		t[c] = c + 'a' - 'A'
	}
	return t
}()

// hostByte has the characters of uri-host [":" port] (RFC 3986, 3.2.2).
var hostByte = func() (t [256]bool) {
	for _, c := range []byte("-._~!$&'()*+,;=%:[]") {
		t[c] = true
	}
	for c := byte('0'); c <= '9'; c++ {
		t[c] = true
	}
	for c := byte('a'); c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	return t
}()

// scanFields checks the field lines of head from offset at on, lower-cases their names
// in place and remembers where they lie. head ends with an empty line.
func (r *Reader) scanFields(head []byte, at int) error {
	for head[at] != '\r' {
		s, next, err := scanField(head, at)
		if err != nil {
			return err
		}
		r.spans = append(r.spans, s)
		at = next
	}
	return nil
}

func scanField(head []byte, at int) (s span, next int, err error) {
	i := at
	for {
		c := lowerToken[head[i]]
		if c == 0 {
			break
		}
		head[i] = c
		i++
	}
	if head[i] != ':' || i == at {
		return s, 0, nameError(head, at, i)
	}
	s.name, s.nameEnd = at, i
	i++
	for head[i] == ' ' || head[i] == '\t' {
		i++
	}
	s.value = i
	end := endOfValue(head, i)
	if head[end] != '\r' || head[end+1] != '\n' {
		return s, 0, malformed(detailsCharacters, "a field's value has control characters")
	}
	next = end + 2
	for end > s.value && (head[end-1] == ' ' || head[end-1] == '\t') {
		end--
	}
	s.valueEnd = end
	return s, next, nil
}

func nameError(head []byte, at, i int) error {
	switch {
	case i == at && (head[i] == ' ' || head[i] == '\t'):
		return malformed(detailsCodec, "a folded field line") // RFC 9112, 5.2
	case head[i] == ' ' || head[i] == '\t':
		return malformed(detailsCodec, "space before the colon of a field") // RFC 9112, 5.1
	case head[i] == '\r':
		return malformed(detailsCodec, "a field line without a colon")
	default:
		return malformed(detailsCharacters, "a field's name is no token")
	}
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// endOfValue finds the first byte that no value may hold: a control character other
// than tab, eight bytes at a time where it can. head always ends with one.
func endOfValue(head []byte, i int) int {
	for i+8 <= len(head) {
		x := binary.LittleEndian.Uint64(head[i:])
		del := x ^ 0x7f*ones
		if ((x-0x20*ones)&^x|(del-ones)&^del)&highs != 0 {
			for stop := i + 8; i < stop; i++ {
				if isControl(head[i]) {
					return i
				}
			}
			continue
		}
		i += 8
	}
	for !isControl(head[i]) {
		i++
	}
	return i
}

func isControl(c byte) bool { return c < 0x20 && c != '\t' || c == 0x7f }

// framing is what the fields of a head say about its message and its connection.
type framing struct {
	hosts      int
	host       string
	length     int64 // -1: none declared
	chunked    bool
	encodings  int
	close      bool
	keepAlive  bool
	upgrade    string
	hasUpgrade bool   // connection names it
	connection string // joined connection fields
}

// collect makes the header of the spans over text (one string for all), takes the
// hop's own fields out and notes what they say.
func (r *Reader) collect(text string, header message.Header, f *framing, server bool) (message.Header, error) {
	f.length = -1
	upgrades := ""
	for _, s := range r.spans {
		name, value := text[s.name:s.nameEnd], text[s.value:s.valueEnd]
		keep := true
		switch name {
		case "host":
			if server {
				f.hosts++
				f.host = value
				keep = false
			}
		case "content-length":
			n, err := parseLength(value)
			if err != nil {
				return nil, err
			}
			if f.length >= 0 {
				if n != f.length {
					return nil, malformed(detailsCodec, "two different content-lengths")
				}
				keep = false
			}
			f.length = n
		case "transfer-encoding":
			f.encodings++
			f.chunked = strings.EqualFold(value, "chunked")
			keep = false
		case "connection":
			f.connection = join(f.connection, value)
			keep = false
		case "upgrade":
			upgrades = join(upgrades, value)
			keep = false
		case "te":
			keep = strings.EqualFold(value, "trailers")
		case "keep-alive", "proxy-connection", "http2-settings":
			keep = false
		}
		if keep {
			header = append(header, message.Field{Name: name, Value: value})
		}
	}
	if f.connection != "" {
		var err error
		if header, err = f.nominate(header, server); err != nil {
			return nil, err
		}
	}
	if f.hasUpgrade && !strings.EqualFold(upgrades, "h2c") {
		f.upgrade = upgrades
	}
	return header, nil
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "," + b
}

// maxNominated is Envoy's limit of fields named by connection.
const maxNominated = 10

// nominate removes the fields that connection names (RFC 9110, 7.6.1). A request that
// names what proxies route or trust by is refused, as Envoy refuses it: removing those
// would let a client take away what a proxy before us set.
func (f *framing) nominate(header message.Header, server bool) (message.Header, error) {
	named := 0
	for rest := f.connection; rest != ""; {
		var token string
		token, rest, _ = strings.Cut(rest, ",")
		token = strings.ToLower(strings.Trim(token, " \t"))
		switch token {
		case "":
			continue
		case "close":
			f.close = true
			continue
		case "keep-alive":
			f.keepAlive = true
			continue
		case "upgrade":
			f.hasUpgrade = true
			continue
		case "te", "http2-settings", "proxy-connection", "transfer-encoding":
			continue
		}
		if !server {
			header.Del(token)
			continue
		}
		if named++; named > maxNominated || protected(token) {
			return nil, malformed(detailsConnection, "connection names "+token)
		}
		header.Del(token)
	}
	return header, nil
}

func protected(name string) bool {
	switch name {
	case "host", "content-length", "x-request-id", "cookie", "authorization":
		return true
	}
	return name[0] == ':' || strings.HasPrefix(name, "x-forwarded-") || strings.HasPrefix(name, "x-envoy-")
}

// parseLength takes digits only (RFC 9112, 6.3): no sign, no list, no overflow.
func parseLength(s string) (int64, error) {
	if s == "" || len(s) > 18 {
		return 0, malformed(detailsCodec, "content-length is no number")
	}
	var n int64
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return 0, malformed(detailsCodec, "content-length is no number")
		}
		n = n*10 + int64(d)
	}
	return n, nil
}

// checkEncoding applies RFC 9112, 6.1: chunked once and nothing else, never with
// content-length, never below HTTP/1.1.
func (f *framing) checkEncoding(version message.Protocol) error {
	switch {
	case f.encodings == 0:
		return nil
	case version == message.HTTP10:
		return malformed(detailsEncodingForbidden, "transfer-encoding in HTTP/1.0")
	case f.length >= 0:
		return malformed(detailsChunkedLength, "both transfer-encoding and content-length")
	case f.encodings > 1 || !f.chunked:
		return &ProtocolError{Status: 501, Details: detailsTransferEncoding, Reason: "a transfer-encoding other than chunked"}
	}
	return nil
}

// persists is RFC 9112, 9.3.
func (f *framing) persists(version message.Protocol) bool {
	return !f.close && (version == message.HTTP11 || f.keepAlive)
}
