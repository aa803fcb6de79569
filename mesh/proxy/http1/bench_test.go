package http1

import (
	"io"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

const tenFields = "GET /productpage?u=normal HTTP/1.1\r\nHost: productpage.default.svc.cluster.local:9080\r\nUser-Agent: fortio.org/fortio-1.75.3\r\n" +
	"Accept: */*\r\nAccept-Encoding: gzip\r\nX-Request-Id: 5ae5e1d2-9a44-4e44-9e53-8f0a4b0f4f7a\r\nX-Forwarded-Proto: http\r\n" +
	"X-B3-Traceid: 463ac35c9f6413ad48485a3953bb6124\r\nX-B3-Spanid: a2fb4a1d1a96d312\r\nX-B3-Sampled: 0\r\nCookie: session=abcdef\r\n\r\n"

// loop gives the same bytes for ever.
type loop struct {
	data string
	at   int
}

func (l *loop) Read(p []byte) (int, error) {
	n := copy(p, l.data[l.at:])
	l.at = (l.at + n) % len(l.data)
	return n, nil
}

func BenchmarkReadRequest(b *testing.B) {
	r := NewReader(&loop{data: tenFields})
	b.ReportAllocs()
	b.SetBytes(int64(len(tenFields)))
	for b.Loop() {
		if _, err := r.ReadRequest(Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadResponse(b *testing.B) {
	r := NewReader(&loop{data: "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\nServer: istio-envoy\r\nDate: Sat, 01 Jan 2000 00:00:00 GMT\r\nX-Envoy-Upstream-Service-Time: 3\r\n\r\nhello"})
	b.ReportAllocs()
	buf := make([]byte, 100)
	for b.Loop() {
		p, err := r.ReadResponse("GET")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Body.Read(buf); err != io.EOF {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteResponse(b *testing.B) {
	w := NewWriter(io.Discard)
	p := &message.Response{Status: 200, Header: message.Header{{Name: "content-type", Value: "text/html"}, {Name: "server", Value: "istio-envoy"}, {Name: "x-envoy-upstream-service-time", Value: "3"}}}
	b.ReportAllocs()
	for b.Loop() {
		if err := w.WriteResponse(p, ResponseOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
