package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/windtunnel-mesh/windtunnel/reports"
	"github.com/windtunnel-mesh/windtunnel/reports/benchpage"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/reports/stat"
)

// benchReportFlags are the flags of `bench report`.
type benchReportFlags struct {
	base    string
	history string
	out     string
}

func newBenchReportCommand(s Streams) *cobra.Command {
	var f benchReportFlags
	c := &cobra.Command{
		Use:   "report [DIR|FILE]...",
		Short: "Draw benchmarks as one HTML file: costs, latencies, a comparison, the trend",
		Long: "Reads benchmark files (or their folders) and writes one HTML file that needs no network. With --base, the\n" +
			"first file is compared with another build's; with --history, the trend over the builds of a history file is drawn.",
		Example: "  windtunnel bench report out/bench --base main/bench.json --history history.jsonl --out page.html",
		RunE:    func(_ *cobra.Command, args []string) error { return benchReport(s, args, f) },
	}
	c.Flags().StringVar(&f.base, "base", "", "benchmark `file` of the build that the first one is compared with")
	c.Flags().StringVar(&f.history, "history", "", "history `file` of `bench compare`")
	c.Flags().StringVar(&f.out, "out", "bench.html", "`file` to write")
	return c
}

func benchReport(s Streams, paths []string, f benchReportFlags) error {
	var in benchpage.Input
	for _, path := range paths {
		b, err := reports.ReadBenchmark(path)
		if err != nil {
			return &exit{codeUsage, err}
		}
		in.Runs = append(in.Runs, benchpage.Run{Name: path, Benchmark: b})
	}
	if f.base != "" {
		if len(in.Runs) == 0 {
			return &exit{codeUsage, errors.New("--base: which benchmark is to be compared with it?")}
		}
		base, err := reports.ReadBenchmark(f.base)
		if err != nil {
			return &exit{codeUsage, err}
		}
		in.Base, in.New = base, in.Runs[0].Benchmark
		if in.Comparison = stat.Compare(in.Base, in.New, stat.Options{}); len(in.Comparison.Rows) == 0 && len(in.Comparison.Broken) == 0 {
			return &exit{codeNothing, fmt.Errorf("nothing was compared: %s and %s have no configuration with samples in common", f.base, paths[0])}
		}
	}
	if f.history != "" {
		var err error
		if in.History, err = reports.ReadHistory(f.history); err != nil {
			return &exit{codeUsage, err}
		}
	}
	if len(in.Runs) == 0 && len(in.History) == 0 {
		return &exit{codeUsage, errors.New("nothing to draw: name a benchmark's folder or file, or --history FILE")}
	}
	if err := writePage(f.out, in); err != nil {
		return &exit{codeEnvironment, err}
	}
	fmt.Fprintln(s.Out, f.out)
	return nil
}

// drawRuns writes the page of `bench run`: two builds are compared on it.
func drawRuns(path string, found []*result.Benchmark) error {
	in := benchpage.Input{Runs: []benchpage.Run{{Name: "This build", Benchmark: found[0]}}}
	if len(found) > 1 {
		if c := stat.Compare(found[1], found[0], stat.Options{}); len(c.Rows) > 0 {
			in.Comparison, in.Base, in.New = c, found[1], found[0]
		}
		in.Runs = append(in.Runs, benchpage.Run{Name: "The base", Benchmark: found[1]})
	}
	return writePage(path, in)
}

func writePage(path string, in benchpage.Input) error {
	data, err := benchpage.Render(in)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}
