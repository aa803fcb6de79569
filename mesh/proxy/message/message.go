// Package message has the messages that travel through the proxy and the one
// function type that all its layers share. It imports the standard library only.
//
// Header names are lower case, as Envoy keeps them; fields stay in the order in
// which they came. Strings of one parsed message share one allocation, so a
// message may be kept, but keeping one field keeps the whole head.
package message

import (
	"context"
	"io"
	"strings"
	"time"
)

// Handler answers one exchange. The response body streams after it returns.
// The error of an exchange that the proxy itself ends is a *reply.Reply.
type Handler interface {
	Serve(ctx context.Context, r *Request) (*Response, error)
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(ctx context.Context, r *Request) (*Response, error)

// Serve implements Handler.
func (f HandlerFunc) Serve(ctx context.Context, r *Request) (*Response, error) { return f(ctx, r) }

// Protocol is the version that a message was received or is sent with.
type Protocol uint8

// The protocols.
const (
	HTTP11 Protocol = iota
	HTTP10
	HTTP2
)

// String is the spelling of access logs: "HTTP/1.1".
func (p Protocol) String() string { return [...]string{"HTTP/1.1", "HTTP/1.0", "HTTP/2"}[p] }

// Request is one request. Path holds the target as received, query included.
type Request struct {
	Method    string
	Scheme    string
	Authority string
	Path      string
	Protocol  Protocol
	Header    Header
	// Body is nil where the message has none. Its reader must be read to EOF or closed.
	Body Body
	// ContentLength is -1 where a body has no declared length (chunked).
	ContentLength int64
	// Upgrade is the lower-case protocol of an Upgrade request ("websocket"), else empty.
	Upgrade string
	// Continue is set where the client waits for a 100 before it sends the body: whoever
	// hears a 100 from upstream calls it. Reading the body does the same.
	Continue func()
	// Stream has the facts of the exchange. It is never nil inside the proxy.
	Stream *Stream
}

// Response is one response.
type Response struct {
	Status        int
	Header        Header
	Body          Body
	ContentLength int64
	Protocol      Protocol
	// Upgraded is the raw connection after a 101 (or a CONNECT's 2xx); Body is nil then.
	Upgraded io.ReadWriteCloser
	// UpgradedIdle and UpgradedUntil are the route's idle timeout and the end of its
	// longest time for Upgraded, in place of the connection manager's; nil and zero leave those.
	UpgradedIdle  *time.Duration
	UpgradedUntil time.Time
}

// Body is the content of a message. Trailer is valid after Read returned io.EOF.
type Body interface {
	io.ReadCloser
	Trailer() Header
}

// Field is one header field; Name is lower case.
type Field struct{ Name, Value string }

// Header is a list of fields in wire order. Names given to its methods must be lower case.
type Header []Field

// Get returns the first value of a field, or "".
func (h Header) Get(name string) string {
	for i := range h {
		if h[i].Name == name {
			return h[i].Value
		}
	}
	return ""
}

// Lookup returns all values of a field joined with commas (RFC 9110, 5.3), and
// whether it is there at all.
func (h Header) Lookup(name string) (string, bool) {
	first := -1
	for i := range h {
		if h[i].Name != name {
			continue
		}
		if first >= 0 {
			return strings.Join(h.Values(name), ","), true
		}
		first = i
	}
	if first < 0 {
		return "", false
	}
	return h[first].Value, true
}

// Values returns the values of a field in order.
func (h Header) Values(name string) []string {
	var values []string
	for i := range h {
		if h[i].Name == name {
			values = append(values, h[i].Value)
		}
	}
	return values
}

// Has tells whether a field is there.
func (h Header) Has(name string) bool {
	for i := range h {
		if h[i].Name == name {
			return true
		}
	}
	return false
}

// Add appends a field.
func (h *Header) Add(name, value string) { *h = append(*h, Field{name, value}) }

// Set replaces the first field of that name in its place and removes the others,
// or appends one.
func (h *Header) Set(name, value string) {
	kept, found := (*h)[:0], false
	for _, f := range *h {
		if f.Name == name {
			if found {
				continue
			}
			f.Value, found = value, true
		}
		kept = append(kept, f)
	}
	if !found {
		kept = append(kept, Field{name, value})
	}
	*h = kept
}

// Del removes all fields of that name.
func (h *Header) Del(name string) {
	kept := (*h)[:0]
	for _, f := range *h {
		if f.Name != name {
			kept = append(kept, f)
		}
	}
	*h = kept
}

// Clone returns a copy that shares no array with h.
func (h Header) Clone() Header { return append(Header(nil), h...) }
