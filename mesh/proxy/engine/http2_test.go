package engine

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/http2"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// serve2 adds an endpoint that speaks HTTP/2.
func (w *world) serve2(o http2.ServerOptions) {
	n := len(w.cluster.Endpoints[0].Endpoints) + 1
	addr := fmt.Sprintf("10.0.0.%d", n+10)
	l, err := w.host("server-"+addr, addr).Network(0, 0).Listen(context.Background(), addr+":80")
	if err != nil {
		w.t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go http2.NewServer(c, o).Run(context.Background())
		}
	}()
	w.cluster.HTTP.HTTP2 = true
	w.endpoint(addr)
}

// afterASecond answers then, unless the path says otherwise.
func afterASecond(ctx context.Context, x *http2.ServerStream) {
	var q message.Request
	_ = x.Request(&q)
	switch q.Path {
	case "/reset":
		return
	case "/half":
		_ = x.Respond(&message.Response{Status: 200, ContentLength: 5, Body: message.NewBytes([]byte("half"), nil)})
		return
	}
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return
	}
	_ = x.Respond(&message.Response{Status: 200})
}

// together makes n requests at once.
func (w *world) together(n int, path string) []result {
	results := make([]result, n)
	var group sync.WaitGroup
	for i := range n {
		r := w.request()
		r.Path = path
		group.Go(func() { results[i] = w.do(context.Background(), r) })
	}
	group.Wait()
	return results
}

func TestHTTP2SharesConnections(t *testing.T) {
	bubble(t, func(w *world) {
		w.cluster.HTTP.IdleTimeout = time.Minute
		w.serve2(http2.ServerOptions{Serve: afterASecond})
		w.build()
		for _, r := range w.together(20, "/") {
			w.expect("together", r, 200, "-", "via_upstream")
		}
		w.stat("cluster.web.upstream_cx_total", 1)
		w.cluster.HTTP.MaxConcurrentStreams = 8
		w.build()
		w.together(20, "/")
		w.stat("cluster.web.upstream_cx_total", 4)
		time.Sleep(2 * time.Minute)
		w.stat("cluster.web.upstream_cx_active", 0)
		w.stat("cluster.web.upstream_cx_idle_timeout", 3)
		w.cluster.HTTP.MaxRequestsPerConn = 1
		w.build()
		w.together(2, "/")
		w.stat("cluster.web.upstream_cx_total", 6)
		w.stat("cluster.web.upstream_cx_max_requests", 2)
		time.Sleep(10 * time.Millisecond) // the last GOAWAY goes out
		w.stat("cluster.web.upstream_cx_active", 0)
	})
}

func TestHTTP2ResetsAndBreakers(t *testing.T) {
	bubble(t, func(w *world) {
		w.serve2(http2.ServerOptions{Serve: afterASecond})
		w.route.Forward.Timeout = 500 * time.Millisecond
		w.build()
		w.expect("reset", w.together(1, "/reset")[0], 503, "UR", "upstream_reset_before_response_started{remote_reset}")
		r := w.together(1, "/half")[0]
		if !r.reset || r.stream.Details != "upstream_reset_after_response_started{protocol_error}" {
			t.Errorf("a response that is too short: %+v %+v", r, r.stream)
		}
		w.expect("timeout", w.get(), 504, "UT", "response_timeout")
		w.stat("cluster.web.upstream_cx_total", 1) // the connection outlives its streams
		w.route.Forward.Timeout = 0
		w.cluster.Breaker[0].MaxRequests = 2
		w.build()
		overflown := 0
		for _, r := range w.together(5, "/") {
			if r.stream.Flags == message.UpstreamOverflow {
				overflown++
			}
		}
		if overflown != 3 {
			t.Errorf("%d requests beyond max_requests, want 3", overflown)
		}
		upgrade := w.request()
		upgrade.Upgrade = "websocket"
		w.expect("upgrade", w.do(context.Background(), upgrade), 503, "UR", "upstream_reset_before_response_started{remote_reset}")
		w.cluster.Endpoints = []*snapshot.Locality{{}}
		w.endpoint("10.0.0.77")
		w.build()
		for _, r := range w.together(3, "/") {
			if r.stream.Flags != message.UpstreamConnectionFailure || r.status != 503 {
				t.Errorf("nobody there: %d %v", r.status, r.stream.Flags)
			}
		}
	})
}
