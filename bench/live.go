package bench

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/windtunnel-mesh/windtunnel/load"
)

// Live is how a load goes: the last half second of it. Latency is from the send, as
// the schedule is held against the calls at the end only.
type Live struct {
	Rate     float64 // calls per second
	P50, P99 time.Duration
	Errors   int // so far
	Left     time.Duration
}

// liveEvery is how often a load is told of.
const liveEvery = 500 * time.Millisecond

// watcher adds up a running load.
type watcher struct {
	tell  func(Live)
	end   time.Time
	ended chan struct{}
	done  sync.WaitGroup

	mu     sync.Mutex
	recent *hdrhistogram.Histogram
	errors int
}

// watch begins to tell of a load; stop ends it.
func watch(tell func(Live), duration time.Duration) *watcher {
	w := &watcher{tell: tell, end: time.Now().Add(duration), ended: make(chan struct{}), recent: hdrhistogram.New(1, int64(time.Hour), 2)}
	w.done.Go(w.run)
	return w
}

func (w *watcher) note(r load.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if bad(r) {
		w.errors++
	}
	_ = w.recent.RecordValue(int64(min(max(r.Done.Sub(r.Sent), 1), time.Hour))) // cannot fail: in range
}

func (w *watcher) run() {
	ticker := time.NewTicker(liveEvery)
	defer ticker.Stop()
	for {
		select {
		case <-w.ended:
			return
		case <-ticker.C:
			w.tell(w.take())
		}
	}
}

// take is what came since the last time.
func (w *watcher) take() Live {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := Live{Rate: float64(w.recent.TotalCount()) / liveEvery.Seconds(), Errors: w.errors, Left: max(time.Until(w.end), 0)}
	l.P50, l.P99 = time.Duration(w.recent.ValueAtPercentile(50)), time.Duration(w.recent.ValueAtPercentile(99))
	w.recent.Reset()
	return l
}

func (w *watcher) stop() {
	close(w.ended)
	w.done.Wait()
}
