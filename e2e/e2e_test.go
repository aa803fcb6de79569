//go:build e2e

// Package e2e runs every shipped scenario in the simulator, as Ginkgo specs.
package e2e

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/windtunnel-mesh/windtunnel/reports"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/trace"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
)

func TestScenarios(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "scenarios in the simulator")
}

const seed = 1

// shipped reads the scenarios when the specs are built: a scenario is a spec.
func shipped() []*spec.Scenario {
	scenarios, problems := run.Read([]string{"../scenarios"})
	for _, p := range problems {
		panic(p.Detail())
	}
	return scenarios
}

var _ = Describe("simulator", func() {
	for _, s := range shipped() {
		var labels []string
		for k, v := range s.Labels {
			labels = append(labels, k+":"+v)
		}
		It(s.Name+": "+s.Description, Label(labels...), func(ctx SpecContext) {
			first, events := simulate(ctx, s)
			if first.Status == result.Skipped {
				Skip(first.Message)
			}
			Expect(first.Status).To(Equal(result.Passed), reports.Failures(&first))
			second, again := simulate(ctx, s)
			Expect(second.Status).To(Equal(result.Passed), reports.Failures(&second))
			Expect(second.Digest).To(Equal(first.Digest), trace.FirstDifference(events, again, 20))
		}, SpecTimeout(20*time.Minute))
	}
})

func simulate(ctx context.Context, s *spec.Scenario) (result.Scenario, []trace.Event) {
	var events []trace.Event
	env := &world.Sim{Logger: slog.New(slog.DiscardHandler), Stacks: os.Stderr,
		OnTrace: func(_ *spec.Scenario, e []trace.Event) { events = e }}
	return run.Run(ctx, env, s, run.Options{Seed: seed, Timeout: 10 * time.Minute}), events
}
