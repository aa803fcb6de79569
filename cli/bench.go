package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/windtunnel-mesh/windtunnel/bench"
	"github.com/windtunnel-mesh/windtunnel/reports"
	"github.com/windtunnel-mesh/windtunnel/reports/benchpage"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/reports/stat"
)

func newBenchCommand(s Streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure what the mesh costs, and whether it got slower",
		RunE:  groupOnly,
	}
	c.AddCommand(newBenchRunCommand(s), newBenchCompareCommand(s), newBenchReportCommand(s), newBenchReverseProxyCommand())
	return c
}

// compareFlags are the flags of `bench compare`.
type compareFlags struct {
	output   string
	alpha    float64
	relative float64
	failOn   string
	all      bool
	annotate bool
	history  string
	confirm  []string
	out      string
}

func newBenchCompareCommand(s Streams) *cobra.Command {
	var f compareFlags
	c := &cobra.Command{
		Use:   "compare BASE NEW",
		Short: "Say whether a build got slower than another, beyond doubt",
		Long: "Pairs the configurations of two benchmark files (or their folders) and asks of each metric whether it\n" +
			"changed: a test over all questions together (Holm; by rounds where both were measured in turn, else\n" +
			"Mann-Whitney's), an interval, and a change above a relative and an absolute floor. Exits with 4 where something got worse beyond doubt.",
		Example: "  windtunnel bench compare main.json branch.json -o markdown",
		Args:    cobra.ExactArgs(2),
		RunE:    func(c *cobra.Command, args []string) error { return compare(c.Context(), s, args[0], args[1], f) },
	}
	flags := c.Flags()
	flags.StringVarP(&f.output, "output", "o", "table", "table, json, markdown or benchfmt")
	flags.Float64Var(&f.alpha, "alpha", stat.DefaultAlpha, "chance of one false alarm in the whole comparison")
	flags.Float64Var(&f.relative, "threshold", stat.DefaultRelative, "smallest change that matters, as a part of the base")
	flags.StringVar(&f.failOn, "fail-on", "", "regular expression of the metrics that may fail the comparison (default: all that have a better direction)")
	flags.BoolVar(&f.all, "all", false, "show the rows without a change, too")
	flags.BoolVar(&f.annotate, "annotate", os.Getenv("GITHUB_ACTIONS") == "true", "write annotations for GitHub Actions to stderr")
	flags.StringSliceVar(&f.confirm, "confirm", nil, "`BASE_DIR,NEW_DIR` with the programs of both builds: measure what got worse a second time, interleaved, before failing")
	flags.StringVar(&f.out, "out", "", "draw the comparison: an HTML `file`")
	flags.StringVar(&f.history, "history", "", "append NEW's medians to this file, a JSON line per build")
	return c
}

func compare(ctx context.Context, s Streams, basePath, newPath string, f compareFlags) error {
	options, err := f.options()
	if err != nil {
		return &exit{codeUsage, err}
	}
	base, err := reports.ReadBenchmark(basePath)
	if err != nil {
		return &exit{codeUsage, err}
	}
	next, err := reports.ReadBenchmark(newPath)
	if err != nil {
		return &exit{codeUsage, err}
	}
	c := stat.Compare(base, next, options)
	if len(c.Rows) == 0 && len(c.Broken) == 0 {
		return &exit{codeNothing, fmt.Errorf("nothing was compared: %s and %s have no configuration with samples in common", basePath, newPath)}
	}
	if len(f.confirm) > 0 && len(c.Regressions()) > 0 {
		second, err := confirm(ctx, s, c, next, f.confirm)
		if err != nil {
			return err
		}
		c.Confirm(stat.Compare(second[0], second[1], options))
	}
	if err := writeComparison(s, c, base, next, f); err != nil {
		return err
	}
	if f.history != "" {
		if err := appendHistory(f.history, next); err != nil {
			return &exit{codeEnvironment, err}
		}
	}
	if f.out != "" {
		if err := drawComparison(f, c, base, next); err != nil {
			return &exit{codeEnvironment, err}
		}
	}
	fmt.Fprintln(s.Err, reports.ComparisonVerdict(c))
	if len(c.Regressions()) > 0 {
		return &exit{codeRegression, nil}
	}
	if len(c.Broken) > 0 {
		return &exit{codeNothing, nil}
	}
	return nil
}

// options checks the flags.
func (f compareFlags) options() (stat.Options, error) {
	o := stat.Options{Alpha: f.alpha, Relative: f.relative}
	switch f.output {
	case "table", "json", "markdown", "benchfmt":
	default:
		return o, fmt.Errorf("-o %q: expected table, json, markdown or benchfmt", f.output)
	}
	if f.alpha <= 0 || f.alpha >= 1 {
		return o, fmt.Errorf("--alpha %v: expected a chance between 0 and 1", f.alpha)
	}
	if f.relative <= 0 {
		return o, fmt.Errorf("--threshold %v: expected a part above 0, 0.05 is five percent", f.relative)
	}
	if len(f.confirm) != 0 && len(f.confirm) != 2 {
		return o, fmt.Errorf("--confirm %s: expected two folders, BASE_DIR,NEW_DIR", strings.Join(f.confirm, ","))
	}
	if f.failOn != "" {
		re, err := regexp.Compile("^(?:" + f.failOn + ")$")
		if err != nil {
			return o, fmt.Errorf("--fail-on: %w", err)
		}
		o.FailOn = re.MatchString
	}
	return o, nil
}

// confirm measures the configurations that got worse a second time, both builds in turn,
// as often and as long as the first time.
func confirm(ctx context.Context, s Streams, c *stat.Comparison, next *result.Benchmark, dirs []string) ([]*result.Benchmark, error) {
	plan := bench.Plan{WarmUp: defaultWarmUp, Pin: next.Machine.Pinned, Progress: benchProgress(s)}
	var err error
	if plan.ReverseProxy, err = reverseProxy(); err != nil {
		return nil, &exit{codeEnvironment, err}
	}
	for i := range next.Configurations {
		of := &next.Configurations[i]
		if slices.ContainsFunc(c.Regressions(), func(r stat.Row) bool { return r.Configuration == of.Name }) {
			plan.Again = append(plan.Again, *of)
			plan.Repeat = max(plan.Repeat, len(of.Samples))
			plan.Duration = max(plan.Duration, time.Duration(of.Samples[0].Seconds*float64(time.Second)).Round(100*time.Millisecond))
		}
	}
	for i, name := range []string{"base", "new"} {
		b, err := bench.OpenBuild(name, dirs[i])
		if err != nil {
			return nil, &exit{codeEnvironment, err}
		}
		plan.Builds = append(plan.Builds, b)
	}
	fmt.Fprintf(s.Err, "measuring %d configurations again\n", len(plan.Again))
	return runBench(ctx, plan)
}

func writeComparison(s Streams, c *stat.Comparison, base, next *result.Benchmark, f compareFlags) error {
	var data []byte
	var err error
	switch f.output {
	case "table":
		data = reports.ComparisonTable(c, f.all)
	case "json":
		data, err = reports.ComparisonJSON(c)
	case "markdown":
		data = reports.ComparisonMarkdown(c)
	case "benchfmt":
		data = reports.Benchfmt(map[string]*result.Benchmark{"base": base, "new": next}, "base", "new")
	}
	if err == nil {
		_, err = s.Out.Write(data)
	}
	if err == nil && f.annotate {
		_, err = s.Err.Write(reports.Annotations(c))
	}
	if err != nil {
		return &exit{codeEnvironment, err}
	}
	return nil
}

// drawComparison writes the page; a history that was appended to is on it.
func drawComparison(f compareFlags, c *stat.Comparison, base, next *result.Benchmark) error {
	in := benchpage.Input{Comparison: c, Base: base, New: next, Runs: []benchpage.Run{{Name: "The new build", Benchmark: next}}}
	if f.history != "" {
		var err error
		if in.History, err = reports.ReadHistory(f.history); err != nil {
			return err
		}
	}
	return writePage(f.out, in)
}

// appendHistory adds a line for one build: the file grows by a line per commit, and
// the trend page reads it.
func appendHistory(path string, b *result.Benchmark) error {
	line, err := json.Marshal(stat.Entry(b))
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n'))
	if closed := file.Close(); err == nil {
		err = closed
	}
	return err
}
