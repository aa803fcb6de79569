package run

import (
	"context"
	"fmt"
	"time"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run/expect"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// The pauses of eventually: it polls often at first, as most things settle at once.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = time.Second
)

// step runs one step, again and again where it says eventually. What is deleted or
// broken once is not deleted or broken again: only the expectations are.
func (x *execution) step(ctx context.Context, st *spec.Step, out *result.Step) {
	deadline := x.world.Now().Add(st.Eventually)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		done := x.once(ctx, st, out)
		left := deadline.Sub(x.world.Now())
		if out.Status == result.Passed || ctx.Err() != nil {
			break
		}
		if st.Eventually == 0 {
			return
		}
		if left <= 0 {
			if out.Message != "" {
				out.Message = fmt.Sprintf("still so after %v: %s", st.Eventually, out.Message)
			} else {
				out.Message = fmt.Sprintf("still so after %v: %s", st.Eventually, stepMessage(*out))
			}
			return
		}
		if err := x.world.Sleep(ctx, min(pause, left)); err != nil {
			break
		}
		if done && (st.Operation == "delete" || st.Operation == "fault") {
			rest := *st
			rest.Operation = ""
			st = &rest
		}
	}
	if ctx.Err() != nil {
		out.Status, out.Message = result.Error, context.Cause(ctx).Error()
	}
}

// once runs the operation and evaluates the expectations. It is false where the
// operation failed.
func (x *execution) once(ctx context.Context, st *spec.Step, out *result.Step) bool {
	out.Status, out.Message, out.Result, out.Checks = result.Passed, "", nil, nil
	found, err := x.operate(ctx, st)
	if err != nil {
		out.Status, out.Message = result.Error, ended(ctx, err).Error()
		return false
	}
	if found != nil {
		out.Result = found.JSON()
	}
	scope := spec.Scope{Operation: st.Operation, Kept: x.ops}
	if a, ok := found.(*expect.Applied); ok && len(a.Rejected) > 0 && !x.mentions(st, "rejected") {
		out.Status, out.Message = result.Failed, (&refusal{a.Rejected}).Error()
	}
	if why := otherwise(st.Canary, found); why != "" {
		out.Status, out.Message = result.Failed, why
	}
	values := expect.Values{Scope: scope, Result: found, Kept: x.kept}
	for _, e := range st.Expect {
		c := x.check(e, values)
		out.Checks = append(out.Checks, c)
		switch {
		case c.Status == result.Failed:
			out.Status = result.Failed
		case c.Status == result.Error && out.Status == result.Passed:
			out.Status = result.Error
		}
	}
	if found != nil {
		x.keep(st, found)
	}
	return true
}

// check evaluates one expectation.
func (x *execution) check(e spec.Expression, values expect.Values) result.Check {
	x.checked = true
	c := result.Check{Expression: e.Text, Status: result.Passed, File: e.Position.File, Line: e.Position.Line}
	switch o := x.language.Evaluate(e, values); {
	case o.Err != nil:
		c.Status, c.Message = result.Error, o.Message
	case !o.Holds:
		c.Status, c.Message = result.Failed, o.Message
	}
	return c
}

func (x *execution) mentions(st *spec.Step, variable string) bool {
	for _, e := range st.Expect {
		if x.language.Mentions(e, variable) {
			return true
		}
	}
	return false
}

// keep makes a result known to later steps: under `as`, and a load's also under its own name.
func (x *execution) keep(st *spec.Step, r expect.Result) {
	for _, name := range []string{st.As, st.Finish} {
		if name != "" {
			x.kept[name], x.ops[name] = r, st.Operation
		}
	}
}

// operate runs a step's operation. A nil result is one that has none.
func (x *execution) operate(ctx context.Context, st *spec.Step) (expect.Result, error) {
	switch st.Operation {
	case "":
		return nil, nil
	case "apply":
		a, err := x.world.Apply(ctx, st.Apply.Documents)
		if err != nil {
			return nil, fmt.Errorf("apply: %w", err)
		}
		x.warn(a.Warnings)
		x.changed(st.Apply.Documents, a.Rejected)
		return &expect.Applied{Objects: a.Objects, Warnings: a.Warnings, Rejected: a.Rejected}, nil
	case "delete":
		if err := x.world.Delete(ctx, st.Delete.Refs, st.Delete.Documents); err != nil {
			return nil, wrap("delete", err)
		}
		x.removed(st.Delete)
		return nil, nil
	case "request":
		x.traffic = true
		exchanges, err := x.world.Send(ctx, st.Request)
		return x.found(ctx, st, exchanges, wrap("request", err))
	case "load":
		x.traffic = true
		load, err := x.world.Load(ctx, st.Load)
		if err != nil {
			return nil, wrap("load", err)
		}
		if st.Load.Background {
			x.loads[st.As], x.askedBy[st.As] = load, asked(st)
			return nil, nil
		}
		exchanges, err := load.Traffic(ctx)
		return x.found(ctx, st, exchanges, wrap("load", err))
	case "finish":
		load := x.loads[st.Finish]
		if load == nil {
			return nil, fmt.Errorf("finish: no background load %q is running", st.Finish)
		}
		delete(x.loads, st.Finish)
		exchanges, err := load.Traffic(ctx)
		return x.found(ctx, st, exchanges, wrap("finish", err))
	case "wait":
		return nil, wrap("wait", x.world.Sleep(ctx, st.Wait))
	case "explain":
		return x.explain(ctx, st.Explain)
	case "scale":
		return nil, wrap("scale", x.world.Scale(ctx, st.Scale.Workload, st.Scale.Replicas))
	case "fault":
		if err := x.world.Fault(ctx, st.Fault); err != nil {
			return nil, wrap("fault", err)
		}
		x.broke(st.Fault)
		return nil, nil
	case "query":
		return x.query(ctx, st.Query)
	case "traces":
		return x.traces(ctx, st.Traces)
	case "canary":
		return x.canary(ctx, st.Canary)
	}
	return nil, fmt.Errorf("operation %s is not supported yet", st.Operation)
}

func wrap(operation string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", operation, err)
}

// found makes the traffic result of what a step sent.
func (x *execution) found(ctx context.Context, st *spec.Step, exchanges []Exchange, err error) (expect.Result, error) {
	x.sent += int64(len(exchanges))
	if err != nil {
		return nil, err
	}
	if err := x.settle(ctx, exchanges); err != nil {
		return nil, err
	}
	return x.sum(st, exchanges), nil
}

// A proxy logs an exchange when its stream is over, which may be after the client
// has its answer: a mirrored request, a try that was given up, a log on its way.
const (
	settlePause = 20 * time.Millisecond
	settleLimit = 500 * time.Millisecond
)

// settle waits until the log has nothing new about these exchanges.
func (x *execution) settle(ctx context.Context, exchanges []Exchange) error {
	if len(exchanges) == 0 {
		return nil
	}
	known := -1
	for waited := time.Duration(0); waited < settleLimit; waited += settlePause {
		if err := x.world.Sleep(ctx, settlePause); err != nil {
			return err
		}
		x.log.update(x.world.Log())
		entries, complete := x.log.about(exchanges)
		if complete && entries == known {
			return nil
		}
		known = entries
	}
	return nil
}
