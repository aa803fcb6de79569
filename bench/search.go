package bench

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// Objective is what a load has to hold, an expression of CEL over one sample:
// "p99 < 10ms && errors == 0".
type Objective struct {
	text    string
	program cel.Program
}

// durations are written as a person does, outside of quotes; CEL has a function for them.
var durations = regexp.MustCompile(`"[^"]*"|\b[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m)\b`)

// ParseObjective reads an expression over p50, p90, p99, p999 (durations from the
// intended start), errors (a part of the calls) and rate (answered calls per second).
func ParseObjective(text string) (*Objective, error) {
	options := []cel.EnvOption{cel.Variable("errors", cel.DynType), cel.Variable("rate", cel.DynType)}
	for _, name := range percentiles {
		options = append(options, cel.Variable(name, cel.DurationType))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(durations.ReplaceAllStringFunc(text, func(found string) string {
		if found[0] == '"' {
			return found
		}
		return `duration("` + found + `")`
	}))
	if issues.Err() != nil {
		return nil, fmt.Errorf("objective %q: %w; it knows p50, p90, p99, p999, errors and rate", text, issues.Err())
	}
	if !ast.OutputType().IsAssignableType(cel.BoolType) {
		return nil, fmt.Errorf("objective %q is a %s, not true or false", text, ast.OutputType())
	}
	program, err := env.Program(ast)
	return &Objective{text, program}, err
}

var percentiles = []string{"p50", "p90", "p99", "p999"}

// holds evaluates the objective. A rate that was not reached was not held, whatever the
// calls that were made say.
func (o *Objective) holds(s result.Sample, rate float64) (bool, error) {
	if s.Invalid != "" || s.Metrics["rate"] < reached*rate {
		return false, nil
	}
	values := map[string]any{"errors": s.Metrics["errors"], "rate": s.Metrics["rate"]}
	for _, name := range percentiles {
		values[name] = time.Duration(s.Metrics["latency-"+name] * float64(time.Second))
	}
	found, _, err := o.program.Eval(values)
	if err != nil {
		return false, fmt.Errorf("objective %q: %w", o.text, err)
	}
	held, ok := found.Value().(bool)
	if !ok {
		return false, fmt.Errorf("objective %q is a %s, not true or false", o.text, found.Type().TypeName())
	}
	return held, nil
}

const (
	// reached is the part of a rate that has to be answered.
	reached = 0.95
	// firstRate is where a search begins, in requests per second.
	firstRate = 500.0
	// lastRate is where it gives up: no client of this program is faster.
	lastRate = 1e6
	// near is how close the ends of a bracket come, as a part of the lower one.
	near = 0.05
	// trials of a rate at most: two that agree decide.
	trials = 3
)

// searchMetrics are what a search has.
func searchMetrics() []result.Metric {
	return []result.Metric{
		{Name: "max-rate", Unit: "req/s", Better: result.Higher, Floor: 50, About: "the highest rate that held the objective"},
		{Name: "max-rate-above", Unit: "req/s", About: "the lowest rate that did not"},
		{Name: "searched-rates", About: "rates that were tried"},
	}
}

// bracket is what a search found: low held, high did not; 0: none.
type bracket struct {
	low, high float64
	tried     int
}

// search looks for the highest rate that holds: it doubles or halves until one holds and
// the next does not, and then bisects.
func search(ctx context.Context, try func(ctx context.Context, rate float64) (bool, error)) (bracket, error) {
	var b bracket
	for rate := firstRate; ; {
		held, err := twice(ctx, rate, try)
		if err != nil {
			return b, err
		}
		b.tried++
		if held {
			b.low = rate
		} else {
			b.high = rate
		}
		switch {
		case b.high == 0 && rate >= lastRate, b.low == 0 && rate < 1:
			return b, nil
		case b.high == 0:
			rate *= 2
		case b.low == 0:
			rate /= 2
		case b.high-b.low <= near*b.low:
			return b, nil
		default:
			rate = (b.low + b.high) / 2
		}
	}
}

// twice tries a rate until two trials agree: one that was disturbed decides nothing.
func twice(ctx context.Context, rate float64, try func(ctx context.Context, rate float64) (bool, error)) (bool, error) {
	held, failed := 0, 0
	for range trials {
		ok, err := try(ctx, rate)
		if err != nil {
			return false, err
		}
		if ok {
			held++
		} else {
			failed++
		}
		if held == 2 || failed == 2 {
			break
		}
	}
	return held == 2, ctx.Err()
}

// ofSearch is the search of a cell, whose own rate does not count.
func (p Plan) ofSearch(c cell) measurement {
	parameters := c.parameters()
	delete(parameters, "qps")
	parameters["objective"] = p.Objective.text
	return measurement{name: c.searchName(p.Objective), suite: "search", parameters: parameters, skipped: missing(c.proxies),
		take: func(ctx context.Context, b Build) (result.Sample, error) { return p.sample(ctx, b, c, p.searched) }}
}

// searched is one search in a world; its sample is the last one that held.
func (p Plan) searched(ctx context.Context, r *rig) (result.Sample, error) {
	var best result.Sample
	start := time.Now()
	found, err := search(ctx, func(ctx context.Context, rate float64) (bool, error) {
		r.cell.rate = Steady(rate)
		s, err := p.measure(ctx, r)
		if err != nil {
			return false, err
		}
		held, err := p.Objective.holds(s, rate)
		if held {
			best = s
		}
		return held, err
	})
	if err != nil {
		return result.Sample{}, err
	}
	if found.low == 0 {
		return result.Sample{Invalid: fmt.Sprintf("no rate held %q, not even %.3g per second", p.Objective.text, found.high), Seconds: time.Since(start).Seconds()}, nil
	}
	if found.high == 0 {
		return result.Sample{}, errors.New("the search found no end")
	}
	best.Metrics = map[string]float64{"max-rate": found.low, "max-rate-above": found.high, "searched-rates": float64(found.tried)}
	best.Seconds = time.Since(start).Seconds()
	return best, nil
}
