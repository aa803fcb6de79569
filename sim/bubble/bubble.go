// Package bubble runs a function in virtual time, in an ordinary binary as in a
// test binary. It is the only importer of testing/synctest outside tests, and
// imports nothing of ours.
//
// In a bubble, time stands still while any goroutine can run and jumps to the
// next timer when all are blocked for good. What runs inside must keep to what
// the bubble can see: channels, timers, sync.Cond and sync.WaitGroup made inside it, and
// no real I/O. A mutex held across a wait, or a channel made outside, hangs it. A context
// makes its channel when first asked: one of outside (a test's) must not be used inside.
//
// Tear-down: time stops when the bubble's function has returned, and goroutines
// that are still blocked then never end. So close everything that was opened,
// in the function; Run then lets Options.Drain of virtual time pass so that what is in
// flight arrives and ends, and reports what is left over as an error.
package bubble

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Options say how a bubble runs. The zero value is useful.
type Options struct {
	// Watchdog is the wall time after which the bubble counts as stuck; 0: never.
	Watchdog time.Duration
	// Stacks takes the stacks of all goroutines when the bubble is stuck; nil: os.Stderr.
	Stacks io.Writer
	// OnStuck is called after that, outside the bubble. A stuck bubble cannot be
	// left: Run does not return, so OnStuck has to end the process, with the
	// exit code that the caller thinks right. nil, or an OnStuck that returns: panic.
	OnStuck func()
	// Processors is GOMAXPROCS while the bubble runs; 0: 1, as determinism needs.
	Processors int
	// GCPercent is the collector's GOGC meanwhile; 0: 400, or the process's own where that is
	// more. The collector preempts goroutines, which reorders them: the less of it the better, and the faster.
	GCPercent int
	// Drain is the virtual time that passes between the return of the function
	// and the end of the bubble; 0: one minute.
	Drain time.Duration
}

// ErrLeftOver says that goroutines were still blocked when the bubble ended, or
// that all were blocked and no timer was left to wake one.
var ErrLeftOver = errors.New("bubble: goroutines are blocked for ever")

// poll is the virtual time between two looks at the caller's context. It is no
// round number, so that it meets no other timer.
const poll = time.Second + 7919*time.Nanosecond

// Run runs f in a bubble and returns its error. A panic of f is an error with its
// stack; a panic of a goroutine that f started ends the process, as ever.
//
// The context that f gets has the caller's values and none of its deadlines. It
// is cancelled at most a virtual second after the caller's, and when f has returned.
//
// GOMAXPROCS and GOGC belong to the process: runs in one process must not overlap.
func Run(ctx context.Context, o Options, f func(ctx context.Context) error) (err error) {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	defer settings(o)()
	defer watch(o)()
	defer func() {
		if r := recover(); r != nil {
			err = errors.Join(err, leftOver(r))
		}
	}()
	// Contexts make their channel when first asked, and it must not be the bubble's.
	cancellable := ctx.Done() != nil
	drain := o.Drain
	if drain == 0 {
		drain = time.Minute
	}
	synctest.Test(new(testing.T), func(*testing.T) {
		err = inside(ctx, cancellable, f)
		time.Sleep(drain)
	})
	return err
}

// settings sets what belongs to the process and returns how to set it back.
func settings(o Options) (restore func()) {
	processors, percent := o.Processors, o.GCPercent
	if processors == 0 {
		processors = 1
	}
	processors = runtime.GOMAXPROCS(processors)
	own := debug.SetGCPercent(cmp.Or(percent, 400))
	if percent == 0 && own > 400 {
		debug.SetGCPercent(own)
	}
	return func() {
		runtime.GOMAXPROCS(processors)
		debug.SetGCPercent(own)
	}
}

// watch starts the watchdog, in real time as it is called outside the bubble.
func watch(o Options) (stop func()) {
	if o.Watchdog <= 0 {
		return func() {}
	}
	w := o.Stacks
	if w == nil {
		w = os.Stderr
	}
	t := time.AfterFunc(o.Watchdog, func() {
		running, waiting := bubbleStacks()
		fmt.Fprintf(w, "bubble: stuck: not done after %s of wall time; time waits for %d goroutines:\n\n%s\n\n%d others wait for time:\n\n%s\n",
			o.Watchdog, len(running), strings.Join(running, "\n\n"), len(waiting), strings.Join(waiting, "\n\n"))
		if o.OnStuck != nil {
			o.OnStuck()
		}
		panic(fmt.Sprintf("bubble: stuck: not done after %s of wall time", o.Watchdog))
	})
	return func() { t.Stop() }
}

// inside runs f on a goroutine of its own, so that neither its panic nor its
// Goexit (a FailNow of the caller's test) takes the bubble along.
func inside(outer context.Context, cancellable bool, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(outer))
	err := errors.New("bubble: the function called runtime.Goexit")
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
			}
		}()
		err = f(ctx)
	}()
	if cancellable {
		go follow(outer, cancel, done)
	}
	<-done
	cancel(nil)
	return err
}

// follow cancels when the outer context is done. The bubble must not wait for the
// outer context's channel, which is not of the bubble, so it looks now and then.
func follow(outer context.Context, cancel context.CancelCauseFunc, done <-chan struct{}) {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			if outer.Err() != nil {
				cancel(context.Cause(outer))
				return
			}
		}
	}
}

// leftOver makes an error of synctest's complaint, with the stacks of the goroutines.
func leftOver(r any) error {
	text := fmt.Sprint(r)
	if !strings.HasPrefix(text, "deadlock:") {
		panic(r)
	}
	running, waiting := bubbleStacks()
	return fmt.Errorf("%w: %s\n\n%s", ErrLeftOver, text, strings.Join(append(running, waiting...), "\n\n"))
}

// bubbleStacks are the stacks of the bubble's goroutines: those that time waits for, and
// those that wait for time (which the runtime calls durably blocked).
func bubbleStacks() (running, waiting []string) {
	for s := range strings.SplitSeq(string(allStacks()), "\n\n") {
		header, _, _ := strings.Cut(s, "\n")
		switch {
		case !strings.Contains(header, "synctest bubble"):
		case strings.Contains(header, "(durable)"):
			waiting = append(waiting, s)
		default:
			running = append(running, s)
		}
	}
	return running, waiting
}

func allStacks() []byte {
	for size := 1 << 20; ; size *= 2 {
		b := make([]byte, size)
		if n := runtime.Stack(b, true); n < size || size >= 1<<26 {
			return bytes.TrimSpace(b[:n])
		}
	}
}
