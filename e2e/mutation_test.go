//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"go.yaml.in/yaml/v3"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// A scenario that cannot fail proves nothing. So each is run without one document,
// then without another, until one of these runs fails: those of the mesh first, then,
// for scenarios that use none, the others.
var _ = Describe("mutation", func() {
	for _, s := range shipped() {
		It(s.Name+" fails without something that it applies", func(ctx SpecContext) {
			mutants := mutate(s)
			if len(mutants) == 0 {
				Skip("it applies nothing")
			}
			var survived []string
			for _, m := range mutants {
				if r, _ := simulate(ctx, m.scenario); r.Status == result.Skipped {
					Skip(r.Message)
				} else if r.Status != result.Passed {
					return
				}
				survived = append(survived, m.what)
			}
			Expect(survived).To(BeEmpty(), "the scenario passes without any of these")
		}, SpecTimeout(20*time.Minute))
	}
})

// mutant is a scenario without one document.
type mutant struct {
	what     string
	scenario *spec.Scenario
}

// meshKinds are what the mesh's behaviour is written in.
var meshKinds = []string{"VirtualService", "DestinationRule", "Gateway", "PeerAuthentication", "RequestAuthentication",
	"AuthorizationPolicy", "ServiceEntry", "Sidecar", "Telemetry", "EnvoyFilter", "HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute", "ReferenceGrant", "Canary"}

// mutate returns the mutants of a scenario, those without an object of the mesh first,
// or those without another object where it has none of the mesh.
func mutate(s *spec.Scenario) []mutant {
	var mesh, others []mutant
	add := func(d spec.Document, without func(*spec.Scenario)) {
		var object struct {
			Kind     string
			Metadata struct{ Name string }
		}
		_ = yaml.Unmarshal(d.Text, &object) // a document on purpose malformed has no kind
		clone := *s
		without(&clone)
		m := mutant{fmt.Sprintf("%s:%d (%s %s)", d.File, d.Line, object.Kind, object.Metadata.Name), &clone}
		if slices.Contains(meshKinds, object.Kind) {
			mesh = append(mesh, m)
		} else {
			others = append(others, m)
		}
	}
	for i, d := range s.Resources {
		add(d, func(c *spec.Scenario) { c.Resources = slices.Delete(slices.Clone(s.Resources), i, i+1) })
	}
	for i, step := range s.Steps {
		if step.Apply == nil {
			continue
		}
		for j, d := range step.Apply.Documents {
			add(d, func(c *spec.Scenario) {
				changed := step
				changed.Apply = &spec.Apply{Documents: slices.Delete(slices.Clone(step.Apply.Documents), j, j+1)}
				changed.Expect = slices.DeleteFunc(slices.Clone(step.Expect), aboutObjects)
				c.Steps = slices.Clone(s.Steps)
				c.Steps[i] = changed
			})
		}
	}
	if len(mesh) > 0 {
		return mesh
	}
	return others
}

// aboutObjects tells an expectation about the apply itself, which of course fails
// where there is less to apply: it must not be the one that kills a mutant.
func aboutObjects(e spec.Expression) bool {
	return strings.Contains(e.Text, "objects") || strings.Contains(e.Text, "warnings") || strings.Contains(e.Text, "rejected")
}
