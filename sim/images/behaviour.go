package images

import (
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/windtunnel-mesh/windtunnel/bookinfo"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// behaviour is a server that does what a scenario declares.
type behaviour struct {
	spec   spec.HTTPBehaviour
	seed   seed.Seed
	client *http.Client
	served atomic.Uint64
	begun  time.Time
	up     atomic.Bool   // the calls of the start have succeeded
	slots  chan struct{} // nil: no limit
}

func newBehaviour(c Container, s spec.HTTPBehaviour) *behaviour {
	b := &behaviour{spec: s, seed: c.Seed, begun: time.Now(), client: &http.Client{Transport: newTransport(c.Network)}}
	b.up.Store(len(s.StartCalls) == 0)
	if s.Concurrency > 0 {
		b.slots = make(chan struct{}, s.Concurrency)
	}
	return b
}

// start makes the calls of the start. An application that needs them and does not
// repeat them never works where one fails.
func (b *behaviour) start(ctx context.Context) {
	for _, c := range b.spec.StartCalls {
		if status, err := b.send(ctx, c, http.Header{}); err != nil || status >= 500 {
			return
		}
	}
	b.up.Store(true)
}

// ServeHTTP waits for a free slot, takes its time, makes its calls and answers.
func (b *behaviour) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := b.served.Add(1)
	if !b.up.Load() {
		http.Error(w, "a call that the start needs has failed or is not over", http.StatusServiceUnavailable)
		return
	}
	if b.slots != nil {
		select {
		case b.slots <- struct{}{}:
			defer func() { <-b.slots }()
		case <-r.Context().Done():
			return
		}
	}
	// The time is that of the work, which begins when the request is there.
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	if !sleep(r.Context(), b.latency(n)) {
		return
	}
	status := b.spec.Status
	if status == 0 {
		status = http.StatusOK
	}
	if b.failing(r.URL.Path) && b.draw("error", n) < b.spec.Errors.Rate {
		status = b.spec.Errors.Status
		if status == 0 {
			status = http.StatusInternalServerError
		}
	} else if failed := b.call(r); failed != 0 {
		status = failed
	}
	for k, v := range b.spec.Headers {
		w.Header().Set(k, v)
	}
	w.WriteHeader(status)
	io.WriteString(w, b.spec.Body)
}

// failing tells whether it is the time of the declared errors, and the path.
func (b *behaviour) failing(path string) bool {
	e, age := &b.spec.Errors, time.Since(b.begun)
	return (e.Path == "" || e.Path == path) && age >= e.After && (e.For == 0 || age < e.After+e.For)
}

// call makes the declared calls, in order or at once. It returns 0 where all were
// answered below 500; else what a proxy would answer: the first 5xx, or 502 where nobody
// answered. The first is that of the list.
func (b *behaviour) call(r *http.Request) int {
	if b.spec.Parallel {
		results := make([]int, len(b.spec.Calls))
		var wait sync.WaitGroup
		for i, c := range b.spec.Calls {
			wait.Go(func() { results[i] = b.result(r, c) })
		}
		wait.Wait()
		for _, failed := range results {
			if failed != 0 {
				return failed
			}
		}
		return 0
	}
	for _, c := range b.spec.Calls {
		if failed := b.result(r, c); failed != 0 {
			return failed
		}
	}
	return 0
}

// result makes one of the calls; 0 where it was answered below 500.
func (b *behaviour) result(r *http.Request, c spec.OutgoingCall) int {
	status, err := b.send(r.Context(), c, r.Header)
	switch {
	case err != nil:
		return http.StatusBadGateway
	case status >= 500:
		return status
	}
	return 0
}

// send makes one call and reads its answer. The headers of the request that it
// belongs to go on.
func (b *behaviour) send(ctx context.Context, c spec.OutgoingCall, from http.Header) (status int, err error) {
	method := c.Method
	if method == "" {
		method = http.MethodGet
	}
	out, err := http.NewRequestWithContext(ctx, method, c.URL, nil)
	if err != nil {
		return 0, err
	}
	bookinfo.Propagate(from, out.Header)
	answer, err := b.client.Do(out)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

func (b *behaviour) draw(what string, n uint64) float64 {
	return float64(b.seed.Sub(what).At(n)>>11) / (1 << 53)
}

// latency draws from the log-normal distribution through the two percentiles.
func (b *behaviour) latency(n uint64) time.Duration {
	p50, p99 := b.spec.Latency.P50, b.spec.Latency.P99
	if p99 <= p50 || p50 <= 0 {
		return max(p50, 0)
	}
	const z99 = 2.3263478740408408 // the standard normal's 99th percentile
	sigma := math.Log(float64(p99)/float64(p50)) / z99
	u := min(max(b.draw("latency", n), 1e-9), 1-1e-9)
	return time.Duration(float64(p50) * math.Exp(sigma*math.Sqrt2*math.Erfinv(2*u-1)))
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// newTransport is the HTTP client of an application in a container.
func newTransport(n netx.Network) *http.Transport {
	return &http.Transport{
		DialContext:         func(ctx context.Context, _, addr string) (net.Conn, error) { return n.Dial(ctx, addr) },
		DisableCompression:  true,
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     90 * time.Second,
	}
}
