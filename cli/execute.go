package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/trace"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
)

// execute runs the jobs and returns their results in the jobs' order; nil for
// those that an interrupt left out. The simulator's jobs run in worker processes,
// each with one processor; the loopback world's one after the other in this one.
func execute(ctx context.Context, s Streams, jobs []job, o runOptions, done func(*result.Scenario)) ([]*result.Scenario, error) {
	results := make([]*result.Scenario, len(jobs))
	var left []job
	for _, j := range jobs {
		if j.skip == "" {
			left = append(left, j)
			continue
		}
		results[j.Index] = &result.Scenario{Name: j.Name, File: j.File, Line: j.scenario.Position.Line, Description: j.scenario.Description,
			Labels: j.scenario.Labels, Status: result.Skipped, Message: j.skip, Seed: j.Seed, Steps: []result.Step{}}
		done(results[j.Index])
	}
	finished := func(j job, r *result.Scenario) {
		results[j.Index] = r
		done(r)
	}
	if o.env == "sim" {
		runWorkers(ctx, s.Err, left, min(o.parallel, len(left)), o.memory<<20, finished)
		return results, nil
	}
	if isCluster(o.env) && len(left) > 0 {
		env, err := openCluster(ctx, o, s.Err)
		if err != nil {
			return nil, err
		}
		runCluster(ctx, env, left, o.parallel, finished)
		return results, nil
	}
	for _, j := range left {
		if ctx.Err() != nil {
			break
		}
		r := runLoopback(ctx, j, s.Err)
		if ctx.Err() == nil {
			finished(j, &r)
		}
	}
	return results, nil
}

func runLoopback(ctx context.Context, j job, stderr io.Writer) result.Scenario {
	return run.Run(ctx, &world.Loopback{Logger: logger(j, stderr)}, j.scenario, run.Options{Seed: j.Seed, Timeout: j.Timeout})
}

// runSim runs one job in this process, twice where determinism is to be checked.
func runSim(ctx context.Context, streams Streams, j job, s *spec.Scenario) result.Scenario {
	first, events := simulate(ctx, streams, j, s)
	if j.TraceFile != "" {
		if err := writeTrace(j.TraceFile, events); err != nil {
			first.Status, first.Message = result.Error, err.Error()
		}
	}
	if !j.CheckDeterminism || first.Status == result.Error {
		return first
	}
	second, again := simulate(ctx, streams, j, s)
	first.WallSeconds += second.WallSeconds
	if first.Digest != second.Digest {
		first.Status = result.Error
		first.Message = fmt.Sprintf("not deterministic: seed %d gave %s and %s\n%s", j.Seed, first.Digest, second.Digest,
			trace.FirstDifference(events, again, 20))
	} else if i := firstDifference(first.Steps, second.Steps); i >= 0 {
		// A trace has sizes and instants; what the clients got is more.
		first.Status = result.Error
		first.Message = fmt.Sprintf("not deterministic: seed %d gave one trace, and two results of step %d (line %d):\n- %s\n+ %s", j.Seed, i+1, first.Steps[i].Line,
			stepText(first.Steps, i), stepText(second.Steps, i))
	}
	return first
}

// firstDifference is the index of the first step that is not the same in both, or -1.
func firstDifference(a, b []result.Step) int {
	for i := range max(len(a), len(b)) {
		if stepText(a, i) != stepText(b, i) {
			return i
		}
	}
	return -1
}

// stepText is a step as it stands in results.json.
func stepText(steps []result.Step, i int) string {
	if i >= len(steps) {
		return "no step"
	}
	text, err := json.Marshal(steps[i])
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func simulate(ctx context.Context, streams Streams, j job, s *spec.Scenario) (result.Scenario, []trace.Event) {
	var events []trace.Event
	env := &world.Sim{Logger: logger(j, streams.Err), Stacks: streams.Err, Wrap: streams.wrap, OnStuck: func() { os.Exit(codeEnvironment) },
		OnTrace: func(_ *spec.Scenario, e []trace.Event) { events = e }}
	start := time.Now()
	r := run.Run(ctx, env, s, run.Options{Seed: j.Seed, Timeout: j.Timeout})
	r.WallSeconds = time.Since(start).Seconds()
	return r, events
}

// logger writes what the planes log, where that is wanted.
func logger(j job, w io.Writer) *slog.Logger {
	if !j.Verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func traceFile(out string, j job, repeat int) string {
	name := j.Name
	if repeat > 1 {
		name += fmt.Sprintf("-seed-%d", j.Seed)
	}
	return filepath.Join(out, "traces", name+".txt")
}

func writeTrace(file string, events []trace.Event) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	var b strings.Builder
	for _, e := range events {
		b.WriteString(e.String())
		b.WriteByte('\n')
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}
