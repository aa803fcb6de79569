package listen

import (
	"context"
	"sync"
	"sync/atomic"
)

// lifetime is what ends connections: all of one filter chain, or all of a listener that
// no filter chain has yet.
type lifetime struct {
	draining atomic.Bool
	ctx      context.Context
	cancel   context.CancelFunc
	count    atomic.Int64

	mu     sync.Mutex
	closed bool
	active sync.WaitGroup // grows under mu and only until closed
}

func newLifetime() *lifetime {
	l := &lifetime{}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// enter counts a connection in, unless it is too late.
func (l *lifetime) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.active.Add(1)
		l.count.Add(1)
	}
	return !l.closed
}

func (l *lifetime) leave() {
	l.count.Add(-1)
	l.active.Done()
}

func (l *lifetime) close() {
	l.draining.Store(true)
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	l.active.Wait()
}

// Retired are the connections that a listener has left when another takes its place: all
// but those of filter chains that the other has, too.
type Retired struct{ lives []*lifetime }

// Retire parts from what next, which may be nil, does not go on with.
func (l *Listener) Retire(next *Listener) *Retired {
	r := &Retired{lives: []*lifetime{l.life}}
	kept := map[*lifetime]bool{}
	if next != nil {
		for _, c := range next.chains() {
			kept[c.life] = true
		}
	}
	for _, c := range l.chains() {
		if !kept[c.life] {
			r.lives = append(r.lives, c.life)
		}
	}
	return r
}

// Drain asks the connections to end with their next response.
func (r *Retired) Drain() {
	for _, l := range r.lives {
		l.draining.Store(true)
	}
}

// Active is the number of connections.
func (r *Retired) Active() int64 {
	n := int64(0)
	for _, l := range r.lives {
		n += l.count.Load()
	}
	return n
}

// Close ends the connections at once and waits for them.
func (r *Retired) Close() {
	for _, l := range r.lives {
		l.close()
	}
}
