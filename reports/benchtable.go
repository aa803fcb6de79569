package reports

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/reports/stat"
)

// column is one of a benchmark's table.
type column struct {
	title string
	value func(*result.Configuration) string
}

// BenchmarkTable renders medians for a terminal, a table for each suite; the load's
// has what each configuration adds to the one without sidecars.
func BenchmarkTable(b *result.Benchmark) []byte {
	var out bytes.Buffer
	for _, suite := range suites(b) {
		if out.Len() > 0 {
			fmt.Fprintln(&out)
		}
		columns := loadColumns(b)
		if suite != "load" {
			columns = metricColumns(b, suite)
		}
		writeTable(&out, b, suite, columns)
	}
	for _, note := range b.Machine.Notes {
		fmt.Fprintln(&out, "note:", note)
	}
	return out.Bytes()
}

func writeTable(out io.Writer, b *result.Benchmark, suite string, columns []column) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, strings.ToUpper(suite))
	for _, c := range columns {
		fmt.Fprint(w, "\t", c.title)
	}
	fmt.Fprintln(w, "\tN")
	short := shortNames(b, suite)
	for i := range b.Configurations {
		c := &b.Configurations[i]
		if c.Suite != suite {
			continue
		}
		n := len(c.Samples) - len(slices.DeleteFunc(slices.Clone(c.Samples), func(s result.Sample) bool { return s.Invalid == "" }))
		fmt.Fprint(w, short(c))
		if n == 0 {
			fmt.Fprintf(w, "\t%s\n", cmp.Or(c.Skipped, "no result"))
			continue
		}
		for _, column := range columns {
			fmt.Fprint(w, "\t", column.value(c))
		}
		fmt.Fprintf(w, "\t%d\n", n)
	}
	w.Flush()
}

// suites are those of a benchmark, in order of their names.
func suites(b *result.Benchmark) []string {
	var names []string
	for _, c := range b.Configurations {
		if !slices.Contains(names, c.Suite) {
			names = append(names, c.Suite)
		}
	}
	return slices.Sorted(slices.Values(names))
}

func loadColumns(b *result.Benchmark) []column {
	value := func(title, metric, unit string) column {
		return column{title, func(c *result.Configuration) string { return median(c, metric, unit) }}
	}
	return []column{
		{"REQ/S", func(c *result.Configuration) string { return median(c, "throughput", "") + median(c, "rate", "") }},
		value("P50", "latency-p50", "s"), value("P99", "latency-p99", "s"),
		{"ADDED P50", func(c *result.Configuration) string { return added(b, c, "latency-p50") }},
		{"ADDED P99", func(c *result.Configuration) string { return added(b, c, "latency-p99") }},
		value("CPU/REQ", "cpu-per-request", "s"), value("MEMORY", "memory-private", "B"), value("ERRORS", "errors", ""),
	}
}

// metricColumns has a column for every metric that a suite has.
func metricColumns(b *result.Benchmark, suite string) []column {
	var columns []column
	for _, m := range b.Metrics {
		has := func(c result.Configuration) bool { return c.Suite == suite && len(c.Values(m.Name)) > 0 }
		if slices.ContainsFunc(b.Configurations, has) {
			columns = append(columns, column{strings.ToUpper(m.Name), func(c *result.Configuration) string { return median(c, m.Name, m.Unit) }})
		}
	}
	return columns
}

// shortNames leaves out of a suite's names the parameters that all configurations share.
func shortNames(b *result.Benchmark, suite string) func(*result.Configuration) string {
	count := map[string]int{}
	total := 0
	for _, c := range b.Configurations {
		if c.Suite == suite {
			total++
			for part := range strings.SplitSeq(c.Name, "/") {
				count[part]++
			}
		}
	}
	return func(c *result.Configuration) string {
		var parts []string
		for part := range strings.SplitSeq(strings.TrimPrefix(c.Name, suite+"/"), "/") {
			if count[part] < total || total == 1 {
				parts = append(parts, part)
			}
		}
		return strings.Join(parts, "/")
	}
}

// SampleLine is one sample in a few words.
func SampleLine(suite string, metrics []result.Metric, s result.Sample) string {
	if s.Invalid != "" {
		return "no result: " + s.Invalid
	}
	m := s.Metrics
	if suite == "load" {
		return fmt.Sprintf("%s  p50 %s  p99 %s  errors %.1f %%", Quantity(m["throughput"]+m["rate"], "req/s"),
			Quantity(m["latency-p50"], "s"), Quantity(m["latency-p99"], "s"), 100*m["errors"])
	}
	var parts []string
	for _, metric := range metrics {
		if v, ok := m[metric.Name]; ok && metric.Better != "" {
			parts = append(parts, metric.Name+" "+Quantity(v, metric.Unit))
		}
	}
	return strings.Join(parts, "  ")
}

func median(c *result.Configuration, metric, unit string) string {
	values := c.Values(metric)
	if len(values) == 0 {
		return ""
	}
	return Quantity(stat.Median(values), unit)
}

// added is what a configuration's median has above the one that differs in having no sidecars.
func added(b *result.Benchmark, c *result.Configuration, metric string) string {
	base := Baseline(b, c)
	if base == nil || base == c || len(base.Values(metric)) == 0 {
		return ""
	}
	return plus(Quantity(stat.Median(c.Values(metric))-stat.Median(base.Values(metric)), "s"))
}

func plus(s string) string {
	if strings.HasPrefix(s, "-") {
		return s
	}
	return "+" + s
}
