package reports

import (
	"bytes"
	"cmp"
	"fmt"
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

// Table is a suite's medians as text.
type Table struct {
	Suite   string
	Columns []string
	Rows    []TableRow
}

// TableRow is a configuration's. One without a result has no cells.
type TableRow struct {
	Name    string // what tells it from the others
	Cells   []string
	N       int    // samples that are a result
	Without string // why there is no result
}

// Tables are a benchmark's, one for each suite; the load's has what each configuration
// adds to the one without sidecars.
func Tables(b *result.Benchmark) []Table {
	var all []Table
	for _, suite := range suites(b) {
		columns := loadColumns(b)
		if suite != "load" {
			columns = metricColumns(b, suite)
		}
		t := Table{Suite: suite}
		for _, c := range columns {
			t.Columns = append(t.Columns, c.title)
		}
		short := ShortNames(b, suite)
		for i := range b.Configurations {
			if c := &b.Configurations[i]; c.Suite == suite {
				t.Rows = append(t.Rows, tableRow(c, short(c), columns))
			}
		}
		all = append(all, t)
	}
	return all
}

func tableRow(c *result.Configuration, name string, columns []column) TableRow {
	r := TableRow{Name: name}
	for _, s := range c.Samples {
		if s.Invalid == "" {
			r.N++
		}
	}
	if r.N == 0 {
		r.Without = cmp.Or(c.Skipped, "no result: "+c.WithoutResult())
		return r
	}
	for _, column := range columns {
		r.Cells = append(r.Cells, column.value(c))
	}
	return r
}

// BenchmarkTable renders a benchmark's tables for a terminal.
func BenchmarkTable(b *result.Benchmark) []byte {
	var out bytes.Buffer
	for i, t := range Tables(b) {
		if i > 0 {
			fmt.Fprintln(&out)
		}
		w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
		fmt.Fprint(w, strings.ToUpper(t.Suite))
		for _, title := range t.Columns {
			fmt.Fprint(w, "\t", strings.ToUpper(title))
		}
		fmt.Fprintln(w, "\tN")
		for _, r := range t.Rows {
			if r.N > 0 {
				fmt.Fprintf(w, "%s\t%s\t%d\n", r.Name, strings.Join(r.Cells, "\t"), r.N)
			}
		}
		w.Flush()
		for _, r := range t.Rows { // below, where they do not break the columns
			if r.N == 0 {
				fmt.Fprintf(&out, "%s: %s\n", r.Name, r.Without)
			}
		}
	}
	for _, note := range b.Machine.Notes {
		fmt.Fprintln(&out, "note:", note)
	}
	return out.Bytes()
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
		{"req/s", func(c *result.Configuration) string { return median(c, "throughput", "") + median(c, "rate", "") }},
		value("p50", "latency-p50", "s"), value("p99", "latency-p99", "s"),
		{"added p50", func(c *result.Configuration) string { return added(b, c, "latency-p50") }},
		{"added p99", func(c *result.Configuration) string { return added(b, c, "latency-p99") }},
		value("cpu/req", "cpu-per-request", "s"), value("memory", "memory-private", "B"), value("errors", "errors", ""),
	}
}

// metricColumns has a column for every metric that a suite has.
func metricColumns(b *result.Benchmark, suite string) []column {
	var columns []column
	for _, m := range b.Metrics {
		has := func(c result.Configuration) bool { return c.Suite == suite && len(c.Values(m.Name)) > 0 }
		if slices.ContainsFunc(b.Configurations, has) {
			columns = append(columns, column{m.Name, func(c *result.Configuration) string { return median(c, m.Name, m.Unit) }})
		}
	}
	return columns
}

// ShortNames leaves out of a suite's names the parameters that all configurations share.
func ShortNames(b *result.Benchmark, suite string) func(*result.Configuration) string {
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
