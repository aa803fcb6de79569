package engine

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

func pointer[T any](v T) *T { return &v }

// with is a request with header fields "a: b|c: d".
func (w *world) with(headers string) *message.Request {
	q := w.request()
	for h := range strings.SplitSeq(headers, "|") {
		if name, value, ok := strings.Cut(h, ": "); ok {
			q.Header.Add(name, value)
		}
	}
	return q
}

// TestTimeoutSources has where a timeout comes from, and what the upstream hears of it
// (Envoy: router filter, x-envoy-upstream-rq-timeout-ms; RouteAction.max_grpc_timeout).
func TestTimeoutSources(t *testing.T) {
	const grpc = "content-type: application/grpc|"
	for _, c := range []struct {
		name    string
		forward snapshot.Forward
		headers string
		took    time.Duration // 0: it gets its answer after 10 s
		heard   string        // expected-rq-timeout-ms and grpc-timeout of the last try
	}{
		{"route", snapshot.Forward{Timeout: time.Second}, "", time.Second, "1000 "},
		{"none", snapshot.Forward{}, "", 0, " "},
		{"header", snapshot.Forward{Timeout: time.Second}, "x-envoy-upstream-rq-timeout-ms: 300", 300 * time.Millisecond, "300 "},
		{"header longer than the route's", snapshot.Forward{Timeout: time.Second}, "x-envoy-upstream-rq-timeout-ms: 3000", 3 * time.Second, "3000 "},
		{"header of 0 is no timeout", snapshot.Forward{Timeout: time.Second}, "x-envoy-upstream-rq-timeout-ms: 0", 0, " "},
		{"header that is no number", snapshot.Forward{Timeout: time.Second}, "x-envoy-upstream-rq-timeout-ms: soon", time.Second, "1000 "},
		{"grpc-timeout without leave", snapshot.Forward{Timeout: time.Second}, grpc + "grpc-timeout: 100m", time.Second, "1000 100m"},
		{"grpc-timeout", snapshot.Forward{Timeout: time.Second, MaxGRPCTimeout: pointer(time.Duration(0))}, grpc + "grpc-timeout: 2S", 2 * time.Second, "2000 2000m"},
		{"grpc-timeout is capped", snapshot.Forward{Timeout: time.Second, MaxGRPCTimeout: pointer(4 * time.Second)}, grpc + "grpc-timeout: 1M", 4 * time.Second, "4000 4000m"},
		{"gRPC without one is infinite", snapshot.Forward{Timeout: time.Second, MaxGRPCTimeout: pointer(time.Duration(0))}, grpc, 0, " "},
		{"gRPC without one is capped", snapshot.Forward{Timeout: time.Second, MaxGRPCTimeout: pointer(3 * time.Second)}, grpc, 3 * time.Second, "3000 3000m"},
		{"others' grpc-timeout says nothing", snapshot.Forward{Timeout: time.Second, MaxGRPCTimeout: pointer(time.Duration(0))}, "grpc-timeout: 1m", time.Second, "1000 1m"},
		{"a try's timeout is what is expected", snapshot.Forward{Timeout: time.Second, Retry: &snapshot.Retry{PerTryTimeout: 400 * time.Millisecond}}, "", 400 * time.Millisecond, "400 "},
		{"a try's header", snapshot.Forward{Timeout: time.Second, Retry: &snapshot.Retry{PerTryTimeout: 400 * time.Millisecond}}, "x-envoy-upstream-rq-per-try-timeout-ms: 200", 200 * time.Millisecond, "200 "},
		{"a try's timeout that is not shorter is none", snapshot.Forward{Timeout: time.Second, Retry: &snapshot.Retry{PerTryTimeout: time.Second}}, "", time.Second, "1000 "},
		{"the last try hears what is left", snapshot.Forward{Timeout: time.Second, Retry: &snapshot.Retry{On: []string{"5xx"}, Attempts: 2, PerTryTimeout: 700 * time.Millisecond, BackOffBase: 1}},
			"", time.Second, "297 "},
		{"a stream's longest duration", snapshot.Forward{Timeout: 2 * time.Second, MaxStreamDuration: time.Second}, "", time.Second, "2000 "},
		{"idle", snapshot.Forward{Timeout: 3 * time.Second, IdleTimeout: pointer(2 * time.Second)}, "", 2 * time.Second, "3000 "},
		{"idle of 0 is none", snapshot.Forward{IdleTimeout: pointer(time.Duration(0))}, "", 0, " "},
	} {
		bubble(t, func(w *world) {
			var last atomic.Value
			w.serve(func(_ http.ResponseWriter, r *http.Request) {
				last.Store(r.Header.Get("x-envoy-expected-rq-timeout-ms") + " " + r.Header.Get("grpc-timeout"))
				time.Sleep(10 * time.Second)
			})
			c.forward.Clusters = w.route.Forward.Clusters
			w.route.Forward = &c.forward
			w.build()
			r := w.do(context.Background(), w.with(c.headers))
			heard := last.Load()
			if ok := r.stream.Flags == 0; ok != (c.took == 0) || !ok && (r.took-c.took).Abs() > 5*time.Millisecond || heard != c.heard {
				t.Errorf("%s: %d %s after %v, upstream heard %q; want %v, %q", c.name, r.status, r.stream.Flags, r.took, heard, c.took, c.heard)
			}
		})
	}
}

func TestTimeoutsHaveEnvoysWords(t *testing.T) {
	for _, c := range []struct {
		name           string
		forward        snapshot.Forward
		headers        string
		upload         bool
		status         int
		flags, details string
		body           string
	}{
		{"alternative answer", snapshot.Forward{Timeout: time.Second}, "x-envoy-upstream-rq-timeout-alt-response: 1", false, 204, "UT", "response_timeout", ""},
		{"idle, request complete", snapshot.Forward{IdleTimeout: pointer(time.Second)}, "", false, 504, "SI", "stream_idle_timeout", "stream timeout"},
		{"idle in the upload", snapshot.Forward{IdleTimeout: pointer(time.Second)}, "", true, 408, "SI", "stream_idle_timeout", "stream timeout"},
		{"duration, request complete", snapshot.Forward{MaxStreamDuration: time.Second}, "", false, 504, "DT", "max_duration_timeout", "downstream duration timeout"},
		{"duration in the upload", snapshot.Forward{MaxStreamDuration: time.Second}, "", true, 408, "DT", "max_duration_timeout", "downstream duration timeout"},
		{"a try without progress", snapshot.Forward{Retry: &snapshot.Retry{PerTryIdleTimeout: time.Second}}, "", false, 504, "UT", "upstream_per_try_idle_timeout", "upstream request timeout"},
	} {
		bubble(t, func(w *world) {
			w.serve(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				time.Sleep(5 * time.Second)
			})
			c.forward.Clusters = w.route.Forward.Clusters
			w.route.Forward = &c.forward
			w.build()
			q := w.with(c.headers)
			if c.upload {
				q.Method, q.ContentLength, q.Body = "POST", -1, &slowly{1, 3 * time.Second}
			}
			r := w.do(context.Background(), q)
			if w.expect(c.name, r, c.status, c.flags, c.details); r.body != c.body || r.took.Truncate(100*time.Millisecond) != time.Second {
				t.Errorf("%s: %q after %v", c.name, r.body, r.took)
			}
			time.Sleep(10 * time.Second)
			w.stat("cluster.web.upstream_rq_active", 0)
		})
	}
}

// TestUploadsAreNotTimed: a request's timeout begins when it has come completely, and a
// try's ends with the head of the answer.
func TestUploadsAreNotTimed(t *testing.T) {
	bubble(t, func(w *world) {
		var after atomic.Int64
		w.serve(func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			time.Sleep(time.Duration(after.Load()))
			for range 4 {
				_, _ = io.WriteString(rw, "part ")
				rw.(http.Flusher).Flush()
				time.Sleep(200 * time.Millisecond)
			}
		})
		f := w.route.Forward
		f.Timeout, f.IdleTimeout, f.Retry = 2*time.Second, pointer(1500*time.Millisecond), &snapshot.Retry{PerTryTimeout: 300 * time.Millisecond}
		w.build()
		r := w.do(context.Background(), w.upload(5, time.Second))
		if w.expect("long upload", r, 200, "-", "via_upstream"); r.reset || len(r.body) != 20 || r.stream.UpstreamDuration > 10*time.Millisecond {
			t.Errorf("%q after %v, upstream took %v", r.body, r.took, r.stream.UpstreamDuration)
		}
		after.Store(int64(500 * time.Millisecond))
		r = w.do(context.Background(), w.upload(5, time.Second))
		if w.expect("a try's", r, 504, "UT", "upstream_per_try_timeout"); r.took.Truncate(100*time.Millisecond) != 5300*time.Millisecond {
			t.Errorf("it took %v", r.took)
		}
		after.Store(int64(1600 * time.Millisecond))
		f.Timeout, f.Retry = time.Second, nil
		w.build()
		r = w.do(context.Background(), w.upload(5, time.Second))
		if w.expect("the request's", r, 504, "UT", "response_timeout"); r.took.Truncate(100*time.Millisecond) != 6*time.Second {
			t.Errorf("it took %v", r.took)
		}
	})
}

// TestIdleIsWithoutProgress: pieces of the answer put an idle limit off, not the others.
func TestIdleIsWithoutProgress(t *testing.T) {
	for _, c := range []struct {
		name    string
		forward snapshot.Forward
		pieces  int
		details string
	}{
		{"idle", snapshot.Forward{IdleTimeout: pointer(time.Second)}, 10, "via_upstream"},
		{"a try's idle", snapshot.Forward{Retry: &snapshot.Retry{PerTryIdleTimeout: time.Second}}, 10, "via_upstream"},
		{"duration", snapshot.Forward{MaxStreamDuration: 3 * time.Second}, 4, "max_duration_timeout"},
		{"timeout", snapshot.Forward{Timeout: 3 * time.Second, IdleTimeout: pointer(time.Second)}, 4, "response_timeout"},
		{"shorter idle", snapshot.Forward{IdleTimeout: pointer(700 * time.Millisecond)}, 1, "stream_idle_timeout"},
	} {
		bubble(t, func(w *world) {
			w.serve(func(rw http.ResponseWriter, _ *http.Request) {
				for range 10 {
					_, _ = io.WriteString(rw, ".")
					rw.(http.Flusher).Flush()
					time.Sleep(900 * time.Millisecond)
				}
			})
			c.forward.Clusters = w.route.Forward.Clusters
			w.route.Forward = &c.forward
			w.build()
			r := w.get()
			if len(r.body) != c.pieces || r.stream.Details != c.details || r.reset != (c.pieces < 10) {
				t.Errorf("%s: %d pieces, %s, reset %v", c.name, len(r.body), r.stream.Details, r.reset)
			}
		})
	}
}

// TestTryIsTimedFromItsConnection (Envoy: RetryPolicy.per_try_idle_timeout says so of both).
func TestTryIsTimedFromItsConnection(t *testing.T) {
	bubble(t, func(w *world) {
		w.serve(func(http.ResponseWriter, *http.Request) { time.Sleep(150 * time.Millisecond) })
		w.cluster.Breaker[0].MaxConnections = 1
		w.route.Forward.Retry = &snapshot.Retry{PerTryTimeout: 200 * time.Millisecond}
		w.build()
		done := make(chan result, 3)
		for range 3 {
			q := w.request()
			go func() { done <- w.do(context.Background(), q) }()
		}
		for range 3 {
			w.expect("one after the other", <-done, 200, "-", "via_upstream")
		}
	})
}

func TestContinue(t *testing.T) {
	for _, c := range []struct {
		name     string
		says     string // before the body comes
		informed bool
		status   int
		after    time.Duration
	}{
		{"the server asks for the body", "HTTP/1.1 100 Continue\r\n\r\n", true, 204, 10 * time.Millisecond},
		{"the server refuses it", "HTTP/1.1 417 No\r\ncontent-length: 0\r\n\r\n", false, 417, 10 * time.Millisecond},
		{"the server says nothing", "", false, 204, 1100 * time.Millisecond},
	} {
		bubble(t, func(w *world) {
			w.expectant(c.says)
			w.build()
			informed := false
			q := w.with("expect: 100-continue")
			q.Method, q.ContentLength, q.Body = "PUT", 10, &slowly{1, time.Millisecond}
			q.Continue = func() { informed = true }
			r := w.do(context.Background(), q)
			if r.status != c.status || informed != c.informed || r.took > c.after {
				t.Errorf("%s: %d after %v, informed %v", c.name, r.status, r.took, informed)
			}
			time.Sleep(2 * time.Second)
			if body := q.Body.(*slowly); (body.pieces == 0) != (c.status == 204) {
				t.Errorf("%s: %d pieces are left", c.name, body.pieces)
			}
		})
	}
}

// expectant adds an endpoint that says something to the head of a request, reads ten
// bytes of body, and answers.
func (w *world) expectant(says string) {
	l, err := w.host("server", "10.0.0.11").Network(0, 0).Listen(context.Background(), "10.0.0.11:80")
	if err != nil {
		w.t.Fatal(err)
	}
	w.endpoint("10.0.0.11")
	w.listeners = append(w.listeners, l)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				head := make([]byte, 0, 4096)
				for b := make([]byte, 1); !strings.HasSuffix(string(head), "\r\n\r\n"); head = append(head, b[0]) {
					if _, err := c.Read(b); err != nil {
						return
					}
				}
				_, _ = io.WriteString(c, says)
				if _, err := io.ReadFull(c, make([]byte, 10)); err == nil {
					_, _ = fmt.Fprint(c, "HTTP/1.1 204 X\r\n\r\n")
				}
			}()
		}
	}()
}
