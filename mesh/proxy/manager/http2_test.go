package manager

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/http2"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// The preface is found by its first bytes; heads get the same work as HTTP/1's; limits
// and resets end one stream and are recorded with Envoy's flags.
func TestHTTP2(t *testing.T) {
	handler := func(ctx context.Context, q *message.Request) (*message.Response, error) {
		switch q.Path {
		case "/wait":
			<-ctx.Done()
			return nil, context.Cause(ctx)
		case "/drip":
			return &message.Response{Status: 200, ContentLength: -1, Body: &dripping{ctx}}, nil
		}
		return &message.Response{Status: 200, Header: message.Header{{Name: "x-id", Value: q.Header.Get("x-request-id")}, {Name: "x-proto", Value: q.Header.Get("x-forwarded-proto")}}}, nil
	}
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		var records []record
		facts := &message.Conn{Remote: netip.MustParseAddrPort("10.0.0.9:4000"), Local: netip.MustParseAddrPort("10.0.0.1:80"), Start: time.Now()}
		m := New(Options{Config: &snapshot.HTTPManager{GenerateRequestID: true, StreamIdleTimeout: time.Second, MaxStreamDuration: 3 * time.Second}, Handler: message.HandlerFunc(handler), Seed: seed.New(1),
			OnDone: func(q *message.Request, _ *message.Response, status int, s *message.Stream) {
				records = append(records, record{status: status, flags: s.Flags.String(), details: s.Details, took: s.Duration})
			}})
		ended := make(chan struct{})
		go func() {
			NewSlot(m).Serve(t.Context(), Connection{Conn: far, Facts: facts})
			close(ended)
		}()
		client := http2.NewClient(near, http2.ClientOptions{OnChange: func() {}, OnClose: func(bool) {}})
		ask := func(method, path string) (*message.Response, *http2.ClientStream) {
			x := client.Open()
			if err := x.WriteRequest(&message.Request{Method: method, Scheme: "http", Authority: "web", Path: path}); err != nil {
				t.Fatal(err)
			}
			x.SetDeadline(time.Now().Add(10 * time.Second))
			p, err := x.ReadResponse()
			if err != nil {
				t.Fatal(method, path, err)
			}
			return p, x
		}
		if p, _ := ask("GET", "/"); p.Status != 200 || len(p.Header.Get("x-id")) != 36 || p.Header.Get("x-proto") != "http" || p.Header.Get("server") != "envoy" || p.Header.Get("date") == "" {
			t.Errorf("%+v", p)
		}
		if p, _ := ask("GET", "/wait"); p.Status != 504 {
			t.Errorf("%+v", p)
		}
		p, _ := ask("GET", "/drip")
		var reset *http2.ResetError
		if _, err := io.ReadAll(p.Body); !errors.As(err, &reset) || !reset.Remote {
			t.Errorf("a response beyond max_stream_duration ended with %v", err)
		}
		_, x := ask("GET", "/drip")
		time.Sleep(100 * time.Millisecond)
		x.Close()
		synctest.Wait()
		client.Close()
		<-ended
		want := []record{{status: 200, flags: "-"}, {status: 504, flags: "SI", details: "stream_idle_timeout", took: time.Second},
			{status: 200, flags: "DT", details: "max_duration_timeout", took: 3 * time.Second}, {status: 200, flags: "DR", details: "http2.remote_reset", took: 100 * time.Millisecond}}
		for i, w := range want {
			if r := records[i]; len(records) != len(want) || r.status != w.status || r.flags != w.flags || r.details != w.details || r.took != w.took {
				t.Errorf("record %d is %+v, want %+v", i, records[i], w)
			}
		}
	})
}

// dripping is content that comes byte by byte and does not end by itself.
type dripping struct{ ctx context.Context }

func (d *dripping) Read(p []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, context.Cause(d.ctx)
	case <-time.After(300 * time.Millisecond):
		p[0] = '.'
		return 1, nil
	}
}
func (d *dripping) Close() error            { return nil }
func (d *dripping) Trailer() message.Header { return nil }
