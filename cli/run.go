package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/windtunnel-mesh/windtunnel/reports"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// runOptions are the flags of run.
type runOptions struct {
	selection
	env              string
	seed             uint64
	parallel         int
	repeat           int
	out              string
	output           string
	checkDeterminism bool
	timeout          time.Duration
	memory           uint64 // MiB
	verbose          bool
	cluster          clusterTarget
	junit            string
}

func newRunCommand(s Streams) *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run [PATH…]",
		Short: "Run scenarios",
		Long: "Run the scenarios of files or folders (default: scenarios) and say whether what they expect held.\n\n" +
			"Exit codes: 0 all held, 1 an expectation failed, 2 bad input, 3 the environment failed, 5 nothing was tested, 130 interrupted.",
		Example: "  windtunnel run scenarios/bookinfo\n  windtunnel run scenarios/bookinfo --run jason --seed 7 --out out/jason\n  windtunnel run scenarios/bookinfo --env loopback\n  windtunnel run scenarios/bookinfo --env sim,kind --out out/divergence",
		RunE: func(c *cobra.Command, args []string) error {
			o.paths = args
			return runScenarios(c.Context(), s, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.env, "env", "sim", "`world` to run in: sim, loopback, kind or kube; two of them, as sim,kind, to compare what they make of it")
	f.Uint64Var(&o.seed, "seed", 1, "seed of all randomness")
	f.StringVar(&o.name, "run", "", "only scenarios whose name matches this regular `expression`")
	f.StringVarP(&o.labels, "selector", "l", "", "only scenarios with these labels: `key=value,…`")
	f.IntVar(&o.parallel, "parallel", runtime.NumCPU(), "scenarios at one time (simulator)")
	f.IntVar(&o.repeat, "repeat", 1, "runs of each scenario, each with the next seed")
	f.StringVar(&o.out, "out", "", "write the report into this `folder`")
	f.StringVarP(&o.output, "output", "o", "table", "`format` of stdout: table, json, jsonl or tap")
	f.StringVar(&o.junit, "junit", "scenario", "what a test case of junit.xml is: scenario or step")
	f.BoolVar(&o.checkDeterminism, "check-determinism", false, "run each scenario twice and compare what happened, event by event (simulator)")
	f.DurationVar(&o.timeout, "timeout", 2*time.Minute, "wall time that one scenario may take")
	f.Uint64Var(&o.memory, "memory", 4096, "memory that one scenario may take, in `MiB`; 0: any (simulator, on Unix)")
	o.cluster.add(c)
	f.BoolVar(&o.cluster.keep, "keep", false, "leave what scenarios made in the cluster where it is (kind, kube)")
	f.StringVar(&o.cluster.clientImage, "client-image", "windtunnel/workload:latest", "`image` of the Pod that plays clients outside the mesh (kind, kube)")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "logs of the control plane and the proxies on stderr, in the world's time")
	return c
}

func (o *runOptions) validate() error {
	var errs []error
	if _, err := environments(o.env); err != nil {
		errs = append(errs, err)
	}
	if !slices.Contains([]string{"table", "json", "jsonl", "tap"}, o.output) {
		errs = append(errs, fmt.Errorf("-o %s: expected table, json, jsonl or tap", o.output))
	}
	if o.junit != "scenario" && o.junit != "step" {
		errs = append(errs, fmt.Errorf("--junit %s: expected scenario or step", o.junit))
	}
	if o.parallel < 1 {
		errs = append(errs, fmt.Errorf("--parallel %d: expected 1 or more", o.parallel))
	}
	if o.repeat < 1 {
		errs = append(errs, fmt.Errorf("--repeat %d: expected 1 or more", o.repeat))
	}
	if o.timeout <= 0 {
		errs = append(errs, fmt.Errorf("--timeout %s: expected more than 0", o.timeout))
	}
	if o.checkDeterminism && o.env != "sim" {
		errs = append(errs, fmt.Errorf("--check-determinism: only the simulator is deterministic, not %s", o.env))
	}
	return errors.Join(errs...)
}

func runScenarios(ctx context.Context, s Streams, o runOptions) error {
	if err := o.validate(); err != nil {
		return &exit{codeUsage, err}
	}
	scenarios, err := untilInterrupt(ctx, "interrupted; nothing was run", func() ([]*spec.Scenario, error) { return o.load(s.Err) })
	if err != nil {
		return err
	}
	start := time.Now()
	results, err := runAll(ctx, s, scenarios, o)
	if err != nil {
		return err
	}
	run := summarize(results, o, time.Since(start))
	run.Interrupted = ctx.Err() != nil
	compareEnvironments(run)
	if err := emit(s, o, run); err != nil {
		return &exit{codeEnvironment, err}
	}
	return verdict(run)
}

// job is one run of one scenario; it travels to worker processes as JSON.
type job struct {
	Index            int           `json:"index"`
	File             string        `json:"file"`
	Name             string        `json:"name"`
	Env              string        `json:"env"`
	Seed             uint64        `json:"seed"`
	Timeout          time.Duration `json:"timeout"`
	CheckDeterminism bool          `json:"checkDeterminism"`
	TraceFile        string        `json:"traceFile,omitempty"`
	Verbose          bool          `json:"verbose,omitempty"`

	scenario *spec.Scenario
	skip     string // why it does not run here
}

// plan makes the jobs, in order; what may not run in this world is among them.
func plan(scenarios []*spec.Scenario, o runOptions) []job {
	var jobs []job
	for _, s := range scenarios {
		for r := range o.repeat {
			j := job{Index: len(jobs), File: s.Position.File, Name: s.Name, Env: o.env, Seed: o.seed + uint64(r), Timeout: o.timeout,
				CheckDeterminism: o.checkDeterminism, Verbose: o.verbose, scenario: s}
			if s.Seed != nil {
				j.Seed = *s.Seed + uint64(r)
			}
			if !run.RunsIn(s, o.env) {
				j.skip = fmt.Sprintf("it runs in %s only", strings.Join(s.Environments, ", "))
			}
			if o.out != "" && o.env == "sim" {
				j.TraceFile = traceFile(o.out, j, o.repeat)
			}
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// summarize counts. A run is complete even where it was interrupted: what did not
// run is not in it.
func summarize(results []*result.Scenario, o runOptions, wall time.Duration) *result.Run {
	run := &result.Run{Version: result.Version, Environment: o.env, Seed: o.seed, WallSeconds: wall.Seconds(), Scenarios: []result.Scenario{}}
	for _, r := range results {
		if r == nil {
			continue
		}
		run.Scenarios = append(run.Scenarios, *r)
		switch r.Status {
		case result.Passed:
			run.Passed++
		case result.Failed:
			run.Failed++
		case result.Error:
			run.Errors++
		case result.Skipped:
			run.Skipped++
		}
	}
	return run
}

// verdict is the exit code of a run.
func verdict(run *result.Run) error {
	switch {
	case run.Interrupted:
		return &exit{codeInterrupted, errors.New("interrupted")}
	case run.Failed > 0:
		return &exit{code: codeFailed}
	case run.Errors > 0:
		for _, s := range run.Scenarios {
			if s.Status == result.Error && strings.Contains(s.Message, "nothing was tested") {
				return &exit{codeNothing, fmt.Errorf("%s: nothing was tested", s.Name)}
			}
		}
		return &exit{code: codeEnvironment}
	case run.Passed == 0:
		return &exit{codeNothing, errors.New("nothing was tested: every scenario was skipped")}
	}
	return nil
}

// emit writes the report and, to stdout, what was asked for.
func emit(s Streams, o runOptions, run *result.Run) error {
	if o.out != "" {
		formats := []string{"json", "junit", "markdown", "html", "tap", "badge"}
		if o.junit == "step" {
			formats[1] = "junit-step"
		}
		if err := reports.Write(o.out, run, formats...); err != nil {
			return err
		}
	}
	switch o.output {
	case "json", "tap":
		render := reports.JSON
		if o.output == "tap" {
			render = reports.TAP
		}
		data, err := render(run)
		if err != nil {
			return err
		}
		_, err = s.Out.Write(data)
		return err
	case "table":
		fmt.Fprintf(s.Out, "%s: %s\n", o.env, reports.Verdict(run))
		if run.Comparison != nil {
			fmt.Fprint(s.Out, reports.Divergence(run.Comparison))
		}
		if o.out != "" {
			fmt.Fprintf(s.Out, "report: %s/%s\n", o.out, reports.HTMLFile)
		}
	}
	return nil // jsonl went out line by line
}
