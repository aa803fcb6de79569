//go:build kind

// Package incluster runs the shipped scenarios in a kind cluster, as Ginkgo specs: kind/e2e
// makes the cluster, and hands it over.
package incluster

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/spf13/pflag"

	"github.com/windtunnel-mesh/windtunnel/live"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
	"github.com/windtunnel-mesh/windtunnel/reports"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

func TestScenariosInAKindCluster(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "scenarios in a kind cluster")
}

// settings are what kind/e2e hands over.
type settings struct {
	scenarios   []*spec.Scenario
	kubeconfig  string
	clientImage string
	out         string
}

// handed reads the environment when the specs are built: a scenario is a spec.
// SCENARIOS are arguments as those of windtunnel run: paths, and --run EXPRESSION.
func handed() settings {
	f := pflag.NewFlagSet("SCENARIOS", pflag.ContinueOnError)
	name := f.String("run", "", "only scenarios whose name matches")
	if err := f.Parse(strings.Fields(os.Getenv("SCENARIOS"))); err != nil {
		panic(err)
	}
	if err := os.Chdir("../.."); err != nil { // where paths are relative to
		panic(err)
	}
	expression := regexp.MustCompile(*name)
	scenarios, problems := run.Read(f.Args())
	for _, p := range problems {
		panic(p.Detail())
	}
	s := settings{kubeconfig: os.Getenv("KUBECONFIG"), clientImage: os.Getenv("CLIENT_IMAGE"), out: os.Getenv("OUT")}
	for _, scenario := range scenarios {
		if run.RunsIn(scenario, "kind") && expression.MatchString(scenario.Name) {
			s.scenarios = append(s.scenarios, scenario)
		}
	}
	return s
}

const (
	limit  = 5 * time.Minute  // of a scenario in its world
	patrol = 12 * time.Minute // of a spec, the making and removing of namespaces with it
	entry  = "result"         // of a spec's report
)

var _ = Describe("kind", func() {
	given := handed()
	for _, s := range given.scenarios {
		labels := []any{}
		for k, v := range s.Labels {
			labels = append(labels, Label(k+":"+v))
		}
		// Those that change what a cluster has once are not beside others, whatever the
		// number of processes.
		if live.Alone(s, "istio-system") {
			labels = append(labels, Serial)
		}
		It(s.Name+": "+s.Description, append(labels, SpecTimeout(patrol), func(ctx SpecContext) {
			r := inCluster(ctx, given, s)
			text, err := json.Marshal(r)
			Expect(err).NotTo(HaveOccurred())
			AddReportEntry(entry, ReportEntryVisibilityNever, string(text))
			if r.Status == result.Skipped {
				Skip(r.Message)
			}
			Expect(r.Status).To(Equal(result.Passed), reports.Failures(&r))
		})...)
	}
})

func inCluster(ctx context.Context, given settings, s *spec.Scenario) result.Scenario {
	live.Quiet()
	client, err := kube.Connect(kube.ClientOptions{Kubeconfig: given.kubeconfig, Agent: "e2e"})
	Expect(err).NotTo(HaveOccurred())
	env := &live.Env{Kind: "kind", Client: client, System: "istio-system", ClientImage: given.clientImage, Out: given.out,
		Logger: slog.New(slog.DiscardHandler), Progress: io.Discard}
	Expect(env.Ready(ctx)).To(Succeed())
	return run.Run(ctx, env, s, run.Options{Seed: 1, Timeout: limit})
}

// The report is that of windtunnel run, over all processes.
var _ = ReportAfterSuite("report.html", func(r Report) {
	if os.Getenv("OUT") == "" {
		return
	}
	all := &result.Run{Version: result.Version, Environment: "kind", Seed: 1, WallSeconds: r.RunTime.Seconds(), Scenarios: []result.Scenario{}}
	for _, s := range r.SpecReports {
		for _, e := range s.ReportEntries {
			var found result.Scenario
			if e.Name != entry || json.Unmarshal([]byte(e.GetRawValue().(string)), &found) != nil {
				continue
			}
			all.Scenarios = append(all.Scenarios, found)
			switch found.Status {
			case result.Passed:
				all.Passed++
			case result.Failed:
				all.Failed++
			case result.Error:
				all.Errors++
			case result.Skipped:
				all.Skipped++
			}
		}
	}
	Expect(reports.Write(os.Getenv("OUT"), all, "json", "junit", "markdown", "html", "tap", "badge")).To(Succeed())
})
