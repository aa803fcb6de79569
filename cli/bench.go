package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/windtunnel-mesh/windtunnel/reports"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/reports/stat"
)

func newBenchCommand(s Streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure what the mesh costs, and whether it got slower",
	}
	c.AddCommand(newBenchRunCommand(s), newBenchCompareCommand(s))
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
}

func newBenchCompareCommand(s Streams) *cobra.Command {
	var f compareFlags
	c := &cobra.Command{
		Use:   "compare BASE NEW",
		Short: "Say whether a build got slower than another, beyond doubt",
		Long: "Pairs the configurations of two benchmark files (or their folders) and asks of each metric whether it\n" +
			"changed: Mann-Whitney's U-test over all questions together (Holm), a bootstrap interval, and a change above\n" +
			"a relative and an absolute floor. Exits with 4 where something got worse beyond doubt.",
		Example: "  windtunnel bench compare main.json branch.json -o markdown",
		Args:    cobra.ExactArgs(2),
		RunE:    func(_ *cobra.Command, args []string) error { return compare(s, args[0], args[1], f) },
	}
	flags := c.Flags()
	flags.StringVarP(&f.output, "output", "o", "table", "table, json, markdown or benchfmt")
	flags.Float64Var(&f.alpha, "alpha", stat.DefaultAlpha, "chance of one false alarm in the whole comparison")
	flags.Float64Var(&f.relative, "threshold", stat.DefaultRelative, "smallest change that matters, as a part of the base")
	flags.StringVar(&f.failOn, "fail-on", "", "regular expression of the metrics that may fail the comparison (default: all that have a better direction)")
	flags.BoolVar(&f.all, "all", false, "show the rows without a change, too")
	flags.BoolVar(&f.annotate, "annotate", os.Getenv("GITHUB_ACTIONS") == "true", "write annotations for GitHub Actions to stderr")
	flags.StringVar(&f.history, "history", "", "append NEW's medians to this file, a JSON line per build")
	return c
}

func compare(s Streams, basePath, newPath string, f compareFlags) error {
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
	if len(c.Rows) == 0 {
		return &exit{codeNothing, fmt.Errorf("nothing was compared: %s and %s have no configuration with samples in common", basePath, newPath)}
	}
	if err := writeComparison(s, c, base, next, f); err != nil {
		return err
	}
	if f.history != "" {
		if err := appendHistory(f.history, next); err != nil {
			return &exit{codeEnvironment, err}
		}
	}
	fmt.Fprintln(s.Err, reports.ComparisonVerdict(c))
	if len(c.Regressions()) > 0 {
		return &exit{codeRegression, nil}
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
	if f.failOn != "" {
		re, err := regexp.Compile("^(?:" + f.failOn + ")$")
		if err != nil {
			return o, fmt.Errorf("--fail-on: %w", err)
		}
		o.FailOn = re.MatchString
	}
	return o, nil
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
