// Package bench measures what the mesh costs, in real time on real sockets: the same
// requests with and without sidecars, proxies as processes whose processor time and
// memory are read from the operating system.
//
// What comes in is a Plan, what goes out are result.Benchmark values. Every sample is
// taken with processes of its own, and samples are interleaved: a machine that gets
// slower meanwhile slows all configurations, and both builds, alike.
package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/source"
)

// Progress is told after every sample.
type Progress struct {
	Done, Total   int
	Build         string
	Configuration string
	Suite         string
	Metrics       []result.Metric
	Sample        result.Sample
	Left          time.Duration // estimated
}

// ErrNothing is returned where no sample is a result.
var ErrNothing = errors.New("nothing was measured")

// ErrSome is returned where a configuration has no sample that is a result, and others have.
var ErrSome = errors.New("not all was measured")

// ErrPlan is returned where a plan cannot be read: scenarios and earlier results.
var ErrPlan = errors.New("the plan cannot be read")

// Run takes all samples: in every round each configuration once, with each build in
// turn. Interrupted, it returns what it has, or the context's error where it still reads files.
// Where no sample of any build is a result, the error is ErrNothing, or what kept them from
// being taken; where this is true of some configurations, it is ErrSome, beside the results of
// the others.
func Run(ctx context.Context, p Plan) ([]*result.Benchmark, error) {
	all, err := source.Until(ctx, p.prepare)
	if err != nil {
		return nil, err
	}
	machine := describe(p.Pin)
	start := time.Now()
	found := make([]*result.Benchmark, len(p.Builds))
	for i, b := range p.Builds {
		found[i] = &result.Benchmark{Version: result.Version, Kind: result.BenchmarkKind, Started: start.UTC().Format(time.RFC3339),
			Interleaved: len(p.Builds) > 1, Build: b.About, Machine: machine, Metrics: p.metrics()}
		for _, m := range all {
			found[i].Configurations = append(found[i].Configurations, result.Configuration{Name: m.name, Suite: m.suite, Parameters: m.parameters, Skipped: m.skipped})
		}
	}
	err = p.rounds(ctx, start, all, found)
	for _, b := range found {
		b.WallSeconds = time.Since(start).Seconds()
		b.Interrupted = ctx.Err() != nil
		slices.SortFunc(b.Configurations, func(x, y result.Configuration) int { return strings.Compare(x.Name, y.Name) })
	}
	if ctx.Err() != nil {
		return found, nil
	}
	return found, p.outcome(found, err)
}

// outcome is what a benchmark lacks; failed is the first error of a sample that could not be taken.
func (p Plan) outcome(found []*result.Benchmark, failed error) error {
	taken, valid := 0, 0
	var without []string
	for i, b := range found {
		for _, c := range b.Configurations {
			good := len(c.Samples) - invalid(c.Samples)
			taken, valid = taken+len(c.Samples), valid+good
			if good > 0 || c.Skipped != "" {
				continue
			}
			name := c.Name
			if len(found) > 1 {
				name += " (" + p.Builds[i].Name + ")"
			}
			without = append(without, name+": "+c.WithoutResult())
		}
	}
	switch {
	case valid == 0 && failed != nil:
		return failed
	case taken == 0:
		return fmt.Errorf("%w: no sample was taken", ErrNothing)
	case valid == 0:
		return fmt.Errorf("%w: %s", ErrNothing, without[0])
	case len(without) > 0:
		return fmt.Errorf("%w: there is no result of\n  %s", ErrSome, strings.Join(without, "\n  "))
	}
	return nil
}

// rounds takes all samples and returns the first error of one that could not be taken: it
// is a sample that is no result, and a configuration that has no other yet is not tried again.
func (p Plan) rounds(ctx context.Context, start time.Time, all []measurement, found []*result.Benchmark) (failed error) {
	total, hopeless := 0, make([]bool, len(all))
	for _, m := range all {
		if m.skipped == "" {
			total += p.Repeat * len(p.Builds)
		}
	}
	done := 0
	for round := range p.Repeat {
		for i, m := range all {
			if m.skipped != "" || hopeless[i] {
				continue
			}
			began := time.Now()
			samples, order, err := p.take(ctx, m, round)
			if ctx.Err() != nil {
				return failed
			}
			if err != nil {
				if failed == nil {
					failed = fmt.Errorf("%s: %w", m.name, err)
				}
				samples, order = notTaken(len(p.Builds), err)
				if c := &found[0].Configurations[i]; invalid(c.Samples) == len(c.Samples) {
					hopeless[i] = true
					total -= (p.Repeat - round - 1) * len(p.Builds)
				}
			}
			for _, which := range order {
				s := samples[which]
				s.Round, s.Order, s.Started = round, done, began.Sub(start).Seconds()
				configuration := &found[which].Configurations[i]
				configuration.Samples = append(configuration.Samples, s)
				done++
				if p.Progress != nil {
					left := time.Duration(float64(time.Since(start)) / float64(done) * float64(total-done))
					p.Progress(Progress{Done: done, Total: total, Build: p.Builds[which].Name, Configuration: m.name, Suite: m.suite, Metrics: found[which].Metrics, Sample: s, Left: left})
				}
			}
		}
	}
	return failed
}

// notTaken are samples that are no result, of each build.
func notTaken(builds int, err error) (samples []result.Sample, order []int) {
	for i := range builds {
		samples = append(samples, result.Sample{Invalid: strings.Join(strings.Fields(err.Error()), " "), Metrics: map[string]float64{}})
		order = append(order, i)
	}
	return samples, order
}

// take is a sample of each build, and the order in which they were taken: AB, BA, AB, …,
// so that neither build always comes second.
func (p Plan) take(ctx context.Context, m measurement, round int) (samples []result.Sample, order []int, err error) {
	for j := range p.Builds {
		order = append(order, (j+round)%len(p.Builds))
	}
	if len(p.Builds) == 2 && m.pair != nil {
		samples, err = m.pair(ctx, order[0])
		return samples, order, err
	}
	samples = make([]result.Sample, len(p.Builds))
	for _, which := range order {
		if samples[which], err = m.take(ctx, p.Builds[which]); err != nil {
			return nil, nil, err
		}
	}
	return samples, order, nil
}

func invalid(samples []result.Sample) int {
	n := 0
	for _, s := range samples {
		if s.Invalid != "" {
			n++
		}
	}
	return n
}
