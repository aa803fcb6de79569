package store

import (
	"context"
	"time"
)

// The hold-off that Istio's control plane has by default.
const (
	DefaultQuiet = 100 * time.Millisecond
	DefaultMax   = 10 * time.Second
)

// WatchOptions for Watch.
type WatchOptions struct {
	// Quiet is how long nothing must change before a View is delivered; 0 is
	// DefaultQuiet, and below 0 there is no wait.
	Quiet time.Duration
	// Max is how long a change waits at most while others follow; 0 is DefaultMax.
	Max time.Duration
}

// Watch calls f with the source's View at once, and then with the latest View after
// each burst of changes, until the context ends; it returns when f has returned for
// the last time. It runs on the caller's goroutine and calls f on no other, so a View
// that comes while f is at work waits for it.
//
// A burst ends when nothing has changed for Quiet, or Max after its first change. What
// changes at the very instant at which the burst ends may be in its View or in the
// next: who needs to repeat a run exactly must not let the two coincide.
func Watch(ctx context.Context, source Source, o WatchOptions, f func(*View)) {
	if o.Quiet == 0 {
		o.Quiet = DefaultQuiet
	}
	if o.Max == 0 {
		o.Max = DefaultMax
	}
	view := source.View()
	for ctx.Err() == nil {
		f(view)
		select {
		case <-ctx.Done():
			return
		case <-source.Changed(view):
		}
		if !settle(ctx, source, o) {
			return
		}
		view = source.View()
	}
}

// settle waits for the end of a burst that has just begun; false where the context ends.
func settle(ctx context.Context, source Source, o WatchOptions) bool {
	end := time.Now().Add(o.Max)
	for {
		wait := min(o.Quiet, time.Until(end))
		if wait <= 0 {
			return ctx.Err() == nil
		}
		quiet := time.Now().Add(wait)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-source.Changed(source.View()):
		}
		timer.Stop()
		if ctx.Err() != nil {
			return false
		}
		if !time.Now().Before(quiet) {
			// The time is over, whichever case the select took.
			return true
		}
	}
}
