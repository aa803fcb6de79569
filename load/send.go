package load

import (
	"context"
	"errors"
	"sync"
	"time"
)

// SendOptions are the parameters of Send.
type SendOptions struct {
	Target
	Count    int // 0 is 1
	Parallel int // 0 is 1
	// Interval is from start to start, over all callers; a call that has no free
	// caller is late, and its intended start stays. 0: each caller goes on at once.
	Interval time.Duration
}

// apart keeps callers from starting at one instant. It is no round number, so that
// it does not fall together with the round latencies of a model.
const apart = 1003 * time.Nanosecond

// Send makes some calls, each on a connection of its own as a command line client
// would, and waits for all. Caller i of n makes the calls i, i+n, i+2n and so on. A
// call that fails is a record; an error is a target that cannot be called at all,
// or ctx, beside the calls that were made.
func Send(ctx context.Context, o SendOptions) (*Result, error) {
	if o.Count < 0 || o.Parallel < 0 || o.Interval < 0 {
		return nil, errors.New("load: count, parallel and interval cannot be negative")
	}
	if len(o.URLs) > 0 {
		return nil, errors.New("load: several URLs are for a load")
	}
	r, err := prepare(o.Target)
	if err != nil {
		return nil, err
	}
	count := max(o.Count, 1)
	n := min(max(o.Parallel, 1), count)
	start := time.Now()
	callers := make([]*caller, n)
	var done sync.WaitGroup
	for i := range callers {
		c := &caller{request: r, thread: i}
		callers[i] = c
		done.Go(func() { c.sendAll(ctx, o.Interval, start, i, n, count) })
	}
	done.Wait()
	res := collect(callers)
	if ctx.Err() != nil {
		return res, context.Cause(ctx)
	}
	return res, nil
}

// sendAll makes every n-th call, beginning with the first.
func (c *caller) sendAll(ctx context.Context, interval time.Duration, start time.Time, first, n, count int) {
	defer c.close()
	for k := first; k < count; k += n {
		var intended time.Time
		switch {
		case interval > 0:
			intended = start.Add(time.Duration(k) * interval)
		case k == first:
			intended = start.Add(time.Duration(first) * apart)
		}
		if !sleepUntil(ctx, intended) {
			return
		}
		c.call(ctx, int64(k/n), intended)
	}
}

// sleepUntil waits; it tells whether ctx still holds.
func sleepUntil(ctx context.Context, t time.Time) bool {
	d := time.Until(t)
	if t.IsZero() || d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
