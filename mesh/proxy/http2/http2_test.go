package http2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// world is both sides of one connection in a bubble.
type world struct {
	t       *testing.T
	client  *Client
	server  *Server
	remote  bool // how the client's side ended
	changes int
	closed  chan struct{}
	ended   chan struct{}
}

func bubble(t *testing.T, o ServerOptions, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		w := &world{t: t, closed: make(chan struct{}), ended: make(chan struct{})}
		w.server = NewServer(far, o)
		go func() {
			w.server.Run(t.Context())
			close(w.ended)
		}()
		w.client = NewClient(near, ClientOptions{OnChange: func() { w.changes++ }, OnClose: func(remote bool) {
			w.remote = remote
			close(w.closed)
		}})
		synctest.Wait()
		f(w)
		w.client.Close()
		<-w.closed
		<-w.ended
	})
}

// exchange sends a request and reads its answer: "status body trailer error".
func (w *world) exchange(q *message.Request) string {
	x := w.client.Open()
	defer x.Close()
	if err := x.WriteRequest(q); err != nil {
		return short(err)
	}
	p, err := x.ReadResponse()
	if err != nil {
		return short(err)
	}
	if p.Body == nil {
		return fmt.Sprint(p.Status, " ", p.Header)
	}
	b, err := io.ReadAll(p.Body)
	return fmt.Sprint(p.Status, " ", p.Header, " ", string(b), " ", p.Body.Trailer(), " ", short(err))
}

func short(err error) string {
	var r *ResetError
	if errors.As(err, &r) {
		return fmt.Sprint(r.Code, " ", r.Remote)
	}
	return fmt.Sprint(err)
}

func request(method, content string, fields ...message.Field) *message.Request {
	q := &message.Request{Method: method, Scheme: "http", Authority: "web", Path: "/", Header: fields, ContentLength: -1}
	if content != "" {
		q.Body = message.NewBytes([]byte(content), message.Header{{Name: "x-sum", Value: "1"}, {Name: "host", Value: "no"}})
	}
	return q
}

// mirror answers with what it got.
func mirror(_ context.Context, x *ServerStream) {
	var q message.Request
	if err := x.Request(&q); err != nil {
		_ = x.Respond(&message.Response{Status: err.(*HeadError).Status})
		return
	}
	p := &message.Response{Status: 200, ContentLength: -1, Header: message.Header{{Name: "connection", Value: "close"}, {Name: "x-got", Value: q.Method + q.Authority + q.Path + fmt.Sprint(q.Header)}}}
	if q.Body != nil {
		p.Body = q.Body
	}
	_ = x.Respond(p)
}

func TestMessagesAreConverted(t *testing.T) {
	bubble(t, ServerOptions{Serve: mirror, HeadBytes: 4096}, func(w *world) {
		tests := map[string]struct {
			q    *message.Request
			want string
		}{
			"without content": {request("GET", "", message.Field{Name: "te", Value: "trailers"}, message.Field{Name: "upgrade", Value: "x"}, message.Field{Name: "host", Value: "y"}),
				"200 [{x-got GETweb/[{te trailers}]}]"},
			"with trailer": {request("POST", "hello"), "200 [{x-got POSTweb/[]}] hello [{x-sum 1}] <nil>"},
			"HEAD":         {request("HEAD", ""), "200 [{x-got HEADweb/[]}]"},
			"cookies":      {request("GET", "", message.Field{Name: "cookie", Value: "a=1"}, message.Field{Name: "cookie", Value: "b=2"}), "200 [{x-got GETweb/[{cookie a=1; b=2}]}]"},
			"too large":    {request("GET", "", message.Field{Name: "x", Value: strings.Repeat("y", 5000)}), "431 []"},
			"smuggling":    {&message.Request{Method: "GET", Path: "/ HTTP/1.1", Authority: "web"}, "PROTOCOL_ERROR true"},
			"wrong length": {func() *message.Request { q := request("POST", "hello"); q.ContentLength = 3; return q }(), "PROTOCOL_ERROR true"},
		}
		for name, test := range tests {
			if got := w.exchange(test.q); got != test.want {
				t.Errorf("%s: got %s, want %s", name, got, test.want)
			}
		}
	})
}

func TestEndsOfStreams(t *testing.T) {
	serve := func(ctx context.Context, x *ServerStream) {
		var q message.Request
		_ = x.Request(&q)
		switch q.Method {
		case "RESET": // no answer
		case "EARLY":
			_ = x.Respond(&message.Response{Status: 413})
		default:
			<-ctx.Done()
		}
	}
	bubble(t, ServerOptions{Serve: serve, MaxStreams: 2, Idle: time.Minute}, func(w *world) {
		if got := w.exchange(request("RESET", "")); got != "INTERNAL_ERROR true" {
			t.Error(got)
		}
		if w.changes != 1 || w.client.Limit() != 2 {
			t.Errorf("limit %d after %d changes", w.client.Limit(), w.changes)
		}
		early := w.client.Open() // its upload is stopped, its answer stays good
		if err := early.WriteRequest(&message.Request{Method: "EARLY", Path: "/", ContentLength: -1, Body: endless{}}); short(err) != "NO_ERROR true" {
			t.Error(err)
		}
		if p, err := early.ReadResponse(); err != nil || p.Status != 413 {
			t.Error(p, err)
		}
		early.Close()
		var open []*ClientStream
		for range 2 {
			x := w.client.Open()
			_ = x.WriteRequest(request("WAIT", ""))
			open = append(open, x)
		}
		if got := w.exchange(request("WAIT", "")); got != "REFUSED_STREAM true" {
			t.Error(got)
		}
		begin := time.Now()
		open[0].SetDeadline(begin.Add(time.Second))
		if _, err := open[0].ReadResponse(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != time.Second {
			t.Error(err, time.Since(begin))
		}
		open[0].Close()
		open[1].Close()
		synctest.Wait()
		begin = time.Now()
		<-w.closed
		if time.Since(begin) != time.Minute || w.client.Usable() || !w.remote {
			t.Errorf("ended after %v, by the peer: %v", time.Since(begin), w.remote)
		}
	})
}

// endless is content that does not end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
func (endless) Close() error               { return nil }
func (endless) Trailer() message.Header    { return nil }

func TestDrainLetsOpenStreamsEnd(t *testing.T) {
	serve := func(_ context.Context, x *ServerStream) {
		var q message.Request
		_ = x.Request(&q)
		time.Sleep(10 * time.Second)
		_ = x.Respond(&message.Response{Status: 204})
	}
	bubble(t, ServerOptions{Serve: serve, DrainTime: time.Second}, func(w *world) {
		answer := make(chan string)
		go func() { answer <- w.exchange(request("GET", "")) }()
		synctest.Wait()
		w.server.Drain()
		synctest.Wait()
		if w.client.Usable() {
			t.Error("the client may still open streams")
		}
		if got := w.exchange(request("GET", "")); got != "REFUSED_STREAM true" {
			t.Error(got)
		}
		if got := <-answer; got != "204 []" {
			t.Error(got)
		}
		<-w.closed
	})
}
