package cli

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/windtunnel-mesh/windtunnel/bench"
	"github.com/windtunnel-mesh/windtunnel/reports"
)

// benchProgress is a line per sample: rate, latency, errors, time left.
func benchProgress(s Streams) func(bench.Progress) {
	clear := ""
	if onTerminal(s) {
		clear = "\r\x1b[K"
	}
	return func(p bench.Progress) {
		fmt.Fprintf(s.Err, "%s%*d/%d  %-4s  %s  %s  %s left\n", clear, len(strconv.Itoa(p.Total)), p.Done, p.Total, p.Build,
			p.Configuration, reports.SampleLine(p.Suite, p.Metrics, p.Sample), p.Left.Round(time.Second))
	}
}

// benchLive is a line that changes while a load runs, on a terminal; nil elsewhere.
func benchLive(s Streams) func(bench.Live) {
	if !onTerminal(s) {
		return nil
	}
	return func(l bench.Live) { fmt.Fprint(s.Err, "\r\x1b[K"+liveLine(l)) }
}

func liveLine(l bench.Live) string {
	return fmt.Sprintf("%s  p50 %s  p99 %s  %d errors  %.1fs left", reports.Quantity(l.Rate, "req/s"), reports.Quantity(l.P50.Seconds(), "s"),
		reports.Quantity(l.P99.Seconds(), "s"), l.Errors, l.Left.Seconds())
}

func onTerminal(s Streams) bool {
	f, ok := s.Err.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
