package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"fortio.org/fortio/periodic"
	"fortio.org/log"
)

// Options are the parameters of Run.
type Options struct {
	Target
	QPS         float64 // over all connections; 0: as fast as it goes
	Connections int     // 0 is 1
	// Calls or Duration, one of the two.
	Calls    int64
	Duration time.Duration
	// Each, where it is set, is told of every call at its end, by all callers at once. The
	// intended start is not known yet.
	Each func(Record)
}

// errorPause keeps a load without a rate from turning on the spot, in time that
// does not move, where calls fail at once.
const errorPause = time.Millisecond

// Run loads the target with fortio and waits for the end. Each connection is a
// caller that waits for its answer; with a rate, callers are spread evenly over the
// time between two calls, and a late one catches up. A rate gives exactly
// QPS × Duration calls. A call that fails is a record; an error is a load that
// cannot run at all, or ctx, beside the calls that were made.
//
// fortio lowers the number of connections with a rate where there are fewer than
// two calls for each.
func Run(ctx context.Context, o Options) (*Result, error) {
	r, err := prepare(o.Target)
	if err != nil {
		return nil, err
	}
	if (o.Calls > 0) == (o.Duration > 0) || o.QPS < 0 || o.Connections < 0 {
		return nil, errors.New("load: needs calls or a duration, and no negative number")
	}
	log.SetLogLevelQuiet(log.Error)
	calls := o.Calls
	if o.QPS > 0 && o.Duration > 0 {
		calls = max(int64(o.QPS*o.Duration.Seconds()+0.5), 1)
	}
	threads := max(o.Connections, 1)
	if calls > 0 {
		threads = int(min(int64(threads), calls))
	}
	rate := o.QPS
	if rate == 0 || calls == 1 {
		rate = -1 // fortio's word for no rate; with one it makes two calls at least
	}
	options := periodic.RunnerOptions{
		RunType: runType(o.Protocol), QPS: rate, NumThreads: threads, Exactly: calls, Duration: o.Duration,
		Percentiles: []float64{50, 75, 90, 99, 99.9}, Resolution: 1e-6, Out: io.Discard,
		Uniform: true, Stop: periodic.NewAborter(), Labels: o.URL,
	}
	if calls > 0 {
		options.Duration = -1 // else fortio stretches the calls over its default
	}
	stop := options.Stop
	runner := periodic.NewPeriodicRunner(&options)
	callers := make([]*caller, threads)
	runners := make([]periodic.Runnable, threads)
	for i := range callers {
		callers[i] = &caller{request: r, thread: i, keepAlive: true}
		runners[i] = &thread{caller: callers[i], ctx: ctx, rated: rate > 0, each: o.Each}
	}
	runner.Options().Runners = runners
	unwatch := context.AfterFunc(ctx, func() { stop.Abort(false) })
	found := runner.Run()
	unwatch()
	for _, c := range callers {
		c.close()
	}
	if rate > 0 {
		schedule(callers, found.StartTime, rate, found.NumThreads)
	}
	res := collect(callers)
	if res.fortio, err = fortioJSON(o, res, found); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return res, context.Cause(ctx)
	}
	return res, nil
}

// runType is fortio's word for a protocol.
func runType(protocol string) string {
	switch protocol {
	case "grpc":
		return "GRPC"
	case "tcp":
		return "TCP"
	case "websocket":
		return "WebSocket"
	default:
		return "HTTP"
	}
}

// thread is a caller as fortio runs it.
type thread struct {
	caller *caller
	ctx    context.Context // of the whole run: fortio's has no end
	rated  bool
	iter   int64
	each   func(Record)
}

// Run implements periodic.Runnable.
func (t *thread) Run(_ context.Context, _ periodic.ThreadID) (bool, string) {
	if t.iter == 0 && !t.rated && !sleepUntil(t.ctx, time.Now().Add(time.Duration(t.caller.thread)*apart)) {
		return false, "stopped"
	}
	if t.ctx.Err() != nil {
		return false, "stopped"
	}
	r := t.caller.call(t.ctx, t.iter, time.Time{})
	t.iter++
	if t.each != nil {
		t.each(*r)
	}
	if r.Error != "" && !t.rated && r.Done.Sub(r.Sent) < errorPause {
		sleepUntil(t.ctx, r.Done.Add(errorPause))
	}
	return r.Error == "" && r.Status < 400 && (r.GRPC == "" || r.GRPC == "0"), r.Error
}

// schedule sets when a rate wanted each call sent: fortio starts caller i of n
// after i/rate, and each makes rate/n calls per second.
func schedule(callers []*caller, start time.Time, rate float64, n int) {
	for _, c := range callers {
		for k := range c.records {
			after := (float64(c.thread) + float64(k)*float64(n)) / rate
			intended := start.Add(time.Duration(after * float64(time.Second)))
			if r := &c.records[k]; intended.Before(r.Sent) {
				r.Intended = intended
			}
		}
	}
}

// fortioResult has the fields of fortio's HTTP results that its report reads.
type fortioResult struct {
	periodic.RunnerResults
	URL      string
	RetCodes map[int]int64
}

// fortioJSON is nil for a load that was stopped before its first call: fortio's
// averages are no numbers then, which JSON does not have.
func fortioJSON(o Options, res *Result, found periodic.RunnerResults) ([]byte, error) {
	if len(res.Records) == 0 {
		return nil, nil
	}
	if found.ActualDuration <= 0 {
		found.ActualQPS = 0
	}
	f := fortioResult{RunnerResults: found, URL: o.URL, RetCodes: map[int]int64{}}
	for _, r := range res.Records {
		code := r.Status
		if r.Error != "" {
			code = -1 // fortio's code for no answer
		}
		f.RetCodes[code]++
	}
	out, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("load: fortio's result: %w", err)
	}
	return append(out, '\n'), nil
}
