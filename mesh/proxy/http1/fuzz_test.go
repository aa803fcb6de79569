package http1

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// FuzzRequest: whatever is taken reads the same in one piece and byte by byte, and
// what the Writer makes of it reads back as the same request, once and completely.
func FuzzRequest(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	f.Add("POST http://b/c HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi")
	f.Add("PUT /?q HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: x\r\nX: 1\r\n\r\n2;e\r\nhi\r\n0\r\nT: v\r\n\r\n")
	f.Add("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	f.Add("GET / HTTP/1.1\r\nHost: [::1]:80\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		q, content, ok := readRequest(strings.NewReader(in))
		p, again, okAgain := readRequest(iotest.OneByteReader(strings.NewReader(in)))
		if ok != okAgain || ok && (!sameRequest(q, p) || !bytes.Equal(content, again)) {
			t.Fatalf("pieces change what is read: %+v %q, %+v %q", q, content, p, again)
		}
		if !ok || q.Protocol == message.HTTP10 {
			return
		}
		trailer := message.Header(nil)
		if q.Body != nil {
			trailer = q.Body.Trailer()
			q.Body = message.NewBytes(content, trailer)
		}
		var out bytes.Buffer
		if err := NewWriter(&out).WriteRequest(q); err != nil {
			t.Fatal(err)
		}
		back, backContent, ok := readRequest(&out)
		if !ok || !bytes.Equal(content, backContent) || out.Len() != 0 {
			t.Fatalf("%q came back as %q, %d bytes left", content, backContent, out.Len())
		}
		q.Header.Del("content-length")
		back.Header.Del("content-length")
		q.Scheme = "" // an absolute target goes on as a path
		if !sameRequest(q, back) || back.Body != nil && !slices.Equal(trailer, back.Body.Trailer()) {
			t.Fatalf("%+v came back as %+v", q, back)
		}
	})
}

func readRequest(src io.Reader) (*message.Request, []byte, bool) {
	q, err := NewReader(src).ReadRequest(Limits{})
	if err != nil {
		return nil, nil, false
	}
	if q.Body == nil {
		return q, nil, true
	}
	content, err := io.ReadAll(q.Body)
	return q, content, err == nil
}

func sameRequest(a, b *message.Request) bool {
	return a.Method == b.Method && a.Scheme == b.Scheme && a.Authority == b.Authority && a.Path == b.Path &&
		a.Upgrade == b.Upgrade && a.ContentLength == b.ContentLength && (a.Body == nil) == (b.Body == nil) && slices.Equal(a.Header, b.Header)
}

// FuzzResponse is FuzzRequest for responses.
func FuzzResponse(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "GET")
	f.Add("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "GET")
	f.Add("HTTP/1.0 404 \r\nServer: x\r\n\r\nrest", "GET")
	f.Add("HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", "HEAD")
	f.Fuzz(func(t *testing.T, in, method string) {
		p, content, ok := readResponse(strings.NewReader(in), method)
		q, again, okAgain := readResponse(iotest.OneByteReader(strings.NewReader(in)), method)
		if ok != okAgain || ok && (!slices.Equal(p.Header, q.Header) || !bytes.Equal(content, again)) {
			t.Fatalf("pieces change what is read: %+v %q, %+v %q", p, content, q, again)
		}
		if !ok || p.Status == 101 {
			return
		}
		if p.Body != nil {
			p.Body = message.NewBytes(content, p.Body.Trailer())
		}
		var out bytes.Buffer
		if err := NewWriter(&out).WriteResponse(p, ResponseOptions{Method: method}); err != nil {
			t.Fatal(err)
		}
		back, backContent, ok := readResponse(&out, method)
		if !ok || back.Status != p.Status || !bytes.Equal(content, backContent) || out.Len() != 0 {
			t.Fatalf("%+v %q came back as %+v %q", p, content, back, backContent)
		}
		p.Header.Del("content-length")
		back.Header.Del("content-length")
		if !slices.Equal(p.Header, back.Header) {
			t.Fatalf("%v came back as %v", p.Header, back.Header)
		}
	})
}

func readResponse(src io.Reader, method string) (*message.Response, []byte, bool) {
	p, err := NewReader(src).ReadResponse(method)
	if err != nil {
		return nil, nil, false
	}
	if p.Body == nil {
		return p, nil, true
	}
	content, err := io.ReadAll(p.Body)
	return p, content, err == nil
}

// FuzzChunked: decoding does not depend on the pieces that come, nor on the room there is.
func FuzzChunked(f *testing.F) {
	f.Add("3\r\nabc\r\n0\r\n\r\n")
	f.Add("A;x\r\n0123456789\r\n00\r\nT: v\r\n\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		head := "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		_, a, okA := readRequest(strings.NewReader(head + in))
		q, err := NewReader(iotest.OneByteReader(strings.NewReader(head + in))).ReadRequest(Limits{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(iotest.OneByteReader(q.Body))
		if okA != (err == nil) || okA && !bytes.Equal(a, b) {
			t.Fatalf("%q %v, %q %v", a, okA, b, err)
		}
	})
}
