package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run/expect"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// NothingTested begins the message of a scenario that was not able to fail.
const NothingTested = "nothing was tested"

// Read reads scenario files and folders and type-checks their expectations.
func Read(paths []string) ([]*spec.Scenario, []spec.Problem) {
	language, err := expect.New(nil)
	if err != nil {
		return nil, []spec.Problem{{Position: spec.Position{Line: 1, Col: 1}, Message: err.Error()}}
	}
	return spec.Read(paths, spec.Options{Check: language.Check, Reserved: expect.Reserved()})
}

// Check type-checks one expectation; it has the form of spec.Options.Check. Read
// does the same for whole files, and faster.
func Check(e spec.Expression, s spec.Scope) []spec.Problem {
	language, err := expect.New(nil)
	if err != nil {
		return []spec.Problem{{Position: e.Position, Message: err.Error()}}
	}
	return language.Check(e, s)
}

// ExpectsRejection tells whether a step expects that the control plane refuses
// some of what it applies.
func ExpectsRejection(st *spec.Step) bool {
	if st.Operation != "apply" {
		return false
	}
	language, err := expect.New(nil)
	return err == nil && slices.ContainsFunc(st.Expect, func(e spec.Expression) bool { return language.Mentions(e, "rejected") })
}

// Run executes a scenario in a new world and tells what it found. Whatever goes
// wrong is in the result; ctx ends it early, which is an error in the result.
func Run(ctx context.Context, env Env, s *spec.Scenario, o Options) result.Scenario {
	if s.Seed != nil {
		o.Seed = *s.Seed
	}
	out := result.Scenario{
		Name: s.Name, File: s.Position.File, Line: s.Position.Line, Description: s.Description, Labels: s.Labels,
		Status: result.Passed, Seed: o.Seed, Steps: []result.Step{},
	}
	if why := unfit(s, env.Name()); why != "" {
		out.Status, out.Message = result.Skipped, why
		return out
	}
	start := time.Now()
	// The world may be given up while the scenario still runs in it, so what is
	// reported is the last snapshot, which nobody writes any more.
	var snapshot atomic.Pointer[result.Scenario]
	err := env.Do(ctx, s, o, func(ctx context.Context, w World) error {
		return execute(ctx, w, s, timeout(s, env.Name()), out, &snapshot)
	})
	if last := snapshot.Load(); last != nil {
		out = *last
	}
	var cannot *UnfitError
	switch {
	case err != nil && ctx.Err() != nil:
		out.Status, out.Message = result.Error, "interrupted"
	case errors.As(err, &cannot):
		out.Status, out.Message = result.Skipped, cannot.Reason
	case err != nil && out.Status == result.Passed:
		out.Status, out.Message = result.Error, err.Error()
	}
	out.WallSeconds = time.Since(start).Seconds()
	return out
}

// RunsIn tells whether a scenario names the environment, or none. A cluster of somebody
// else's is like one of kind's.
func RunsIn(s *spec.Scenario, env string) bool {
	return len(s.Environments) == 0 || slices.Contains(s.Environments, env) || env == "kube" && slices.Contains(s.Environments, "kind")
}

// unfit tells why a scenario cannot run in a kind of world; "" where it can.
func unfit(s *spec.Scenario, env string) string {
	n := s.Network
	switch {
	case !RunsIn(s, env):
		return fmt.Sprintf("runs in %s, not in %s", strings.Join(s.Environments, ", "), env)
	case env != "sim" && (n.Latency > 0 || n.Jitter > 0 || n.Loss > 0 || len(n.Links) > 0):
		return "declares a network, which only sim has"
	}
	return ""
}

// timeout is the world's time for the whole scenario.
func timeout(s *spec.Scenario, env string) time.Duration {
	switch {
	case s.Timeout > 0:
		return s.Timeout
	case env == "sim":
		return time.Hour
	}
	return 10 * time.Minute
}

// execution is one scenario in its world.
type execution struct {
	world    World
	scenario *spec.Scenario
	language *expect.Language
	start    time.Time
	kept     map[string]expect.Result
	ops      map[string]string // the operations behind kept
	loads    map[string]Load
	log      index
	answers  []answer // of all traffic, for the timeline
	sent     int64
	traffic  bool // there were traffic steps
	checked  bool // an expectation was evaluated
	notes    []result.Event
	// What the report tells of a step, beside its result.
	configuration configuration
	changes       []result.Change          // by the step that runs
	last          *sent                    // likewise
	askedBy       map[string]*spec.Explain // background loads
	bands         []result.Band            // To is negative while they last
}

// host lets expressions ask the world.
type host struct{ world World }

func (h host) Endpoint(workload, client string) (expect.Endpoint, error) {
	e, err := h.world.Endpoint(workload, client)
	return expect.Endpoint{Ejected: e.Ejected, Healthy: e.Healthy, Active: e.Active}, err
}

// moment passes between two steps, in the world's time: what a step has set going (a
// load in the background, the end of a process) has begun before the next one does.
const moment = time.Microsecond

// execute runs the steps; it returns an error where the world or the time ended it.
func execute(ctx context.Context, w World, s *spec.Scenario, limit time.Duration, out result.Scenario,
	snapshot *atomic.Pointer[result.Scenario]) error {
	language, err := expect.New(host{w})
	if err != nil {
		return err
	}
	x := &execution{world: w, scenario: s, language: language, start: w.Now(), kept: map[string]expect.Result{},
		ops: map[string]string{}, loads: map[string]Load{}, log: index{byID: map[string][]int{}},
		configuration: configuration{objects: map[string]string{}}, askedBy: map[string]*spec.Explain{}}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("timeout: %v of the world's time are over", limit))
	defer cancel()
	publish := func() {
		out.VirtualSeconds = w.Now().Sub(x.start).Seconds()
		snapshot.Store(new(out))
	}
	publish()
	if err := x.resources(ctx); err != nil {
		out.Status, out.Message = result.Error, err.Error()
		if refused := (*refusal)(nil); errors.As(err, &refused) {
			out.Status = result.Failed
		}
		if cannot := (*UnfitError)(nil); errors.As(err, &cannot) {
			out.Status, out.Message = result.Skipped, cannot.Reason
		}
	}
	out.Resources = x.changes
	for i := range s.Steps {
		st := &s.Steps[i]
		name := st.Name
		if name == "" {
			name = fmt.Sprintf("step %d", i+1)
		}
		step := result.Step{Name: name, Operation: st.Operation, Line: st.Position.Line, Start: w.Now().Sub(x.start).Seconds()}
		if out.Status == result.Passed {
			before := w.Now()
			x.changes, x.last = nil, nil
			if i > 0 {
				_ = w.Sleep(ctx, moment) // where the context has ended, the step says so
			}
			x.step(ctx, st, &step)
			step.Seconds = w.Now().Sub(before).Seconds()
			x.about(ctx, &step)
			if step.Status != result.Passed {
				out.Status, out.Message = step.Status, fmt.Sprintf("%s: %s", name, stepMessage(step))
			}
		} else {
			step.Status, step.Message = result.Skipped, "not run: the scenario had ended"
		}
		// A new slice each time: a published snapshot is never written to.
		out.Steps = append(slices.Clone(out.Steps), step)
		publish()
	}
	if why := x.untested(); why != "" && out.Status == result.Passed {
		out.Status, out.Message = result.Error, NothingTested+": "+why
	}
	x.testify(ctx, &out)
	out.Requests = int64(len(w.Log()))
	x.observe(&out)
	out.Digest = w.Digest()
	publish()
	return ctx.Err()
}

// stepMessage is a failed step's message, or that of its first failed check.
func stepMessage(s result.Step) string {
	if s.Message != "" {
		return s.Message
	}
	for _, c := range s.Checks {
		if c.Status != result.Passed {
			return c.Message
		}
	}
	return string(s.Status)
}

// untested tells why a scenario that passed proves nothing; "" where it does.
func (x *execution) untested() string {
	switch {
	case x.traffic && x.sent == 0:
		return "the traffic steps sent no request"
	case !x.traffic && !x.checked:
		return "there is no traffic and no expectation"
	}
	return ""
}

// refusal is configuration that the control plane does not take.
type refusal struct{ rejected []string }

func (r *refusal) Error() string { return "rejected: " + strings.Join(r.rejected, "; ") }

// resources applies what is there before the first step.
func (x *execution) resources(ctx context.Context) error {
	if len(x.scenario.Resources) == 0 {
		return nil
	}
	applied, err := x.world.Apply(ctx, x.scenario.Resources)
	if err != nil {
		return fmt.Errorf("resources: %w", ended(ctx, err))
	}
	x.warn(applied.Warnings)
	x.changed(x.scenario.Resources, applied.Rejected)
	for i := range x.changes {
		if x.changes[i].Action == "created" { // the files say it all
			x.changes[i].Diff = ""
		}
	}
	if len(applied.Rejected) > 0 {
		return fmt.Errorf("resources: %w", &refusal{applied.Rejected})
	}
	return nil
}

// warn puts warnings on the timeline.
func (x *execution) warn(warnings []string) {
	for _, w := range warnings {
		x.notes = append(x.notes, result.Event{Seconds: x.world.Now().Sub(x.start).Seconds(), Kind: "warning", Text: w})
	}
}

// ended prefers why the context ended to what broke because of it.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
