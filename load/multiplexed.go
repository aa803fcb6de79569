package load

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"

	h2 "github.com/windtunnel-mesh/windtunnel/mesh/proxy/http2"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// multiplexer is a connection of HTTP/2, prior knowledge or negotiated.
type multiplexer struct {
	client *h2.Client
	ended  chan struct{}
}

func newMultiplexer(c *caller) *multiplexer {
	m := &multiplexer{ended: make(chan struct{})}
	m.client = h2.NewClient(c.conn, h2.ClientOptions{OnChange: func() {}, OnClose: func(bool) { close(m.ended) }})
	return m
}

// close ends the connection and waits for its goroutines.
func (m *multiplexer) close() {
	m.client.Close()
	<-m.ended
}

// multiplexed makes a call of HTTP/2, which one of gRPC is, too.
func multiplexed(c *caller, r *Record) (answered bool, err error) {
	if c.streams == nil {
		c.streams = newMultiplexer(c)
	}
	x := c.streams.client.Open()
	defer x.Close()
	written := make(chan error, 1)
	q := c.request.message(r.ID)
	if q.Body == nil || c.request.target.size() <= inlineBody {
		if err := x.WriteRequest(q); err != nil && !errors.As(err, new(*h2.ResetError)) {
			return false, fmt.Errorf("%w: %w", errNoByte, err)
		}
		written <- nil
	} else {
		go func() { written <- x.WriteRequest(q) }()
	}
	p, err := x.ReadResponse()
	if err != nil {
		x.Close()
		<-written
		return false, fmt.Errorf("%w: %w", errNoByte, err)
	}
	err = c.finish(r, p)
	x.Close() // a peer that answered early reads no more
	<-written
	return true, err
}

// message is the request of one call.
func (r *request) message(id string) *message.Request {
	q := &message.Request{Method: r.method, Scheme: r.scheme, Authority: r.authority, Path: r.path, Protocol: message.HTTP2}
	for _, f := range r.fields {
		q.Header.Add(strings.ToLower(f.name), f.value)
	}
	q.Header.Add("x-request-id", id)
	switch t := &r.target; {
	case r.rpc != nil:
		q.Header.Set("content-type", "application/grpc")
		q.Header.Set("te", "trailers")
		q.Body, q.ContentLength = message.NewBytes(r.messages, nil), -1
	case t.Filler > 0:
		q.Body, q.ContentLength = &fillerBody{left: t.Filler}, t.Filler
	case len(t.Body) > 0:
		q.Body, q.ContentLength = message.NewBytes(t.Body, nil), int64(len(t.Body))
	case r.method == "POST" || r.method == "PUT" || r.method == "PATCH":
		q.Header.Add("content-length", "0")
	}
	return q
}

// finish reads the answer.
func (c *caller) finish(r *Record, p *message.Response) error {
	var body io.Reader = strings.NewReader("")
	if p.Body != nil {
		body = p.Body
	}
	kept, err := c.take(r, body)
	if err != nil {
		return err
	}
	headers := map[string]string{}
	note := func(h message.Header) {
		for _, f := range h {
			if v, ok := headers[f.Name]; ok {
				f.Value = v + ", " + f.Value
			}
			headers[f.Name] = f.Value
		}
	}
	note(p.Header)
	trailer := message.Header(nil)
	if p.Body != nil {
		trailer = p.Body.Trailer()
	}
	r.Status, r.Protocol = p.Status, p.Protocol.String()
	if rpc := c.request.rpc; rpc != nil {
		maps.DeleteFunc(headers, func(name, _ string) bool { return name == "grpc-status" && trailer.Has(name) })
		note(trailer)
		r.GRPC = grpcStatus(p.Status, headers["grpc-status"])
		if c.first == nil && headers["content-type"] != "" && strings.HasPrefix(headers["content-type"], "application/grpc") {
			if kept, err = rpc.text(kept); err != nil {
				return fmt.Errorf("answer: %w", err)
			}
		}
	}
	c.keep(r, headers, kept)
	return nil
}

// grpcStatus is the status that a gRPC client takes an answer for: the one that it
// carries, else what gRPC's http-grpc-status-mapping.md makes of HTTP's.
func grpcStatus(status int, carried string) string {
	if _, err := strconv.ParseUint(carried, 10, 31); err == nil {
		return carried
	}
	switch status {
	case 400:
		return "13"
	case 401:
		return "16"
	case 403:
		return "7"
	case 404:
		return "12"
	case 429, 502, 503, 504:
		return "14"
	default:
		return "2"
	}
}

// fillerBody is a body of filler.
type fillerBody struct{ left int64 }

// Read implements message.Body.
func (b *fillerBody) Read(p []byte) (int, error) {
	n := int(min(int64(len(p)), b.left))
	for i := range p[:n] {
		p[i] = filler[0]
	}
	if b.left -= int64(n); b.left == 0 {
		return n, io.EOF
	}
	return n, nil
}

// Close implements message.Body.
func (b *fillerBody) Close() error { return nil }

// Trailer implements message.Body.
func (b *fillerBody) Trailer() message.Header { return nil }
