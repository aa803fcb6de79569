package engine

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// misbehave adds an endpoint that answers its n-th request (from 1) as f says:
// "503" or "200 x-name: value" is an answer without content, "reset" closes,
// "garbage" is no HTTP, "silence" says nothing for a minute; "early 503" does not wait
// for the request's body.
func (w *world) misbehave(f func(n int) string) {
	addr := fmt.Sprintf("10.0.0.%d", len(w.cluster.Endpoints[0].Endpoints)+11)
	l, err := w.host("server-"+addr, addr).Network(0, 0).Listen(context.Background(), addr+":80")
	if err != nil {
		w.t.Fatal(err)
	}
	w.endpoint(addr)
	w.listeners = append(w.listeners, l)
	var n atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				for in := bufio.NewReader(c); ; {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					what, early := strings.CutPrefix(f(int(n.Add(1))), "early ")
					if !early {
						_, _ = io.Copy(io.Discard, r.Body)
					}
					if !answerAs(c, what) || early {
						return
					}
				}
			}()
		}
	}()
}

func answerAs(c net.Conn, what string) bool {
	switch what {
	case "reset":
		return false
	case "garbage":
		_, _ = io.WriteString(c, "MAIL FROM\r\n\r\n")
		return false
	case "silence":
		time.Sleep(time.Minute)
		return false
	}
	status, header, _ := strings.Cut(what, " ")
	if header != "" {
		header += "\r\n"
	}
	_, err := fmt.Fprintf(c, "HTTP/1.1 %s X\r\ncontent-length: 0\r\n%s\r\n", status, header)
	return err == nil
}

// TestRetryWords has every word of x-envoy-retry-on and x-envoy-retry-grpc-on with what
// it retries and what it does not (Envoy: router filter).
func TestRetryWords(t *testing.T) {
	for _, c := range []struct {
		on      string
		retried string // all of these, and none of the next
		left    string
	}{
		{"5xx", "500|503|599|reset|garbage|silence", "409|418|200 grpc-status: 14|503 x-envoy-ratelimited: true"},
		{"gateway-error", "502|503|504|reset|silence", "500|501|409"},
		{"reset", "reset|garbage|silence", "503|500"},
		{"reset-before-request", "", "reset|503"},
		{"connect-failure", "", "reset|503|silence"},
		{"refused-stream", "", "reset|503"},
		{"retriable-4xx", "409", "404|429|503|reset"},
		{"retriable-status-codes", "418|429", "503|409|reset"},
		{"retriable-headers", "200 x-flaky: yes", "200|503|200 x-flaky: no"},
		{"envoy-ratelimited", "429 x-envoy-ratelimited: true|503 x-envoy-ratelimited: true", "429|503"},
		{"cancelled", "200 grpc-status: 1", "200 grpc-status: 14|503|reset"},
		{"deadline-exceeded", "200 grpc-status: 4", "200 grpc-status: 1"},
		{"resource-exhausted", "200 grpc-status: 8", "200 grpc-status: 14"},
		{"unavailable", "200 grpc-status: 14", "200 grpc-status: 13|503|reset"},
		{"internal", "200 grpc-status: 13", "200 grpc-status: 2"},
	} {
		check := func(what string, want int) {
			bubble(t, func(w *world) {
				yes := "yes"
				w.misbehave(func(n int) string {
					if n == 1 {
						return what
					}
					return "204"
				})
				w.route.Forward.Retry = &snapshot.Retry{On: []string{c.on}, Attempts: 1, Statuses: []int{418, 429}, PerTryTimeout: time.Second,
					Headers: []snapshot.HeaderMatch{{Name: "x-flaky", Value: &snapshot.StringMatch{Exact: &yes}}}}
				w.build()
				if r := w.get(); r.stream.Attempts != want || (r.status == 204) != (want == 2) {
					t.Errorf("%s after %q: %d after %d attempts, want %d", c.on, what, r.status, r.stream.Attempts, want)
				}
			})
		}
		for _, what := range strings.Split(c.retried, "|") {
			if what != "" {
				check(what, 2)
			}
		}
		for _, what := range strings.Split(c.left, "|") {
			check(what, 1)
		}
	}
}

func TestConnectionsThatFailAreRetried(t *testing.T) {
	for word, want := range map[string]int{"connect-failure": 3, "reset-before-request": 3, "reset": 3, "5xx": 3, "gateway-error": 3, "retriable-4xx": 1, "unavailable": 1} {
		bubble(t, func(w *world) {
			w.host("empty", "10.0.0.11")
			w.endpoint("10.0.0.11")
			w.route.Forward.Retry = &snapshot.Retry{On: []string{word}, Attempts: 2}
			w.build()
			r := w.get()
			if r.stream.Attempts != want || r.status != 503 || strings.Contains(r.body, "retried and the latest reset reason") != (want > 1) {
				t.Errorf("%s: %d after %d attempts, want %d: %s", word, r.status, r.stream.Attempts, want, r.body)
			}
		})
	}
}

func TestRetryHeaders(t *testing.T) {
	for _, c := range []struct {
		name    string
		retry   *snapshot.Retry
		headers string
		answer  string
		want    int
	}{
		{"one retry by default", nil, "x-envoy-retry-on: 5xx", "503", 2},
		{"as many as the header says", nil, "x-envoy-retry-on: gateway-error, connect-failure|x-envoy-max-retries: 3", "503", 4},
		{"a number alone does nothing", nil, "x-envoy-max-retries: 3", "503", 1},
		{"the header's number goes before the route's", &snapshot.Retry{On: []string{"5xx"}, Attempts: 5}, "x-envoy-max-retries: 1", "503", 2},
		{"words add up", &snapshot.Retry{On: []string{"reset"}, Attempts: 2}, "x-envoy-retry-on: 5xx", "503", 3},
		{"unknown words are left out", nil, "x-envoy-retry-on: sometimes,5xx", "503", 2},
		{"gRPC has its own header", nil, "x-envoy-retry-grpc-on: unavailable", "200 grpc-status: 14", 2},
		{"gRPC's words count in no other", nil, "x-envoy-retry-on: unavailable", "200 grpc-status: 14", 1},
		{"others' words do not count in gRPC's", nil, "x-envoy-retry-grpc-on: 5xx", "503", 1},
		{"status codes", nil, "x-envoy-retry-on: retriable-status-codes|x-envoy-retriable-status-codes: 418, 404", "404", 2},
		{"header names", nil, "x-envoy-retry-on: retriable-headers|x-envoy-retriable-header-names: X-Again, x-never", "200 x-again: 1", 2},
	} {
		bubble(t, func(w *world) {
			w.misbehave(func(int) string { return c.answer })
			w.route.Forward.Retry = c.retry
			w.build()
			q := w.request()
			for _, h := range strings.Split(c.headers, "|") {
				name, value, _ := strings.Cut(h, ": ")
				q.Header.Add(name, value)
			}
			r := w.do(context.Background(), q)
			if r.stream.Attempts != c.want {
				t.Errorf("%s: %d attempts, want %d", c.name, r.stream.Attempts, c.want)
			}
			for _, f := range q.Header {
				if strings.HasPrefix(f.Name, "x-envoy-ret") || f.Name == "x-envoy-max-retries" {
					t.Errorf("%s: %s went on to the upstream", c.name, f.Name)
				}
			}
		})
	}
}

// TestBackOff: retry N waits a draw from [0, (2^N-1)*base), at most the maximum; and
// the request's timeout goes on meanwhile.
func TestBackOff(t *testing.T) {
	bubble(t, func(w *world) {
		var at []time.Time
		w.misbehave(func(int) string { at = append(at, time.Now()); return "503" })
		w.route.Forward.Retry = &snapshot.Retry{On: []string{"5xx"}, Attempts: 4, BackOffBase: time.Second, BackOffMax: 5 * time.Second}
		w.build()
		longest := make([]time.Duration, 4)
		for range 200 {
			at = nil
			w.expect("all fail", w.get(), 503, "URX", "via_upstream")
			for i := range longest {
				longest[i] = max(longest[i], at[i+1].Sub(at[i]))
			}
		}
		for i, limit := range []time.Duration{time.Second, 3 * time.Second, 5 * time.Second, 5 * time.Second} {
			if got := longest[i]; got > limit+10*time.Millisecond || got < limit*9/10 {
				t.Errorf("retry %d waited up to %v, want nearly %v", i+1, got, limit)
			}
		}
		w.route.Forward.Timeout, w.route.Forward.Retry.BackOffBase = 50*time.Millisecond, 5*time.Second
		w.build()
		r := w.get()
		if w.expect("timeout in the back-off", r, 504, "UT", "response_timeout"); r.took != 50*time.Millisecond {
			t.Errorf("it took %v", r.took)
		}
	})
}

func TestRetriesAvoidHostsThatFailed(t *testing.T) {
	bubble(t, func(w *world) {
		var seen [3]int
		for i := range seen {
			w.misbehave(func(int) string { seen[i]++; return "503" })
		}
		w.cluster.Balancer = snapshot.Random
		w.route.Forward.Retry = &snapshot.Retry{On: []string{"5xx"}, Attempts: 2, PreviousHosts: true, HostAttempts: 50}
		w.build()
		for range 50 {
			before := seen
			w.get()
			for i := range seen {
				if seen[i] != before[i]+1 {
					t.Fatalf("host %d got %d of one request's tries", i, seen[i]-before[i])
				}
			}
		}
	})
}

func TestRetryBudgetBoundsConcurrentRetries(t *testing.T) {
	bubble(t, func(w *world) {
		w.misbehave(func(int) string { time.Sleep(100 * time.Millisecond); return "503" })
		w.cluster.Breaker[0].Budget = &snapshot.RetryBudget{Percent: 20, MinConcurrency: 2}
		w.route.Forward.Retry = &snapshot.Retry{On: []string{"5xx"}, Attempts: 1}
		w.build()
		done := make(chan string, 10)
		for range 10 {
			q := w.request()
			go func() { done <- w.do(context.Background(), q).stream.Flags.String() }()
		}
		counts := map[string]int{}
		for range 10 {
			counts[<-done]++
		}
		if counts["URX"] != 2 || counts["UO"] != 8 {
			t.Errorf("flags are %v, want 2 that were retried", counts)
		}
		w.stat("cluster.web.upstream_rq_retry", 2)
		w.stat("cluster.web.upstream_rq_retry_overflow", 8)
	})
}

// slowly is a body that comes in pieces.
type slowly struct {
	pieces int
	every  time.Duration
}

func (s *slowly) Read(p []byte) (int, error) {
	if s.pieces == 0 {
		return 0, io.EOF
	}
	time.Sleep(s.every)
	s.pieces--
	return copy(p, "0123456789"), nil
}

func (s *slowly) Close() error          { return nil }
func (*slowly) Trailer() message.Header { return nil }

func (w *world) upload(pieces int, every time.Duration) *message.Request {
	q := w.request()
	q.Method, q.ContentLength, q.Body = "POST", -1, &slowly{pieces, every}
	return q
}

func TestStreamedBodyIsRetriedOnceItCame(t *testing.T) {
	bubble(t, func(w *world) {
		n := 0
		w.serve(func(rw http.ResponseWriter, r *http.Request) {
			if n++; n == 1 {
				_, _ = io.Copy(io.Discard, r.Body)
				rw.WriteHeader(503)
				return
			}
			b, _ := io.ReadAll(r.Body)
			_, _ = rw.Write(b)
		})
		w.route.Forward.Retry = &snapshot.Retry{On: []string{"5xx"}, Attempts: 2}
		w.build()
		r := w.do(context.Background(), w.upload(3, 100*time.Millisecond))
		if w.expect("replayed", r, 200, "-", "via_upstream"); r.body != "012345678901234567890123456789" || r.stream.Attempts != 2 {
			t.Errorf("%d attempts gave %q", r.stream.Attempts, r.body)
		}
		long := w.upload(replayable/10+1, time.Microsecond)
		n = 0
		if r = w.do(context.Background(), long); r.status != 503 || r.stream.Attempts != 1 {
			t.Errorf("a long body: %d after %d attempts", r.status, r.stream.Attempts)
		}
		w.stat("cluster.web.upstream_rq_active", 0)
	})
}

// TestEarlyAnswerDuringAnUpload: it goes to the client at once and is not retried, as
// the body could not be sent again.
func TestEarlyAnswerDuringAnUpload(t *testing.T) {
	bubble(t, func(w *world) {
		w.misbehave(func(int) string { return "early 503" })
		w.route.Forward.Retry = &snapshot.Retry{On: []string{"5xx"}, Attempts: 2}
		w.build()
		r := w.do(context.Background(), w.upload(100, 100*time.Millisecond))
		if w.expect("early", r, 503, "-", "via_upstream"); r.stream.Attempts != 1 || r.took > time.Second {
			t.Errorf("early answer came after %v and %d attempts", r.took, r.stream.Attempts)
		}
		w.stat("cluster.web.upstream_rq_active", 0)
		w.stat("cluster.web.upstream_cx_active", 0)
	})
}

// replayable is what the router keeps of a streamed body.
const replayable = 64 << 10
