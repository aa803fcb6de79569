package http2

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/net/http2"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// perHop tells the fields of HTTP/1's framing, which HTTP/2 does without.
func perHop(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "http2-settings":
		return true
	}
	return false
}

// sendable leaves out of a trailer what does not belong there.
func sendable(h message.Header) message.Header {
	kept := h
	for i, f := range h {
		if perHop(f.Name) || f.Name == "content-length" || f.Name == "host" || f.Name == "te" {
			kept = append(message.Header(nil), h[:i]...)
			for _, f := range h[i:] {
				if !perHop(f.Name) && f.Name != "content-length" && f.Name != "host" && f.Name != "te" {
					kept = append(kept, f)
				}
			}
			break
		}
	}
	return kept
}

// encodeFields writes the fields of a head but those that the codec makes itself.
func encodeFields(h message.Header, field func(name, value string)) {
	for i := range h {
		name, value := h[i].Name, h[i].Value
		switch {
		case perHop(name), name == "content-length", name == "host":
		case name == "te" && value != "trailers":
		default:
			field(name, value)
		}
	}
}

func encodeRequest(q *message.Request, field func(name, value string)) {
	scheme, path := q.Scheme, q.Path
	if scheme == "" {
		scheme = "http"
	}
	if path == "" {
		path = "/"
	}
	switch {
	case q.Method == "CONNECT":
		field(":method", q.Method)
		field(":authority", q.Authority)
	case q.Upgrade != "": // RFC 8441, 4
		field(":method", "CONNECT")
		field(":protocol", q.Upgrade)
		field(":scheme", scheme)
		field(":authority", q.Authority)
		field(":path", path)
	default:
		field(":method", q.Method)
		field(":scheme", scheme)
		field(":authority", q.Authority)
		field(":path", path)
	}
	encodeFields(q.Header, field)
	if tunnels(q) {
		return
	}
	if q.Body != nil && q.ContentLength >= 0 {
		field("content-length", strconv.FormatInt(q.ContentLength, 10))
	} else if q.Body == nil && q.Header.Has("content-length") {
		field("content-length", "0")
	}
}

func encodeResponse(p *message.Response, method string, field func(name, value string)) {
	status := p.Status
	if status == 101 { // an upgrade's acceptance, which HTTP/2 says with a 200 (RFC 8441, 5)
		status = 200
	}
	field(":status", strconv.Itoa(status))
	encodeFields(p.Header, field)
	switch {
	case p.Upgraded != nil:
	case p.Body != nil && p.ContentLength >= 0:
		field("content-length", strconv.FormatInt(p.ContentLength, 10))
	case p.Body != nil, p.Status == 204, p.Status < 200:
	case method == "HEAD" || p.Status == 304:
		if length := p.Header.Get("content-length"); length != "" {
			field("content-length", length)
		}
	case p.Header.Has("content-length"):
		field("content-length", "0")
	}
}

// The ways in which a head is malformed (RFC 9113, 8.1.1).
var (
	errPseudo    = errors.New("a pseudo-header field is missing, or does not belong there")
	errTarget    = errors.New("a method, path or authority with characters that do not belong there")
	errHop       = errors.New("a field that belongs to one connection of HTTP/1")
	errManyHosts = errors.New("more than one host, or another than :authority")
	errStatus    = errors.New("the status is no number from 100 to 599, or 101")
)

// tunnels tells whether a request asks for a way for bytes: a CONNECT, or an upgrade.
func tunnels(q *message.Request) bool { return q.Method == "CONNECT" || q.Upgrade != "" }

// decodeRequest makes a request of a head. Where extended CONNECTs are taken, one becomes
// the upgrade that HTTP/1 has for it.
func decodeRequest(f *http2.MetaHeadersFrame, q *message.Request, extended bool) error {
	protocol := ""
	for _, p := range f.PseudoFields() {
		switch p.Name {
		case ":method":
			q.Method = p.Value
		case ":scheme":
			q.Scheme = p.Value
		case ":authority":
			q.Authority = p.Value
		case ":path":
			q.Path = p.Value
		case ":protocol":
			if protocol = strings.ToLower(p.Value); !extended || protocol == "" {
				return errPseudo
			}
		default:
			return errPseudo
		}
	}
	if protocol != "" {
		if q.Method != "CONNECT" || !visible(protocol) {
			return errPseudo
		}
		q.Method, q.Upgrade = "GET", protocol
	}
	connect := q.Method == "CONNECT"
	if q.Method == "" || connect != (q.Path == "") || connect != (q.Scheme == "") {
		return errPseudo
	}
	if !visible(q.Method) || !visible(q.Path) || !visible(q.Authority) || !visible(q.Scheme) {
		return errTarget
	}
	if !connect && q.Path[0] != '/' && (q.Path != "*" || q.Method != "OPTIONS") {
		return errTarget
	}
	q.Protocol = message.HTTP2
	return decodeFields(f, &q.Header, q)
}

// visible tells whether s could stand in a request line of HTTP/1.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// decodeFields takes the regular fields over. q is nil for responses and trailers.
// Crumbs of a cookie become one field again (RFC 9113, 8.2.3).
func decodeFields(f *http2.MetaHeadersFrame, h *message.Header, q *message.Request) error {
	cookie, host := -1, ""
	for _, field := range f.RegularFields() {
		name, value := field.Name, field.Value
		switch {
		case perHop(name), name == "te" && value != "trailers":
			return errHop
		case q == nil:
		case name == "host":
			if host != "" && host != value || !visible(value) {
				return errManyHosts
			}
			host = value
			continue
		case name == "cookie" && cookie >= 0:
			(*h)[cookie].Value += "; " + value
			continue
		case name == "cookie":
			cookie = len(*h)
		}
		h.Add(name, value)
	}
	if q == nil || host == "" {
		return nil
	}
	if q.Authority == "" {
		q.Authority = host
	} else if !strings.EqualFold(q.Authority, host) {
		return errManyHosts
	}
	return nil
}

// contentLength is the declared length, or -1.
func contentLength(h message.Header) (int64, error) {
	length := int64(-1)
	for i := range h {
		if h[i].Name != "content-length" {
			continue
		}
		n, err := strconv.ParseUint(h[i].Value, 10, 62)
		if err != nil || length >= 0 && length != int64(n) {
			return 0, errLength
		}
		length = int64(n)
	}
	return length, nil
}
