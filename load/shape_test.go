package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// A schedule has the rates that were asked for, second by second, and repeats.
func TestSchedule(t *testing.T) {
	second := time.Second
	for name, tc := range map[string]struct {
		shape Shape
		want  []int // calls of each second
	}{
		"even":                {Shape{Stages: []Stage{{10, 10, 3 * second}}}, []int{10, 10, 10}},
		"steps and a pause":   {Shape{Stages: []Stage{{10, 10, second}, {0, 0, second}, {30, 30, second}}}, []int{10, 0, 30}},
		"ramp":                {Shape{Stages: []Stage{{0, 40, 4 * second}}}, []int{5, 15, 25, 35}},
		"up and down":         {Shape{Stages: []Stage{{0, 100, second}, {100, 100, second}, {100, 0, second}}}, []int{50, 100, 50}},
		"jitter moves little": {Shape{Stages: []Stage{{100, 100, 2 * second}}, Jitter: 0.4}, []int{100, 100}},
	} {
		times := tc.shape.schedule(seed.New(1))
		got := make([]int, len(tc.want))
		for i, at := range times {
			got[min(int(at/second), len(got)-1)]++
			if i > 0 && at <= times[i-1] {
				t.Errorf("%s: call %d at %v is not after %v", name, i, at, times[i-1])
			}
		}
		for i, want := range tc.want {
			if d := got[i] - want; d < -1 || d > 1 {
				t.Errorf("%s: calls by second %v, want %v", name, got, tc.want)
				break
			}
		}
		if !slices.Equal(times, tc.shape.schedule(seed.New(1))) {
			t.Errorf("%s: one seed made two schedules", name)
		}
	}
}

// gaps are the mean distance of a schedule's calls and its deviation, in milliseconds.
func gaps(times []time.Duration) (mean, deviation float64) {
	var sum, squares float64
	for i := range times[1:] {
		g := (times[i+1] - times[i]).Seconds() * 1e3
		sum, squares = sum+g, squares+g*g
	}
	n := float64(len(times) - 1)
	return sum / n, math.Sqrt(squares/n - sum*sum/n/n)
}

func TestArrivals(t *testing.T) {
	steady := []Stage{{100, 100, 100 * time.Second}}
	for name, tc := range map[string]struct {
		shape    Shape
		from, to float64 // of the deviation of the distances, whose mean is 10 ms
	}{
		"uniform": {Shape{Stages: steady, Arrival: Uniform}, 0, 0.001},
		"jitter":  {Shape{Stages: steady, Jitter: 0.5}, 3.8, 4.4}, // two uniform draws: 10 ms / √6
		"poisson": {Shape{Stages: steady, Arrival: Poisson}, 9.5, 10.5},
	} {
		mean, deviation := gaps(tc.shape.schedule(seed.New(1)))
		if math.Abs(mean-10) > 0.3 || deviation < tc.from || deviation > tc.to {
			t.Errorf("%s: distances of %.2f ± %.2f ms", name, mean, deviation)
		}
		other, _ := gaps(tc.shape.schedule(seed.New(2)))
		if name == "poisson" && mean == other {
			t.Errorf("%s: two seeds made one schedule", name)
		}
	}
}

// A shaped load keeps to its schedule, and its warm-up is in nothing that counts.
func TestShapedLoad(t *testing.T) {
	calls, warmed := 0, -1
	in(t, func(http.ResponseWriter, *http.Request) { calls++; time.Sleep(time.Millisecond) }, func(t *testing.T, to Target) {
		start := time.Now()
		var told int
		r, err := Run(t.Context(), Options{Target: to, Connections: 4, WarmUp: 2 * time.Second, Warmed: func() error { warmed = calls; return nil },
			Each: func(Record) { told++ }, Shape: Shape{Stages: []Stage{{20, 20, time.Second}, {20, 100, 2 * time.Second}}}})
		if err != nil {
			t.Fatal(err)
		}
		if warmed != 40 || len(r.Records) != 140 || told != 140 || calls != 180 || r.Latency().TotalCount() != 140 || r.Sockets != 4 {
			t.Errorf("%d calls warmed up, %d counted, %d told of, %d made, %d latencies, %d sockets", warmed, len(r.Records), told, calls, r.Latency().TotalCount(), r.Sockets)
		}
		begun := r.Records[0].Intended
		if d := begun.Sub(start); d < 1900*time.Millisecond {
			t.Errorf("the first call that counts was made after %v of a warm-up of two seconds", d)
		}
		first := 0
		for _, rec := range r.Records {
			if rec.Intended.Sub(begun) < time.Second {
				first++
			}
		}
		if first < 19 || first > 21 {
			t.Errorf("%d calls in the first second, want 20", first)
		}
		var f struct {
			RequestedQPS      string
			SocketCount       int
			RetCodes          map[string]int
			DurationHistogram struct{ Count int }
		}
		if err := json.Unmarshal(r.Fortio(), &f); err != nil || f.RequestedQPS != "20 for 1s, 20..100 in 2s" || f.SocketCount != 4 || f.RetCodes["200"] != 140 || f.DurationHistogram.Count != 140 {
			t.Errorf("fortio's result: %+v, %v", f, err)
		}
	})
	in(t, slow(), func(t *testing.T, to Target) {
		r, err := Run(t.Context(), Options{Target: to, Connections: 2, Calls: 10, WarmUp: time.Second})
		if err != nil || len(r.Records) != 10 || r.Sockets != 2 || r.Records[0].ID == RequestIDs(to.Seed)(0, 0) {
			t.Errorf("as fast as it goes: %v, %+v", err, r)
		}
	})
}

// What the connections cannot share evenly is not left to one of them.
func TestUnevenCalls(t *testing.T) {
	in(t, slow(), func(t *testing.T, to Target) {
		r, err := Run(t.Context(), Options{Target: to, QPS: 200, Connections: 16, Duration: time.Second})
		if err != nil || len(r.Records) != 200 {
			t.Fatalf("%d calls, want 200: %v", len(r.Records), err)
		}
		first := r.Records[0].Intended
		for i, rec := range r.Records {
			if want := first.Add(time.Duration(i) * 5 * time.Millisecond); rec.Intended.Sub(want).Abs() > time.Microsecond || rec.Sent.Sub(want) > 20*time.Millisecond {
				t.Fatalf("call %d is meant for %v and sent at %v, want %v", i, rec.Intended, rec.Sent, want)
			}
		}
	})
}

// From the intended start a stall shows in a shaped load, too.
func TestAStallShowsInAShapedLoad(t *testing.T) {
	calls := 0
	in(t, func(http.ResponseWriter, *http.Request) {
		if calls++; calls == 300 {
			time.Sleep(200 * time.Millisecond)
		}
	}, func(t *testing.T, to Target) {
		r, err := Run(t.Context(), Options{Target: to, Connections: 1, Shape: Shape{Stages: []Stage{{1000, 1000, time.Second}}}})
		if err != nil {
			t.Fatal(err)
		}
		service, latency := time.Duration(r.Service().ValueAtQuantile(99)), time.Duration(r.Latency().ValueAtQuantile(99))
		if service > time.Millisecond || latency < 180*time.Millisecond {
			t.Errorf("p99 is %v from the send and %v from the intended start", service, latency)
		}
	})
}

func TestSeveralURLs(t *testing.T) {
	var saw []string
	handler := func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		saw = append(saw, fmt.Sprintf("%s %s %s%s %s", r.Method, r.URL.Path, r.Header.Get("A"), r.Header.Get("B"), body))
	}
	in(t, handler, func(t *testing.T, to Target) {
		to.URL, to.Headers = "", map[string]string{"A": "1"}
		base := "http://httpbin:8000"
		to.URLs = []URL{{URL: base + "/a"}, {URL: base + "/b", Method: "POST", Body: []byte("x"), Headers: map[string]string{"B": "2"}}, {URL: base + "/c", Headers: map[string]string{"A": "3"}}}
		r, err := Run(t.Context(), Options{Target: to, Calls: 4})
		if err != nil {
			t.Fatal(err)
		}
		if want := "GET /a 1 |POST /b 12 x|GET /c 3 |GET /a 1 "; strings.Join(saw, "|") != want || r.Sockets != 1 {
			t.Errorf("the server saw %q on %d connections", saw, r.Sockets)
		}
		saw = nil
		to.URLs = []URL{{URL: base + "/a", Weight: 9}, {URL: base + "/b", Weight: 1}}
		if _, err := Run(t.Context(), Options{Target: to, Connections: 3, Calls: 1000}); err != nil {
			t.Fatal(err)
		}
		often := 0
		for _, s := range saw {
			if strings.Contains(s, "/a") {
				often++
			}
		}
		if often < 870 || often > 930 {
			t.Errorf("%d of 1000 calls of a URL that weighs nine tenths", often)
		}
		to.URLs[1].Weight = 0
		if _, err := Run(t.Context(), Options{Target: to, Calls: 1}); err == nil {
			t.Error("one URL of two with a weight was taken")
		}
	})
}

func TestKindsOfErrors(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			time.Sleep(time.Minute)
		case "/closed":
			panic(http.ErrAbortHandler)
		case "/nonsense":
			conn, _, _ := w.(http.Hijacker).Hijack()
			io.WriteString(conn, "what?\r\n\r\n")
			conn.Close()
		}
	}
	in(t, handler, func(t *testing.T, to Target) {
		to.Timeout = time.Second
		dial := to.Dial
		for path, want := range map[string]string{"/slow": KindTimeout, "/closed": KindClosed, "/nonsense": KindProtocol, "/": ""} {
			to.URL = "http://httpbin:8000" + path
			r, err := Run(t.Context(), Options{Target: to, Calls: 1})
			if err != nil || r.Records[0].Kind != want || (r.Records[0].Error == "") != (want == "") {
				t.Errorf("%s: %+v, %v", path, r.Records, err)
			}
		}
		to.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == "nobody:80" {
				return nil, &net.DNSError{Err: "no such host", Name: "nobody"}
			}
			return dial(ctx, network, addr)
		}
		to.URL = "http://nobody/"
		r, err := Run(t.Context(), Options{Target: to, Calls: 1})
		if err != nil || r.Records[0].Kind != KindDNS || r.Sockets != 0 {
			t.Errorf("no host: %+v, %v", r.Records, err)
		}
	})
}

func TestImpossibleLoads(t *testing.T) {
	second := Stage{1, 1, time.Second}
	for name, o := range map[string]Options{
		"stages beside calls":       {Calls: 1, Shape: Shape{Stages: []Stage{second}}},
		"stages beside a rate":      {QPS: 1, Shape: Shape{Stages: []Stage{second}}},
		"no call":                   {Shape: Shape{Stages: []Stage{{0, 0, time.Second}}}},
		"no time":                   {Shape: Shape{Stages: []Stage{{1, 1, 0}}}},
		"jitter without a rate":     {Calls: 1, Shape: Shape{Jitter: 0.1}},
		"too much jitter":           {QPS: 1, Calls: 1, Shape: Shape{Jitter: 0.6}},
		"unknown arrival":           {QPS: 1, Calls: 1, Shape: Shape{Arrival: "late"}},
		"jittered chance":           {QPS: 1, Calls: 1, Shape: Shape{Arrival: Poisson, Jitter: 0.1}},
		"a warm-up without a rate":  {WarmUp: time.Second, Shape: Shape{Stages: []Stage{{0, 1, 4 * time.Second}}}},
		"more calls than there are": {Shape: Shape{Stages: []Stage{{1e6, 1e6, time.Hour}}}},
	} {
		o.URL = "http://a/"
		o.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, io.EOF }
		if r, err := Run(t.Context(), o); err == nil {
			t.Errorf("%s: made %d calls", name, len(r.Records))
		}
	}
}
