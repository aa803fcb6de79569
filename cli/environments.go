package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/reports"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// knownEnvironments are the values of --env.
var knownEnvironments = []string{"sim", "loopback", "kind", "kube"}

// environments are those that --env names: one, or two to be compared.
func environments(env string) ([]string, error) {
	list := strings.Split(env, ",")
	for i, e := range list {
		if !slices.Contains(knownEnvironments, e) {
			return nil, fmt.Errorf("--env %s: expected sim, loopback, kind or kube", e)
		}
		if slices.Contains(list[:i], e) {
			return nil, fmt.Errorf("--env %s: %s is there twice", env, e)
		}
	}
	if len(list) > 2 {
		return nil, fmt.Errorf("--env %s: expected one environment, or two to compare", env)
	}
	return list, nil
}

// runAll runs the scenarios in each environment, one after the other.
func runAll(ctx context.Context, s Streams, scenarios []*spec.Scenario, o runOptions) ([]*result.Scenario, error) {
	list, err := environments(o.env)
	if err != nil {
		return nil, err
	}
	var all []*result.Scenario
	for _, env := range list {
		each := o
		each.env = env
		jobs := plan(scenarios, each)
		p := newProgress(s, each, len(jobs))
		results, err := execute(ctx, s, jobs, each, p.done)
		p.end()
		if err != nil {
			return nil, err
		}
		for _, r := range results {
			if r != nil && len(list) > 1 {
				r.Environment = env
			}
		}
		all = append(all, results...)
	}
	return all, nil
}

// compareEnvironments adds what two environments made of the scenarios.
func compareEnvironments(run *result.Run) {
	if list := strings.Split(run.Environment, ","); len(list) == 2 {
		run.Comparison = reports.Compare([2]string(list), run.Scenarios)
	}
}
