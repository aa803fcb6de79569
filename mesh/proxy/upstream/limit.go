package upstream

import (
	"net"
	"sync"
	"time"
)

// limit is the deadline of the exchange on a connection. Most exchanges are over long
// before theirs, so it is only noted; one timer per connection, set for the earliest
// deadline since it last fired, looks whether it has come and has whoever waits give up.
type limit struct {
	conn net.Conn

	mu     sync.Mutex
	at     time.Time // zero: none
	armed  time.Time // when the timer fires; zero: it is not set
	timer  *time.Timer
	struck bool // the connection was told
}

// set replaces the deadline; zero takes it away, and past means now.
func (l *limit) set(at time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = at
	if at.Equal(past) {
		return l.strike(past)
	}
	if l.struck {
		l.struck = false
		if err := l.conn.SetDeadline(time.Time{}); err != nil {
			return err
		}
	}
	if !at.IsZero() && (l.armed.IsZero() || at.Before(l.armed)) {
		l.arm(time.Until(at))
	}
	return nil
}

// strike is called with the lock held.
func (l *limit) strike(at time.Time) error {
	l.struck = true
	return l.conn.SetDeadline(at)
}

// arm is called with the lock held.
func (l *limit) arm(wait time.Duration) {
	l.armed = l.at
	if l.timer == nil {
		l.timer = time.AfterFunc(wait, l.fire)
	} else {
		l.timer.Reset(wait)
	}
}

// fire runs in the timer's goroutine.
func (l *limit) fire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = time.Time{}
	if l.at.IsZero() || l.struck {
		return
	}
	if wait := time.Until(l.at); wait > 0 {
		l.arm(wait)
		return
	}
	_ = l.strike(past) // fails on a closed connection only
}

// stop ends the timer for good: the connection is closed.
func (l *limit) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = time.Time{}
	if l.timer != nil {
		l.timer.Stop()
	}
}
