package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/test/bufconn"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// in runs a test in a bubble with a server on buffered connections.
func in(t *testing.T, h http.HandlerFunc, f func(t *testing.T, to Target)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := bufconn.Listen(64 << 10)
		s := &http.Server{Handler: h}
		served := make(chan struct{})
		go func() {
			defer close(served)
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		}()
		f(t, Target{Dial: func(ctx context.Context, _, addr string) (net.Conn, error) {
			if addr != "httpbin:8000" {
				return nil, fmt.Errorf("no host %s", addr)
			}
			return l.DialContext(ctx)
		}, URL: "http://httpbin:8000/get", Seed: seed.New(1)})
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		<-served
		time.Sleep(2 * time.Minute) // handlers that nobody waits for end
	})
}

// slow answers after 3 ms, every seventh request after 40 ms.
func slow() http.HandlerFunc {
	var n atomic.Int64
	return func(w http.ResponseWriter, _ *http.Request) {
		d := 3 * time.Millisecond
		if n.Add(1)%7 == 0 {
			d = 40 * time.Millisecond
		}
		time.Sleep(d)
		io.WriteString(w, "ok")
	}
}

func TestRateIsExactAndDeterministic(t *testing.T) {
	var results []*Result
	for range 2 {
		in(t, slow(), func(t *testing.T, to Target) {
			r, err := Run(t.Context(), Options{Target: to, QPS: 200, Connections: 8, Duration: 30 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			results = append(results, r)
		})
	}
	a, b := results[0], results[1]
	if len(a.Records) != 6000 || a.Latency().TotalCount() != 6000 {
		t.Errorf("%d calls, want 6000", len(a.Records))
	}
	if !slices.Equal(a.Records, b.Records) {
		t.Error("two runs of one seed differ")
	}
	if !a.Latency().Equals(b.Latency()) || !a.Service().Equals(b.Service()) {
		t.Error("the histograms of two runs of one seed differ")
	}
	for i, r := range a.Records[:100] {
		if want := a.Records[0].Intended.Add(time.Duration(i) * 5 * time.Millisecond); r.Intended.Sub(want).Abs() > time.Microsecond {
			t.Fatalf("call %d is meant for %v, want %v", i, r.Intended, want)
		}
	}
	first, last := a.Records[0], a.Records[5999]
	if d := last.Intended.Sub(first.Intended); d < 29900*time.Millisecond || d > 30*time.Second {
		t.Errorf("the schedule is %v long", d)
	}
	var f struct {
		RunType, RequestedQPS string
		ActualQPS             float64
		RetCodes              map[string]int
		DurationHistogram     struct{ Count int }
	}
	if err := json.Unmarshal(a.Fortio(), &f); err != nil {
		t.Fatal(err)
	}
	if f.RunType != "HTTP" || f.RequestedQPS != "200" || f.RetCodes["200"] != 6000 || f.DurationHistogram.Count != 6000 || f.ActualQPS < 199 {
		t.Errorf("fortio's result: %+v", f)
	}
}

// One connection that needs 40 ms for a call cannot do 50 a second: from the send
// all is well, from the intended start the queue shows.
func TestCoordinatedOmission(t *testing.T) {
	in(t, func(http.ResponseWriter, *http.Request) { time.Sleep(40 * time.Millisecond) }, func(t *testing.T, to Target) {
		r, err := Run(t.Context(), Options{Target: to, QPS: 50, Connections: 1, Calls: 100})
		if err != nil {
			t.Fatal(err)
		}
		if s := time.Duration(r.Service().ValueAtQuantile(99)); s < 40*time.Millisecond || s > 41*time.Millisecond {
			t.Errorf("p99 from the send is %v", s)
		}
		if l := time.Duration(r.Latency().Max()); l < 2*time.Second {
			t.Errorf("the last call waited %v, want two seconds", l)
		}
	})
}

// A stall of 200 ms in a closed loop is one slow call of a thousand from the send; from
// the intended start it is all those that should have gone out meanwhile.
func TestAStallShowsFromTheIntendedStart(t *testing.T) {
	calls := 0
	stall := func(http.ResponseWriter, *http.Request) {
		if calls++; calls == 300 {
			time.Sleep(200 * time.Millisecond)
		}
	}
	in(t, stall, func(t *testing.T, to Target) {
		r, err := Run(t.Context(), Options{Target: to, QPS: 1000, Connections: 1, Calls: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if s := time.Duration(r.Service().ValueAtQuantile(99)); s > time.Millisecond {
			t.Errorf("p99 from the send is %v: one call of a thousand stalled", s)
		}
		if most := time.Duration(r.Service().Max()); most < 200*time.Millisecond || most > 201*time.Millisecond {
			t.Errorf("the stalled call took %v", most)
		}
		// 200 calls of 1000 were held up, the first for 200 ms, the last for none.
		for q, want := range map[float64]time.Duration{99: 190 * time.Millisecond, 90: 100 * time.Millisecond} {
			if l := time.Duration(r.Latency().ValueAtQuantile(q)); (l - want).Abs() > 3*time.Millisecond {
				t.Errorf("p%v from the intended start is %v, want about %v", q, l, want)
			}
		}
	})
}

// Known distributions have known percentiles, to the histogram's three digits.
func TestKnownPercentiles(t *testing.T) {
	const n = 200000
	for name, inverse := range map[string]func(q float64) float64{
		"uniform":     func(q float64) float64 { return 1e6 + q*99e6 },
		"exponential": func(q float64) float64 { return -2e6 * math.Log(1-q) },
		"pareto":      func(q float64) float64 { return 1e6 * math.Pow(1-q, -0.5) },
		"two modes":   func(q float64) float64 { return 1e6 + q*1e5 + 50e6*math.Floor(q+0.04) },
	} {
		start := time.Unix(0, 0)
		c := &caller{}
		for i := range n {
			d := time.Duration(inverse((float64(i) + 0.5) / n))
			c.records = append(c.records, Record{Intended: start, Sent: start.Add(d / 2), Done: start.Add(d)})
		}
		r := collect([]*caller{c})
		for _, q := range []float64{1, 25, 50, 90, 95, 99, 99.9} {
			want := inverse(q / 100)
			for what, got := range map[string]float64{"latency": float64(r.Latency().ValueAtPercentile(q)), "service": 2 * float64(r.Service().ValueAtPercentile(q))} {
				if math.Abs(got-want)/want > 0.0015 {
					t.Errorf("%s: p%v of %s is %.0f, want %.0f", name, q, what, got, want)
				}
			}
		}
	}
}

func TestWithoutARate(t *testing.T) {
	for _, tc := range []struct{ connections, calls, want int }{{3, 20, 20}, {5, 2, 2}, {1, 1, 1}, {3, 60, 60}} {
		in(t, slow(), func(t *testing.T, to Target) {
			r, err := Run(t.Context(), Options{Target: to, Connections: tc.connections, Calls: int64(tc.calls)})
			if err != nil || len(r.Records) != tc.want {
				t.Fatalf("%+v: %d calls, %v", tc, len(r.Records), err)
			}
			seen := map[time.Time]bool{}
			for _, rec := range r.Records[:min(tc.connections, tc.want)] {
				if seen[rec.Sent] || rec.Intended != rec.Sent {
					t.Errorf("%+v: two callers start at one instant, or late", tc)
				}
				seen[rec.Sent] = true
			}
		})
	}
	in(t, slow(), func(t *testing.T, to Target) {
		r, err := Run(t.Context(), Options{Target: to, QPS: 3, Calls: 1})
		if err != nil || len(r.Records) != 1 {
			t.Errorf("one call with a rate: %v, %v", r, err)
		}
		to.URL = "http://nobody:80/"
		r, err = Run(t.Context(), Options{Target: to, Duration: 50 * time.Millisecond})
		if err != nil || len(r.Records) < 40 || r.Records[0].Error != "no host nobody:80" || r.First != nil {
			t.Errorf("refused: %v, %v", r, err)
		}
	})
}

func TestStops(t *testing.T) {
	in(t, slow(), func(t *testing.T, to Target) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second+time.Millisecond)
		defer cancel()
		start := time.Now()
		r, err := Run(ctx, Options{Target: to, QPS: 100, Connections: 4, Duration: time.Hour})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 2*time.Second || len(r.Records) < 90 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		cancelled, stop := context.WithCancel(t.Context())
		stop()
		if r, err := Run(cancelled, Options{Target: to, QPS: 100, Duration: time.Hour}); err == nil || len(r.Records) > 0 {
			t.Errorf("a load that was stopped before: %v", err)
		}
	})
}

func TestSend(t *testing.T) {
	type got struct{ line, host, x, id, body string }
	var saw []got
	handler := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		saw = append(saw, got{r.Method + " " + r.RequestURI, r.Host, r.Header.Get("X-A"), r.Header.Get("X-Request-Id"), string(body[:min(len(body), 9)])})
		time.Sleep(20 * time.Millisecond)
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}
	in(t, handler, func(t *testing.T, to Target) {
		to.URL = "http://httpbin:8000//a/../%2Fb?q=%zz"
		to.Method, to.Body, to.Headers = "PUT", []byte("hello"), map[string]string{"Host": "example.com", "x-a": "1"}
		start := time.Now()
		r, err := Send(t.Context(), SendOptions{Target: to, Count: 4, Parallel: 2, Interval: 15 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		var at []time.Duration
		for _, rec := range r.Records {
			at = append(at, rec.Intended.Sub(start), rec.Sent.Sub(start))
			if rec.Status != 302 || rec.Protocol != "HTTP/1.1" || rec.Error != "" {
				t.Errorf("%+v", rec)
			}
		}
		ms := time.Millisecond
		if d := cmp.Diff([]time.Duration{0, 0, 15 * ms, 15 * ms, 30 * ms, 30 * ms, 45 * ms, 45 * ms}, at); d != "" {
			t.Error(d)
		}
		if len(saw) != 4 || saw[0].line != "PUT //a/../%2Fb?q=%zz" || saw[0].host != "example.com" || saw[0].x != "1" || saw[0].body != "hello" || saw[0].id != r.Records[0].ID {
			t.Errorf("the server saw %+v", saw)
		}
		if r.First == nil || r.First.Headers["location"] != "/elsewhere" || len(r.First.Body) != int(r.Records[0].Bytes) {
			t.Errorf("first answer: %+v", r.First)
		}
		if saw[0].id == saw[1].id || len(saw[0].id) != 36 || saw[0].id[14] != '4' {
			t.Errorf("request ids %s, %s", saw[0].id, saw[1].id)
		}
	})
}

func TestSendEdges(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			time.Sleep(time.Minute)
		case "/early":
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		case "/big":
			io.WriteString(w, strings.Repeat("x", 3<<20))
		case "/echo":
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n)
		case "/hint":
			w.WriteHeader(http.StatusEarlyHints)
			fmt.Fprint(w, "body")
		}
	}
	in(t, handler, func(t *testing.T, to Target) {
		send := func(path, method string, body []byte) (*Result, Record) {
			t.Helper()
			to := to
			to.URL, to.Method, to.Body, to.Timeout = "http://httpbin:8000"+path, method, body, time.Second
			r, err := Send(t.Context(), SendOptions{Target: to})
			if err != nil {
				t.Fatal(err)
			}
			return r, r.Records[0]
		}
		if _, r := send("/slow", "GET", nil); r.Status != 0 || r.Error != "timeout: no answer in 1s" || r.Done.Sub(r.Sent) != time.Second {
			t.Errorf("slow: %+v", r)
		}
		if _, r := send("/early", "POST", make([]byte, 8<<20)); r.Status != 413 {
			t.Errorf("early: %+v", r)
		}
		if res, r := send("/echo", "POST", make([]byte, 8<<20)); r.Status != 200 || string(res.First.Body) != "8388608" {
			t.Errorf("echo: %+v", r)
		}
		filled := to
		filled.URL, filled.Method = "http://httpbin:8000/echo", "POST"
		for _, n := range []int64{1, inlineBody, inlineBody + 1, 8<<20 + 1} {
			filled.Filler = n
			res, err := Send(t.Context(), SendOptions{Target: filled})
			if err != nil || string(res.First.Body) != strconv.FormatInt(n, 10) {
				t.Errorf("filler of %d bytes: %v, %+v", n, err, res)
			}
		}
		if res, r := send("/big", "GET", nil); r.Bytes != 3<<20 || len(res.First.Body) != 1<<20 {
			t.Errorf("big: %+v", r)
		}
		if res, r := send("/hint", "GET", nil); r.Status != 200 || string(res.First.Body) != "body" {
			t.Errorf("hint: %+v", r)
		}
		if _, r := send("/hint", "HEAD", nil); r.Status != 200 || r.Bytes != 0 {
			t.Errorf("head: %+v", r)
		}
	})
	for _, bad := range []string{"https://a/", "a:80/", "http://", "http:///x", "http://a/b c"} {
		if _, err := Send(t.Context(), SendOptions{Target: Target{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, nil }, URL: bad}}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// A connection that the server closed while it was idle is no failed call.
func TestIdleConnectionIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bufconn.Listen(64 << 10)
		s := &http.Server{IdleTimeout: 100 * time.Millisecond, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		dials := 0
		to := Target{URL: "http://a/", Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { dials++; return l.DialContext(ctx) }}
		r, err := Run(t.Context(), Options{Target: to, QPS: 5, Calls: 4})
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range r.Records {
			if rec.Status != 200 {
				t.Errorf("%+v", rec)
			}
		}
		if dials != 4 {
			t.Errorf("%d connections, want 4", dials)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		<-served
	})
}
