package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"fortio.org/fortio/periodic"
	"fortio.org/fortio/stats"
	"fortio.org/log"
)

// Options are the parameters of Run.
type Options struct {
	Target
	QPS         float64 // over all connections; 0: as fast as it goes
	Connections int     // 0 is 1
	// Calls, Duration or Stages, one of the three; stages have rates of their own. A
	// jitter and an arrival need a rate.
	Calls    int64
	Duration time.Duration
	Shape
	// WarmUp is how long the load runs before it counts, at its first rate. Its calls
	// are in no record; its connections stay.
	WarmUp time.Duration
	// Warmed, where it is set, is called between the warm-up and what counts.
	Warmed func() error
	// Each, where it is set, is told of every call at its end, by all callers at once. The
	// intended start is not known yet.
	Each func(Record)
}

// errorPause keeps a load without a rate from turning on the spot, in time that
// does not move, where calls fail at once.
const errorPause = time.Millisecond

// Run loads the target and waits for the end. Each connection is a caller that waits
// for its answer; with a rate, callers are spread evenly over the time between two
// calls, and a late one catches up. A rate gives exactly QPS × Duration calls. A call
// that fails is a record; an error is a load that cannot run at all, or ctx, beside
// the calls that were made.
//
// fortio paces what has one rate or none; shapes have a schedule of their own. There are
// no more callers than calls; with a rate fortio lowers their number further where there
// are fewer than two calls for each.
func Run(ctx context.Context, o Options) (*Result, error) {
	s, err := Open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	s.WarmUp()
	if o.Warmed != nil && ctx.Err() == nil {
		if err := o.Warmed(); err != nil {
			return nil, err
		}
	}
	return s.Run()
}

// Loader is a load that is run several times over the same connections.
type Loader struct {
	o       Options
	ctx     context.Context
	threads []*thread
}

// Open prepares a load; its context is that of all runs. It calls nobody yet.
func Open(ctx context.Context, o Options) (*Loader, error) {
	p, err := prepareAll(o.Target)
	if err != nil {
		return nil, err
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	log.SetLogLevelQuiet(log.Error)
	s := &Loader{o: o, ctx: ctx, threads: make([]*thread, o.callers())}
	for i := range s.threads {
		s.threads[i] = &thread{number: i, pipeline: p, ctx: ctx}
	}
	return s, nil
}

// WarmUp runs the load's warm-up, where it has one.
func (s *Loader) WarmUp() {
	if s.o.WarmUp > 0 {
		s.o.warmUp(s.ctx, s.threads)
	}
}

// Run runs the load once.
func (s *Loader) Run() (*Result, error) {
	for _, t := range s.threads {
		t.begin(s.o.Each)
	}
	found := s.o.pace(s.ctx, s.threads)
	res := collect(all(s.threads))
	var err error
	if res.fortio, err = fortioJSON(s.o, res, found); err != nil {
		return nil, err
	}
	if s.ctx.Err() != nil {
		return res, context.Cause(s.ctx)
	}
	return res, nil
}

// Close ends the connections.
func (s *Loader) Close() {
	for _, t := range s.threads {
		t.close()
	}
}

func (o Options) check() error {
	ways := 0
	for _, given := range []bool{o.Calls > 0, o.Duration > 0, len(o.Stages) > 0} {
		if given {
			ways++
		}
	}
	switch {
	case o.Arrival != "" && o.Arrival != Uniform && o.Arrival != Poisson:
		return fmt.Errorf("load: arrival %q is not known", o.Arrival)
	case ways != 1 || o.QPS < 0 || o.Connections < 0 || o.WarmUp < 0:
		return errors.New("load: needs calls or a duration or stages, and no negative number")
	case len(o.Stages) > 0 && o.QPS > 0:
		return errors.New("load: stages have rates of their own")
	case len(o.Stages) == 0 && o.QPS == 0 && (o.Jitter > 0 || o.Arrival != ""):
		return errors.New("load: a jitter or an arrival needs a rate")
	case o.WarmUp > 0 && len(o.Stages) > 0 && o.Stages[0].From == 0:
		return errors.New("load: a warm-up goes at the first rate, which is 0")
	}
	if shape, ok := o.shape(); ok {
		return shape.check()
	}
	return nil
}

// shape is the schedule of a load that is not fortio's: of several rates, of calls that do
// not come at even distances, or of as many as the callers cannot share evenly. Fortio has
// its first caller make what is left over, one after the other, which takes longer than
// the load was to.
func (o Options) shape() (Shape, bool) {
	s := o.Shape
	if len(s.Stages) > 0 {
		return s, true
	}
	even := o.calls()%int64(o.callers()) == 0
	if o.QPS == 0 || s.Jitter == 0 && s.Arrival != Poisson && even {
		return s, false
	}
	d := o.Duration
	if o.Calls > 0 {
		d = time.Duration(float64(o.Calls) / o.QPS * float64(time.Second))
	}
	s.Stages = []Stage{{o.QPS, o.QPS, d}}
	return s, true
}

// calls are how many a load of one rate makes; 0: as many as there is time for.
func (o Options) calls() int64 {
	if o.QPS > 0 && o.Duration > 0 {
		return max(int64(o.QPS*o.Duration.Seconds()+0.5), 1)
	}
	return o.Calls
}

// callers are the connections of which each has a call.
func (o Options) callers() int {
	n := int64(max(o.Connections, 1))
	if calls := o.calls(); calls > 0 {
		n = min(n, calls)
	}
	return int(n)
}

// warmUp runs a load of the first rate whose calls are forgotten.
func (o Options) warmUp(ctx context.Context, threads []*thread) {
	warm := Options{Target: o.Target, QPS: o.QPS, Duration: o.WarmUp}
	if len(o.Stages) > 0 {
		warm.QPS = o.Stages[0].From
	}
	warm.pace(ctx, threads[:min(len(threads), int(max(warm.calls(), 1)))])
}

// pace lets the callers make a load's calls and notes when each was meant to start.
func (o Options) pace(ctx context.Context, threads []*thread) periodic.RunnerResults {
	if shape, ok := o.shape(); ok {
		return o.scheduled(ctx, shape, threads)
	}
	calls, rate := o.calls(), o.QPS
	if rate == 0 || calls == 1 {
		rate = -1 // fortio's word for no rate; with one it makes two calls at least
	}
	options := periodic.RunnerOptions{
		RunType: runType(o.Protocol), QPS: rate, NumThreads: len(threads), Exactly: calls, Duration: o.Duration,
		Percentiles: percentiles(), Resolution: resolution, Out: io.Discard,
		Uniform: true, Stop: periodic.NewAborter(), Labels: o.labels(),
	}
	if calls > 0 {
		options.Duration = -1 // else fortio stretches the calls over its default
	}
	stop := options.Stop
	runner := periodic.NewPeriodicRunner(&options)
	runners := make([]periodic.Runnable, len(threads))
	for i, t := range threads {
		t.rated = rate > 0
		runners[i] = t
	}
	runner.Options().Runners = runners
	unwatch := context.AfterFunc(ctx, func() { stop.Abort(false) })
	found := runner.Run()
	unwatch()
	if rate > 0 {
		schedule(threads, found.StartTime, rate, found.NumThreads)
	}
	return found
}

// scheduled is pace for a shape: caller i of n makes the calls i, i+n, i+2n and so on.
func (o Options) scheduled(ctx context.Context, shape Shape, threads []*thread) periodic.RunnerResults {
	times := shape.schedule(o.Seed.Sub("schedule"))
	start := time.Now()
	var done sync.WaitGroup
	for i, t := range threads {
		done.Go(func() {
			for k := i; k < len(times); k += len(threads) {
				intended := start.Add(times[k])
				if !sleepUntil(ctx, intended) {
					return
				}
				t.call(intended)
			}
		})
	}
	done.Wait()
	found := periodic.RunnerResults{
		RunType: runType(o.Protocol), Labels: o.labels(), StartTime: start, RequestedQPS: shape.String(), RequestedDuration: fmt.Sprintf("exactly %d calls", len(times)),
		ActualDuration: time.Since(start), NumThreads: len(threads), Exactly: int64(len(times)), Jitter: shape.Jitter > 0, Uniform: shape.Arrival != Poisson,
	}
	every, failed := stats.NewHistogram(0, resolution), stats.NewHistogram(0, resolution)
	for _, t := range threads {
		for _, r := range t.records {
			took := r.Done.Sub(r.Sent).Seconds()
			every.Record(took)
			if !answered(r) {
				failed.Record(took)
			}
		}
	}
	found.DurationHistogram = every.Export().CalcPercentiles(percentiles())
	found.ErrorsDurationHistogram = failed.Export().CalcPercentiles(percentiles())
	if found.ActualDuration > 0 {
		found.ActualQPS = float64(every.Count) / found.ActualDuration.Seconds()
	}
	return found
}

// resolution of fortio's histograms, in seconds.
const resolution = 1e-6

func percentiles() []float64 { return []float64{50, 75, 90, 99, 99.9} }

// labels are what a load calls, for fortio's results.
func (o Options) labels() string {
	if len(o.URLs) > 0 {
		return fmt.Sprintf("%s and %d more", o.URLs[0].URL, len(o.URLs)-1)
	}
	return o.URL
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

// schedule sets when a rate wanted each call sent: fortio starts caller i of n
// after i/rate, and each makes rate/n calls per second.
func schedule(threads []*thread, start time.Time, rate float64, n int) {
	for _, t := range threads {
		for k := range t.records {
			after := (float64(t.number) + float64(k)*float64(n)) / rate
			intended := start.Add(time.Duration(after * float64(time.Second)))
			if r := &t.records[k]; intended.Before(r.Sent) {
				r.Intended = intended
			}
		}
	}
}

// fortioResult has the fields of fortio's HTTP results that its report reads.
type fortioResult struct {
	periodic.RunnerResults
	URL         string
	RetCodes    map[int]int64
	SocketCount int
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
	f := fortioResult{RunnerResults: found, URL: o.labels(), RetCodes: map[int]int64{}, SocketCount: res.Sockets}
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
