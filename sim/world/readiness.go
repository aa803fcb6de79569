package world

import (
	"sync"
	"time"
)

// readiness tells whoever waits that some Pod got ready, or is so no more.
type readiness struct {
	mu   sync.Mutex
	next chan struct{} // closed at the next change
}

func newReadiness() *readiness { return &readiness{next: make(chan struct{})} }

func (r *readiness) changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next
}

func (r *readiness) change() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.next)
	r.next = make(chan struct{})
}

// follow has the cluster publish what probes find, and rollouts go on, whenever nobody else
// changes it. It begins with the first Pod that has probes.
func (w *World) follow() {
	if w.follows {
		return
	}
	w.follows = true
	w.following.Go(func() {
		for {
			changed := w.readiness.changed()
			next, err := w.refresh()
			if err != nil && w.ctx.Err() == nil {
				w.log.event("cluster", "", "a rollout does not go on: "+err.Error())
			}
			if !w.pause(changed, next) {
				return
			}
		}
	})
}

// refresh takes its turn with whoever changes the cluster.
func (w *World) refresh() (next time.Time, err error) {
	leave, err := w.enter(w.ctx)
	if err != nil {
		return time.Time{}, err
	}
	defer leave()
	return w.cluster.Refresh(w.ctx)
}

// pause waits for a change or an instant; false: the world ends.
func (w *World) pause(changed <-chan struct{}, next time.Time) bool {
	var at <-chan time.Time
	if !next.IsZero() {
		t := time.NewTimer(time.Until(next))
		defer t.Stop()
		at = t.C
	}
	select {
	case <-changed:
	case <-at:
	case <-w.ctx.Done():
	}
	return w.ctx.Err() == nil
}

// noteStalled notes the rollouts that were not waited for to their end.
func (w *World) noteStalled(warnings *[]string) {
	for _, text := range w.cluster.Stalled() {
		w.log.event("cluster", "", text)
		if warnings != nil {
			*warnings = append(*warnings, text)
		}
	}
}
