package manager

import (
	"context"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// lifetime is the context of one exchange: it lies in the exchange's own memory, and makes
// nothing before somebody asks.
type lifetime struct {
	mu      sync.Mutex // never held while anything else is called
	over    bool
	done    chan struct{}
	watcher message.Interrupter
	after   []*afterEnd
}

// afterEnd is a function that is to run at the end.
type afterEnd struct{ f func() }

var _ message.Watched = (*lifetime)(nil)

// Deadline implements context.Context.
func (*lifetime) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value implements context.Context.
func (*lifetime) Value(any) any { return nil }

// Err implements context.Context.
func (l *lifetime) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return context.Canceled
	}
	return nil
}

// Done implements context.Context.
func (l *lifetime) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		l.done = make(chan struct{})
		if l.over {
			close(l.done)
		}
	}
	return l.done
}

// end is cancelling. Only the first one counts.
func (l *lifetime) end() {
	l.mu.Lock()
	if l.over {
		l.mu.Unlock()
		return
	}
	l.over = true
	if l.done != nil {
		close(l.done)
	}
	watcher, after := l.watcher, l.after
	l.watcher, l.after = nil, nil
	l.mu.Unlock()
	if watcher != nil {
		go watcher.Interrupt()
	}
	for _, a := range after {
		go a.f()
	}
}

// Watch implements message.Watched.
func (l *lifetime) Watch(i message.Interrupter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.watcher != nil:
		return false
	case l.over:
		go i.Interrupt()
	default:
		l.watcher = i
	}
	return true
}

// Unwatch implements message.Watched.
func (l *lifetime) Unwatch(i message.Interrupter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watcher != i {
		return false
	}
	l.watcher = nil
	return true
}

// AfterFunc makes package context derive contexts without a goroutine each.
func (l *lifetime) AfterFunc(f func()) (stop func() bool) {
	a := &afterEnd{f}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		go f()
		return func() bool { return false }
	}
	l.after = append(l.after, a)
	return func() bool { return l.forget(a) }
}

func (l *lifetime) forget(a *afterEnd) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, other := range l.after {
		if other == a {
			l.after = append(l.after[:i], l.after[i+1:]...)
			return true
		}
	}
	return false
}
