package manager

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// record is what OnDone saw.
type record struct {
	status  int
	flags   string
	details string
	sent    int64
	got     int64
	header  message.Header
	took    time.Duration
}

// world is a served connection inside a bubble.
type world struct {
	client   net.Conn
	replies  *bufio.Reader
	records  []record
	draining atomic.Bool
	ended    chan struct{}
}

func serve(t *testing.T, c snapshot.HTTPManager, facts *message.Conn, h message.HandlerFunc) *world {
	t.Helper()
	client, server := net.Pipe()
	w := &world{client: client, replies: bufio.NewReader(client), ended: make(chan struct{})}
	if facts == nil {
		facts = &message.Conn{Remote: netip.MustParseAddrPort("10.0.0.9:4000"), Local: netip.MustParseAddrPort("10.0.0.1:80")}
	}
	facts.Start = time.Now()
	m := New(Options{Config: &c, Handler: h, Seed: seed.New(1), OnDone: func(q *message.Request, p *message.Response, status int, s *message.Stream) {
		w.records = append(w.records, record{status, s.Flags.String(), s.Details, s.BytesSent, s.BytesReceived, q.Header.Clone(), s.Duration})
	}})
	go func() {
		NewSlot(m).Serve(t.Context(), Connection{Conn: server, Facts: facts, Draining: &w.draining})
		close(w.ended)
	}()
	return w
}

func (w *world) send(t *testing.T, s string) {
	t.Helper()
	if _, err := w.client.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
}

func (w *world) receive(t *testing.T) (*http.Response, string) {
	t.Helper()
	p, err := http.ReadResponse(w.replies, nil)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(p.Body)
	if err != nil {
		t.Fatal(err)
	}
	return p, string(content)
}

func (w *world) close() {
	_ = w.client.Close()
	<-w.ended
}

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

func echo(ctx context.Context, q *message.Request) (*message.Response, error) {
	p := &message.Response{Status: 200, Header: message.Header{{Name: "x-path", Value: q.Path}, {Name: "server", Value: "theirs"}}, ContentLength: -1}
	if q.Body != nil {
		content, err := io.ReadAll(q.Body)
		if err != nil {
			return nil, err
		}
		p.Body, p.ContentLength = message.NewBytes(content, nil), int64(len(content))
	}
	return p, nil
}

func TestKeepAliveAndPipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serve(t, snapshot.HTTPManager{ServerName: "istio-envoy"}, nil, echo)
		go func() {
			_, _ = io.WriteString(w.client, "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"+get)
		}()
		p, content := w.receive(t)
		if content != "hi" || p.Header.Get("server") != "istio-envoy" || p.Header.Get("date") == "" || p.Header.Get("x-path") != "/1" {
			t.Fatalf("%v %q", p.Header, content)
		}
		w.receive(t)
		w.draining.Store(true)
		w.send(t, get) // not before: the answer would be written meanwhile
		if p, _ = w.receive(t); !p.Close {
			t.Fatal("a draining connection did not say so")
		}
		if _, err := w.replies.ReadByte(); err != io.EOF {
			t.Fatalf("after connection: close came %v", err)
		}
		w.close()
		if len(w.records) != 3 || w.records[0].got != 2 || w.records[0].sent != 2 {
			t.Fatalf("%+v", w.records)
		}
	})
}

// A handler that takes its time while the client pipelines, or goes away.
func TestWatch(t *testing.T) {
	slowly := func(ctx context.Context, q *message.Request) (*message.Response, error) {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(time.Second):
			return echo(ctx, q)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		w := serve(t, snapshot.HTTPManager{}, nil, slowly)
		w.send(t, get)
		time.Sleep(20 * time.Millisecond) // the watcher reads by now
		w.send(t, strings.Replace(get, "/ ", "/second ", 1))
		w.receive(t)
		if p, _ := w.receive(t); p.Header.Get("x-path") != "/second" {
			t.Fatalf("the pipelined request got lost: %v", p.Header)
		}
		w.send(t, get)
		time.Sleep(100 * time.Millisecond)
		w.close()
		if last := w.records[2]; last.flags != "DC" || last.status != 0 || last.details != "downstream_remote_disconnect" || last.took != 100*time.Millisecond {
			t.Fatalf("%+v", last)
		}
	})
}

func TestTimeouts(t *testing.T) {
	forever := func(ctx context.Context, q *message.Request) (*message.Response, error) {
		if q.Body != nil {
			if _, err := io.ReadAll(q.Body); err != nil {
				return nil, err
			}
		}
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	tests := map[string]struct {
		config  snapshot.HTTPManager
		send    string
		status  int
		flags   string
		details string
		after   time.Duration
	}{
		"request headers": {snapshot.HTTPManager{RequestHeadersTimeout: time.Second}, "GET / HTTP/1.1\r\n", 408, "-", "request_header_timeout", time.Second},
		"request":         {snapshot.HTTPManager{RequestTimeout: time.Second}, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhi", 408, "-", "request_overall_timeout", time.Second},
		"stream idle":     {snapshot.HTTPManager{StreamIdleTimeout: time.Second, RequestTimeout: time.Millisecond}, get, 504, "SI", "stream_idle_timeout", time.Second},
		"stream idle 408": {snapshot.HTTPManager{StreamIdleTimeout: time.Second}, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhi", 408, "SI", "stream_idle_timeout", time.Second},
		"stream duration": {snapshot.HTTPManager{MaxStreamDuration: 2 * time.Second}, get, 504, "DT", "max_duration_timeout", 2 * time.Second},
		"of gRPC":         {snapshot.HTTPManager{MaxStreamDuration: 2 * time.Second}, "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\n\r\n", 200, "DT", "max_duration_timeout", 2 * time.Second},
		"broken":          {snapshot.HTTPManager{}, "GET / HTTP/1.1\r\n\r\n", 400, "DPE", "missing_host_header", 0},
		"HTTP/1.0":        {snapshot.HTTPManager{}, "GET / HTTP/1.0\r\nHost: a\r\n\r\n", 426, "-", "low_version", 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				w := serve(t, test.config, nil, forever)
				w.send(t, test.send)
				p, _ := w.receive(t)
				if p.StatusCode != test.status || time.Since(begin) != test.after {
					t.Errorf("%d after %v", p.StatusCode, time.Since(begin))
				}
				w.close()
				if r := w.records[0]; len(w.records) != 1 || r.status != test.status || r.flags != test.flags || r.details != test.details {
					t.Errorf("%+v", w.records)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		w := serve(t, snapshot.HTTPManager{IdleTimeout: time.Minute, MaxConnectionDuration: 90 * time.Second}, nil, echo)
		time.Sleep(50 * time.Second)
		w.send(t, get)
		w.receive(t)
		if _, err := w.replies.ReadByte(); err != io.EOF || time.Since(begin) != 90*time.Second {
			t.Errorf("the connection ended with %v after %v", err, time.Since(begin))
		}
		w.close()
	})
}

// A response that goes on is not idle, however long it takes; one that nobody reads is.
func TestIdleResponse(t *testing.T) {
	drip := func(ctx context.Context, q *message.Request) (*message.Response, error) {
		if q.Path == "/relaxed" {
			q.Stream.Relax(true, true)
		}
		return &message.Response{Status: 200, ContentLength: -1, Body: &dripping{ctx}}, nil
	}
	for path, want := range map[string]record{
		"/drip":    {flags: "DT", took: 30 * time.Second},
		"/unread":  {flags: "SI", took: 10 * time.Second},
		"/relaxed": {flags: "DC", took: 50 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := serve(t, snapshot.HTTPManager{StreamIdleTimeout: 10 * time.Second, MaxStreamDuration: 30 * time.Second}, nil, drip)
			w.send(t, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
			if path != "/unread" {
				time.AfterFunc(50*time.Second, func() { w.client.Close() })
				_, _ = io.Copy(io.Discard, w.client)
			}
			<-w.ended
			if r := w.records[0]; r.flags != want.flags || r.took.Round(time.Second) != want.took {
				t.Errorf("%s: %+v, want %+v", path, r, want)
			}
		})
	}
}

func TestDelayedClose(t *testing.T) {
	none, long := time.Duration(0), 5*time.Second
	for want, config := range map[time.Duration]*time.Duration{time.Second: nil, 0: &none, 5 * time.Second: &long} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			m := New(Options{Config: &snapshot.HTTPManager{DelayedClose: config}, Handler: message.HandlerFunc(echo), Seed: seed.New(1)})
			facts := &message.Conn{Remote: netip.MustParseAddrPort("10.0.0.9:4000")}
			go func() {
				_, _ = near.Write([]byte("GET / HTTP/9\r\n\r\n"))
			}()
			go func() { _, _ = io.Copy(io.Discard, near) }()
			begin := time.Now()
			NewSlot(m).Serve(t.Context(), Connection{Conn: half{far}, Facts: facts})
			if took := time.Since(begin); took != want {
				t.Errorf("closed after %v, want %v", took, want)
			}
			near.Close()
		})
	}
}

// half is a connection that can end one way.
type half struct{ net.Conn }

func (half) CloseWrite() error { return nil }

func TestContinue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serve(t, snapshot.HTTPManager{}, nil, echo)
		w.send(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
		if p, _ := w.receive(t); p.StatusCode != 100 {
			t.Fatal(p.Status)
		}
		w.send(t, "hi")
		_, content := w.receive(t)
		w.close()
		if content != "hi" || w.records[0].header.Has("expect") {
			t.Fatalf("%q %v", content, w.records)
		}
	})
}

func TestReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		w := serve(t, snapshot.HTTPManager{AlwaysSetRequestID: true, GenerateRequestID: true}, nil, func(context.Context, *message.Request) (*message.Response, error) {
			n++
			switch n {
			case 1:
				return nil, &reply.Reply{Status: 503, Flag: message.UpstreamOverflow, Details: "overflow", Body: "full", Header: message.Header{{Name: "x-envoy-overloaded", Value: "true"}}}
			case 2:
				return nil, fmt.Errorf("a bug")
			}
			return nil, &reply.Reply{Reset: true, Flag: message.LocalReset}
		})
		w.send(t, get)
		p, content := w.receive(t)
		if p.StatusCode != 503 || content != "full" || p.Header.Get("content-type") != "text/plain" || p.Header.Get("x-envoy-overloaded") != "true" || len(p.Header.Get("x-request-id")) != 36 {
			t.Fatalf("%v %q", p, content)
		}
		w.send(t, get)
		if p, _ := w.receive(t); p.StatusCode != 500 {
			t.Fatal(p.Status)
		}
		w.send(t, get)
		if _, err := w.replies.ReadByte(); err != io.EOF {
			t.Fatalf("reset gave %v", err)
		}
		w.close()
		if w.records[0].flags != "UO" || w.records[0].details != "overflow" || w.records[2].flags != "LR" || w.records[2].status != 0 {
			t.Fatalf("%+v", w.records)
		}
	})
}

func TestUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go func() { // the upstream says what it hears
			buf := make([]byte, 10)
			n, _ := far.Read(buf)
			_, _ = far.Write(buf[:n])
			_ = far.Close()
		}()
		w := serve(t, snapshot.HTTPManager{Upgrades: []string{"websocket"}}, nil, func(_ context.Context, q *message.Request) (*message.Response, error) {
			return &message.Response{Status: 101, Header: message.Header{{Name: "upgrade", Value: q.Upgrade}}, Upgraded: near}, nil
		})
		w.send(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
		p, err := http.ReadResponse(w.replies, &http.Request{Method: "GET"})
		if err != nil || p.StatusCode != 101 || p.Header.Get("upgrade") != "websocket" {
			t.Fatalf("%+v %v", p, err)
		}
		if content, _ := io.ReadAll(w.replies); string(content) != "hello" {
			t.Fatalf("%q", content)
		}
		w.close()
		if r := w.records[0]; r.got != 5 || r.sent != 5 {
			t.Fatalf("%+v", r)
		}
	})
}
