package http1

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

const hostLine = "Host: a\r\n"

func TestRefusedRequests(t *testing.T) {
	tests := map[string]struct {
		in      string
		status  int
		details string
	}{
		"no host":                   {"GET / HTTP/1.1\r\n\r\n", 400, detailsHost},
		"two hosts":                 {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, detailsCodec},
		"empty host":                {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, detailsHost},
		"host with a path":          {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, detailsCharacters},
		"bare LF":                   {"GET / HTTP/1.1\nHost: a\n\n", 400, detailsCodec},
		"bare LF in fields":         {"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400, detailsCodec},
		"bare CR":                   {"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400, detailsCharacters},
		"CR in the request line":    {"GET / HTTP/1.1\rX\r\n" + hostLine + "\r\n", 400, detailsCharacters},
		"NUL in a value":            {"GET / HTTP/1.1\r\n" + hostLine + "X: a\x00b\r\n\r\n", 400, detailsCharacters},
		"fold":                      {"GET / HTTP/1.1\r\n" + hostLine + "X: a\r\n b\r\n\r\n", 400, detailsCodec},
		"fold of the first line":    {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, detailsCodec},
		"space before colon":        {"GET / HTTP/1.1\r\n" + hostLine + "X : a\r\n\r\n", 400, detailsCodec},
		"empty name":                {"GET / HTTP/1.1\r\n" + hostLine + ": a\r\n\r\n", 400, detailsCharacters},
		"no colon":                  {"GET / HTTP/1.1\r\n" + hostLine + "X\r\n\r\n", 400, detailsCodec},
		"name no token":             {"GET / HTTP/1.1\r\n" + hostLine + "X(: a\r\n\r\n", 400, detailsCharacters},
		"length and chunked":        {"POST / HTTP/1.1\r\n" + hostLine + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400, detailsChunkedLength},
		"two lengths":               {"POST / HTTP/1.1\r\n" + hostLine + "Content-Length: 3\r\nContent-Length: 4\r\n\r\n", 400, detailsCodec},
		"list of lengths":           {"POST / HTTP/1.1\r\n" + hostLine + "Content-Length: 3, 3\r\n\r\n", 400, detailsCodec},
		"signed length":             {"POST / HTTP/1.1\r\n" + hostLine + "Content-Length: +3\r\n\r\n", 400, detailsCodec},
		"huge length":               {"POST / HTTP/1.1\r\n" + hostLine + "Content-Length: 99999999999999999999\r\n\r\n", 400, detailsCodec},
		"chunked not last":          {"POST / HTTP/1.1\r\n" + hostLine + "Transfer-Encoding: chunked, gzip\r\n\r\n", 501, detailsTransferEncoding},
		"gzip, chunked":             {"POST / HTTP/1.1\r\n" + hostLine + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501, detailsTransferEncoding},
		"chunked twice":             {"POST / HTTP/1.1\r\n" + hostLine + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 501, detailsTransferEncoding},
		"xchunked":                  {"POST / HTTP/1.1\r\n" + hostLine + "Transfer-Encoding: \vchunked\r\n\r\n", 400, detailsCharacters},
		"encoding in HTTP/1.0":      {"POST / HTTP/1.0\r\n" + hostLine + "Transfer-Encoding: chunked\r\n\r\n", 400, detailsEncodingForbidden},
		"space in the target":       {"GET /a b HTTP/1.1\r\n" + hostLine + "\r\n", 400, detailsCodec},
		"control in the target":     {"GET /\x01 HTTP/1.1\r\n" + hostLine + "\r\n", 400, detailsURL},
		"two spaces":                {"GET  / HTTP/1.1\r\n" + hostLine + "\r\n", 400, detailsURL},
		"tab for space":             {"GET\t/ HTTP/1.1\r\n" + hostLine + "\r\n", 400, detailsCodec},
		"relative target":           {"GET a HTTP/1.1\r\n" + hostLine + "\r\n", 400, detailsURL},
		"strange scheme":            {"GET ftp://a/ HTTP/1.1\r\n" + hostLine + "\r\n", 400, detailsScheme},
		"user in the URL":           {"GET http://u@a/ HTTP/1.1\r\n" + hostLine + "\r\n", 400, detailsCharacters},
		"version 1.2":               {"GET / HTTP/1.2\r\n" + hostLine + "\r\n", 505, detailsCodec},
		"lower-case version":        {"GET / http/1.1\r\n" + hostLine + "\r\n", 400, detailsCodec},
		"no version":                {"GET /\r\n" + hostLine + "\r\n", 400, detailsURL},
		"connection names host":     {"GET / HTTP/1.1\r\n" + hostLine + "Connection: host\r\n\r\n", 400, detailsConnection},
		"connection names x-fwd":    {"GET / HTTP/1.1\r\n" + hostLine + "Connection: X-Forwarded-For\r\n\r\n", 400, detailsConnection},
		"huge head":                 {"GET / HTTP/1.1\r\n" + hostLine + "X: " + strings.Repeat("a", 61<<10), 431, detailsHeadTooLarge},
		"too many fields":           {"GET / HTTP/1.1\r\n" + hostLine + strings.Repeat("X: a\r\n", 100) + "\r\n", 431, detailsTooManyFields},
		"two empty lines":           {"\r\n\r\nGET / HTTP/1.1\r\n" + hostLine + "\r\n", 400, detailsCodec},
		"TLS on a plaintext port":   {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, detailsCodec},
		"response in its place":     {"HTTP/1.1 200 OK\r\n\r\n", 400, detailsCodec},
		"CONNECT to nobody":         {"CONNECT  HTTP/1.1\r\n" + hostLine + "\r\n", 400, detailsURL},
		"CONNECT to a path":         {"CONNECT /a HTTP/1.1\r\n" + hostLine + "\r\n", 400, detailsCharacters},
		"CONNECT to a URL":          {"CONNECT http://a/ HTTP/1.1\r\n" + hostLine + "\r\n", 400, detailsCharacters},
		"URL without a host":        {"GET http:///a HTTP/1.1\r\n" + hostLine + "\r\n", 400, detailsURL},
		"URL, and no host":          {"GET http://a/ HTTP/1.1\r\n\r\n", 400, detailsHost},
		"URL, and two hosts":        {"GET http://a/ HTTP/1.1\r\n" + hostLine + hostLine + "\r\n", 400, detailsCodec},
		"empty encoding":            {"POST / HTTP/1.1\r\n" + hostLine + "Transfer-Encoding:\r\n\r\n", 501, detailsTransferEncoding},
		"identity":                  {"POST / HTTP/1.1\r\n" + hostLine + "Transfer-Encoding: identity\r\n\r\n", 501, detailsTransferEncoding},
		"chunked and nothing":       {"POST / HTTP/1.1\r\n" + hostLine + "Transfer-Encoding: chunked,\r\n\r\n", 501, detailsTransferEncoding},
		"chunked behind a tab":      {"POST / HTTP/1.1\r\n" + hostLine + "Transfer-Encoding\t: chunked\r\n\r\n", 400, detailsCodec},
		"empty length":              {"POST / HTTP/1.1\r\n" + hostLine + "Content-Length:\r\n\r\n", 400, detailsCodec},
		"length with a unit":        {"POST / HTTP/1.1\r\n" + hostLine + "Content-Length: 3 bytes\r\n\r\n", 400, detailsCodec},
		"asterisk form but for GET": {"GET * HTTP/1.1\r\n" + hostLine + "\r\n", 400, detailsURL},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := NewReader(strings.NewReader(test.in)).ReadRequest(Limits{})
			var p *ProtocolError
			if !errors.As(err, &p) || p.Status != test.status || p.Details != test.details {
				t.Fatalf("got %v, want %d %s", err, test.status, test.details)
			}
		})
	}
}

func TestRequestHead(t *testing.T) {
	in := "\r\nPOST /a?b=c HTTP/1.1\r\nHOST: Example.com:80\r\nX-Tab: \t a\tb \t\r\nX-Empty:\r\nConnection: close, X-Hop\r\n" +
		"x-hop: 1\r\nKeep-Alive: 5\r\nTE: gzip\r\nContent-Length: 5\r\nContent-Length: 5\r\nx-utf8: ä\r\n\r\nhelloGET"
	for name, src := range map[string]io.Reader{"whole": strings.NewReader(in), "bytewise": iotest.OneByteReader(strings.NewReader(in))} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(src)
			q, err := r.ReadRequest(Limits{})
			if err != nil {
				t.Fatal(err)
			}
			want := message.Header{{Name: "x-tab", Value: "a\tb"}, {Name: "x-empty"}, {Name: "content-length", Value: "5"}, {Name: "x-utf8", Value: "ä"}}
			if got := q.Header; len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] || got[3] != want[3] {
				t.Fatalf("header %q, want %q", got, want)
			}
			if q.Method != "POST" || q.Path != "/a?b=c" || q.Authority != "Example.com:80" || q.ContentLength != 5 {
				t.Fatalf("%+v", q)
			}
			if _, err := r.ReadRequest(Limits{}); err != ErrBusy {
				t.Fatalf("the next request before the body's end: %v", err)
			}
			content, err := io.ReadAll(q.Body)
			if string(content) != "hello" || err != nil || r.BodyBytes() != 5 {
				t.Fatalf("content %q, %v", content, err)
			}
			if r.KeepAlive() || !r.Complete() {
				t.Fatal("connection: close was not heard")
			}
			if _, err := r.ReadRequest(Limits{}); err != io.ErrUnexpectedEOF {
				t.Fatalf("a cut request: %v", err)
			}
		})
	}
}

func TestTargets(t *testing.T) {
	tests := []struct{ line, authority, path, scheme string }{
		{"GET http://B.c:81/x?y HTTP/1.1", "B.c:81", "/x?y", "http"},
		{"GET HTTPS://b HTTP/1.1", "b", "/", "https"},
		{"GET http://b?q HTTP/1.1", "b", "/?q", "http"},
		{"OPTIONS * HTTP/1.1", "a", "*", ""},
		{"CONNECT b:443 HTTP/1.1", "b:443", "", ""},
	}
	for _, test := range tests {
		q, err := NewReader(strings.NewReader(test.line + "\r\nHost: a\r\n\r\n")).ReadRequest(Limits{})
		if err != nil || q.Authority != test.authority || q.Path != test.path || q.Scheme != test.scheme {
			t.Errorf("%s: %+v, %v", test.line, q, err)
		}
	}
	if _, err := NewReader(strings.NewReader("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")).ReadRequest(Limits{}); err != ErrPreface {
		t.Errorf("HTTP/2's preface: %v", err)
	}
	if _, err := NewReader(strings.NewReader("")).ReadRequest(Limits{}); err != io.EOF {
		t.Errorf("nothing at all: %v", err)
	}
}

func TestUpgrade(t *testing.T) {
	head := "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: %\r\n\r\n"
	for upgrade, want := range map[string]string{"WebSocket": "websocket", "h2c": ""} {
		r := NewReader(strings.NewReader(strings.Replace(head, "%", upgrade, 1) + "frames"))
		q, err := r.ReadRequest(Limits{})
		if err != nil || q.Upgrade != want || q.Header.Has("upgrade") || string(r.Rest()) != "frames" {
			t.Errorf("%s: %+v, %v", upgrade, q, err)
		}
	}
}

func TestPipeline(t *testing.T) {
	in := strings.Repeat("POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\nabc\r\nA \t;z\r\n0123456789\r\n0\r\nX-T: v\r\nHost: evil\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", 50)
	r := NewReader(strings.NewReader(in))
	ends := 0
	r.BodyEnd = func(err error) {
		if err == nil {
			ends++
		}
	}
	for i := range 50 {
		q, err := r.ReadRequest(Limits{})
		if err != nil {
			t.Fatal(i, err)
		}
		content, err := io.ReadAll(q.Body)
		if string(content) != "abc0123456789" || err != nil || len(q.Body.Trailer()) != 1 || q.Body.Trailer().Get("x-t") != "v" {
			t.Fatalf("%d: %q %v %v", i, content, err, q.Body.Trailer())
		}
		if q, err = r.ReadRequest(Limits{}); err != nil || q.Path != "/2" || q.Body != nil || !r.KeepAlive() {
			t.Fatalf("%d: %+v %v", i, q, err)
		}
	}
	if ends != 50 {
		t.Fatalf("%d ends of bodies, want 50", ends)
	}
}

func TestRefusedChunks(t *testing.T) {
	for name, in := range map[string]string{
		"no number": "x\r\n", "empty": "\r\n", "negative": "-1\r\n", "hex prefix": "0x1\r\na\r\n0\r\n\r\n",
		"overflow": "fffffffffffffffff\r\n", "bare LF": "1\na\r\n0\r\n\r\n", "longer than said": "1\r\nab\r\n0\r\n\r\n",
		"LF after data": "1\r\na\n0\r\n\r\n", "space and junk": "1 1\r\na\r\n0\r\n\r\n", "CR in extension": "1;a\rb\r\na\r\n0\r\n\r\n",
		"folded trailer": "0\r\nA: b\r\n c\r\n\r\n", "endless extension": "1;" + strings.Repeat("a", 20<<10),
		"endless trailers": "0\r\n" + strings.Repeat("A: b\r\n", 5000), "cut": "5\r\nab", "cut at the end": "1\r\na\r\n0\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(strings.NewReader("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + in))
			q, err := r.ReadRequest(Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if content, err := io.ReadAll(q.Body); err == nil || r.Complete() || r.KeepAlive() {
				t.Fatalf("%q was taken", content)
			}
		})
	}
}

func TestResponses(t *testing.T) {
	tests := map[string]struct {
		method, in, content string
		status              int
		keepAlive           bool
	}{
		"length":       {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hi", 200, true},
		"no reason":    {"GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "", 200, true},
		"until close":  {"GET", "HTTP/1.1 200 OK\r\n\r\nhi there", "hi there", 200, false},
		"chunked":      {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "hi", 200, true},
		"HEAD":         {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "", 200, true},
		"304":          {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "", 304, true},
		"204":          {"GET", "HTTP/1.1 204 No Content\r\n\r\n", "", 204, true},
		"after 1xx":    {"GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", "", 201, true},
		"HTTP/1.0":     {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hi", 200, false},
		"1.0 lives":    {"GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", "hi", 200, true},
		"closes":       {"GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", "hi", 200, false},
		"large bypass": {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("x", 20000), strings.Repeat("x", 20000), 200, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := NewReader(strings.NewReader(test.in))
			p, err := r.ReadResponse(test.method)
			if err != nil || p.Status != test.status {
				t.Fatalf("%+v, %v", p, err)
			}
			var content []byte
			if p.Body != nil {
				if content, err = io.ReadAll(struct{ io.Reader }{p.Body}); err != nil {
					t.Fatal(err)
				}
			}
			if string(content) != test.content || r.KeepAlive() != test.keepAlive {
				t.Fatalf("content %.40q, keep-alive %v", content, r.KeepAlive())
			}
		})
	}
	for name, in := range map[string]string{
		"both framings": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "204 with content": "HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n",
		"four digits": "HTTP/1.1 2000 OK\r\n\r\n", "status 99": "HTTP/1.1 099 OK\r\n\r\n", "version": "HTTP/1.9 200 OK\r\n\r\n", "not HTTP": "SSH-2.0-OpenSSH_9.2\r\n\r\n",
	} {
		if _, err := NewReader(strings.NewReader(in)).ReadResponse("GET"); !errors.As(err, new(*ProtocolError)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := NewReader(strings.NewReader("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nframes"))
	if p, err := r.ReadResponse("GET"); err != nil || p.Header.Get("upgrade") != "websocket" || string(r.Rest()) != "frames" || r.KeepAlive() {
		t.Errorf("upgrade: %+v, %v", p, err)
	}
}

// writes counts the writes that a message takes.
type writes struct {
	bytes.Buffer
	n int
}

func (w *writes) Write(p []byte) (int, error) {
	w.n++
	return w.Buffer.Write(p)
}

// slow is a body that may always wait.
type slow struct{ io.Reader }

func (slow) Close() error            { return nil }
func (slow) Trailer() message.Header { return message.Header{{Name: "x-t", Value: "v"}} }

func TestWrittenResponses(t *testing.T) {
	memory := func(s string) message.Body { return message.NewBytes([]byte(s), nil) }
	long := strings.Repeat("y", 40000)
	tests := map[string]struct {
		response message.Response
		options  ResponseOptions
		want     string
		writes   int
	}{
		"short":    {message.Response{Status: 200, Header: message.Header{{Name: "a", Value: "b"}}, Body: memory("hi"), ContentLength: 2}, ResponseOptions{}, "HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 2\r\n\r\nhi", 1},
		"long":     {message.Response{Status: 200, Body: memory(long), ContentLength: 40000}, ResponseOptions{}, "HTTP/1.1 200 OK\r\ncontent-length: 40000\r\n\r\n" + long, 2},
		"none":     {message.Response{Status: 503, Header: message.Header{{Name: "content-length", Value: "7"}, {Name: "transfer-encoding", Value: "chunked"}}}, ResponseOptions{Close: true}, "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", 1},
		"HEAD":     {message.Response{Status: 200, Body: memory("hi"), ContentLength: 2}, ResponseOptions{Method: "HEAD"}, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", 1},
		"304":      {message.Response{Status: 304, ContentLength: 7, Header: message.Header{{Name: "content-length", Value: "7"}}}, ResponseOptions{}, "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", 1},
		"204":      {message.Response{Status: 204}, ResponseOptions{}, "HTTP/1.1 204 No Content\r\n\r\n", 1},
		"stream":   {message.Response{Status: 200, Body: slow{strings.NewReader("hi")}, ContentLength: -1}, ResponseOptions{}, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-t: v\r\n\r\n", 3},
		"in 1.0":   {message.Response{Status: 200, Body: memory("hi"), ContentLength: -1}, ResponseOptions{Protocol: message.HTTP10}, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhi", 1},
		"chunked":  {message.Response{Status: 200, Body: memory("hi"), ContentLength: -1}, ResponseOptions{}, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 1},
		"switched": {message.Response{Status: 101, Header: message.Header{{Name: "upgrade", Value: "websocket"}}}, ResponseOptions{}, "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n", 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var out writes
			if err := NewWriter(&out).WriteResponse(&test.response, test.options); err != nil {
				t.Fatal(err)
			}
			if out.String() != test.want || out.n != test.writes {
				t.Fatalf("%d writes of %.200q\nwant %d of %.200q", out.n, out.String(), test.writes, test.want)
			}
		})
	}
}

func TestWrittenRequests(t *testing.T) {
	var out writes
	w := NewWriter(&out)
	q := &message.Request{Method: "POST", Path: "/", Authority: "a", Body: slow{strings.NewReader("hi")}, ContentLength: 2}
	if err := w.WriteRequest(q); err != nil || out.String() != "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi" || out.n != 1 {
		t.Fatalf("%d %q %v", out.n, out.String(), err)
	}
	q.Body = slow{strings.NewReader("longer")}
	if err := w.WriteRequest(q); !errors.As(err, new(*BodyError)) {
		t.Fatalf("a body longer than declared: %v", err)
	}
	q.Body = slow{strings.NewReader("s")}
	if err := w.WriteRequest(q); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("a body shorter than declared: %v", err)
	}
	out.Reset()
	if err := w.WriteRequest(&message.Request{Method: "GET", Path: "/", Authority: "a", Upgrade: "websocket"}); err != nil ||
		out.String() != "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n" {
		t.Fatalf("%q %v", out.String(), err)
	}
}
