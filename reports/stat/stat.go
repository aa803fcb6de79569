// Package stat compares two benchmarks honestly: it says that something got slower
// only where chance is a bad explanation and the change is large enough to matter,
// and that there are too few samples where that is the truth.
//
// What comes in are two result.Benchmark, what goes out is a Comparison: data for
// tables, pages and exit codes. The U-test and the summaries are golang.org/x/perf's.
package stat

import (
	"math"
	"sort"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// The defaults of Options.
const (
	DefaultAlpha    = 0.01
	DefaultRelative = 0.05
)

// Options say what is a regression.
type Options struct {
	// Alpha is the chance, over the whole comparison, of calling noise a change. 0: DefaultAlpha.
	Alpha float64
	// Relative is the smallest change that matters, as a part of the base. 0: DefaultRelative.
	Relative float64
	// FailOn tells whether a metric may fail the comparison. nil: every metric that has a better direction.
	FailOn func(metric string) bool
	Seed   uint64
}

// Verdict is what a row says.
type Verdict string

// The verdicts.
const (
	Regression  Verdict = "regression"
	Improvement Verdict = "improvement"
	Same        Verdict = "same"      // no change that is both sure and large enough
	Undecided   Verdict = "undecided" // a change that would matter, and too few samples to tell
	Changed     Verdict = "changed"   // an exact metric that has no better direction
	Watched     Verdict = ""          // a metric that cannot fail
)

// Comparison of two benchmarks.
type Comparison struct {
	Base      result.Build   `json:"base"`
	New       result.Build   `json:"new"`
	Machine   result.Machine `json:"machine"`
	Alpha     float64        `json:"alpha"`
	Relative  float64        `json:"relative"`
	Rows      []Row          `json:"rows"` // by configuration and metric
	Means     []Mean         `json:"means"`
	Unpaired  []string       `json:"unpaired,omitempty"` // configurations of one file only, or without a result
	Broken    []Broken       `json:"broken,omitempty"`   // configurations that the new build does not serve any more
	Warnings  []string       `json:"warnings,omitempty"`
	Confirmed bool           `json:"confirmed,omitempty"` // its regressions were measured a second time
}

// Broken is a configuration that the base has results of, and of which no sample of the
// new build is one.
type Broken struct {
	Configuration string `json:"configuration"`
	Why           string `json:"why"`
}

// Row is one metric of one configuration.
type Row struct {
	Configuration string        `json:"configuration"`
	Metric        result.Metric `json:"metric"`
	Base          Summary       `json:"base"`
	New           Summary       `json:"new"`
	// Change is New/Base - 1 of the medians; Low and High are its interval at 1 - alpha, by bootstrap.
	Change float64 `json:"change"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	// Pairs is the number of rounds in which both builds were measured in turn. 0: they
	// were not, or the metric is exact. Where there are, Change, Low and High are of the rounds' own changes.
	Pairs int `json:"pairs,omitempty"`
	// P is the signed rank test's where there are pairs, else the U-test's; Adjusted is what is left of it after the number of questions asked (Holm).
	P        float64 `json:"p"`
	Adjusted float64 `json:"adjusted"`
	Verdict  Verdict `json:"verdict"`
	Note     string  `json:"note,omitempty"`
}

// Summary is the median of a sample and its interval.
type Summary struct {
	N      int     `json:"n"`
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Spread float64 `json:"spread"` // interquartile range over the median
}

// Mean is the geometric mean of New/Base over all configurations that have a metric, where there are several.
type Mean struct {
	Metric string  `json:"metric"`
	Ratio  float64 `json:"ratio"`
	N      int     `json:"n"`
}

// Compare pairs the configurations of two benchmarks by name and asks of each
// metric whether it changed.
func Compare(base, next *result.Benchmark, o Options) *Comparison {
	o = o.defaults()
	c := &Comparison{Base: base.Build, New: next.Build, Machine: next.Machine, Alpha: o.Alpha, Relative: o.Relative}
	c.Warnings = differences(base, next)
	metrics := metricsOf(base, next)
	others := make(map[string]*result.Configuration, len(next.Configurations))
	for i := range next.Configurations {
		others[next.Configurations[i].Name] = &next.Configurations[i]
	}
	seen := map[string]bool{}
	together := interleaved(base, next)
	random := seed.New(o.Seed).Sub("bootstrap")
	for i := range base.Configurations {
		b := &base.Configurations[i]
		seen[b.Name] = true
		n := others[b.Name]
		rows := 0
		for _, m := range metrics {
			if n == nil {
				break
			}
			if len(b.Values(m.Name)) == 0 || len(n.Values(m.Name)) == 0 {
				continue
			}
			rows++
			c.Rows = append(c.Rows, o.row(b, n, m, together, random.Sub(b.Name+" "+m.Name)))
		}
		switch {
		case rows > 0:
		case n != nil && b.WithoutResult() == "" && len(n.Samples) > 0 && n.WithoutResult() != "":
			c.Broken = append(c.Broken, Broken{b.Name, n.WithoutResult()})
		default:
			c.Unpaired = append(c.Unpaired, b.Name)
		}
	}
	for _, n := range next.Configurations {
		if !seen[n.Name] {
			c.Unpaired = append(c.Unpaired, n.Name)
		}
	}
	sort.Strings(c.Unpaired)
	o.judge(c.Rows)
	c.Means = means(metrics, c.Rows)
	return c
}

func (o Options) defaults() Options {
	if o.Alpha == 0 {
		o.Alpha = DefaultAlpha
	}
	if o.Relative == 0 {
		o.Relative = DefaultRelative
	}
	if o.FailOn == nil {
		o.FailOn = func(string) bool { return true }
	}
	return o
}

// Regressions are the rows that fail the comparison.
func (c *Comparison) Regressions() []Row { return c.with(Regression) }

// Undecided are the rows that more samples would decide.
func (c *Comparison) Undecided() []Row { return c.with(Undecided) }

// Improvements are the rows that got better beyond doubt.
func (c *Comparison) Improvements() []Row { return c.with(Improvement) }

// Changes are the rows of what is exact, has no better direction, and is another now.
func (c *Comparison) Changes() []Row { return c.with(Changed) }

func (c *Comparison) with(v Verdict) []Row {
	var rows []Row
	for _, r := range c.Rows {
		if r.Verdict == v {
			rows = append(rows, r)
		}
	}
	return rows
}

// Confirm holds a second comparison of the same builds against the first: what did
// not come back was noise.
func (c *Comparison) Confirm(second *Comparison) {
	again := map[string]bool{}
	for _, r := range second.Regressions() {
		again[r.Configuration+" "+r.Metric.Name] = true
	}
	for i := range c.Rows {
		r := &c.Rows[i]
		if r.Verdict == Regression && !again[r.Configuration+" "+r.Metric.Name] {
			r.Verdict, r.Note = Same, "a second run did not confirm it"
		}
	}
	c.Confirmed = true
}

// metricsOf are the metrics of both files, the newer file's word counting.
func metricsOf(base, next *result.Benchmark) []result.Metric {
	known := map[string]result.Metric{}
	for _, b := range []*result.Benchmark{base, next} {
		for _, m := range b.Metrics {
			known[m.Name] = m
		}
	}
	metrics := make([]result.Metric, 0, len(known))
	for _, m := range known {
		metrics = append(metrics, m)
	}
	sort.Slice(metrics, func(i, j int) bool { return metrics[i].Name < metrics[j].Name })
	return metrics
}

// differences warns of two files that were not measured alike.
func differences(base, next *result.Benchmark) []string {
	var warnings []string
	for _, d := range []struct{ what, base, new string }{
		{"processor", base.Machine.CPU, next.Machine.CPU},
		{"kernel", base.Machine.Kernel, next.Machine.Kernel},
		{"governor", base.Machine.Governor, next.Machine.Governor},
		{"Go version", base.Build.Go, next.Build.Go},
	} {
		if d.base != d.new {
			warnings = append(warnings, "the "+d.what+" differs: "+quote(d.base)+" and "+quote(d.new)+"; measure both builds on one machine, interleaved")
		}
	}
	return warnings
}

func quote(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// means are the geometric means of the ratios, metric by metric. A zero or negative
// value has no logarithm: such a configuration is left out.
func means(metrics []result.Metric, rows []Row) []Mean {
	var all []Mean
	for _, m := range metrics {
		sum, n := 0.0, 0
		for _, r := range rows {
			if r.Metric.Name == m.Name && r.Base.Median > 0 && r.New.Median > 0 {
				sum += math.Log(r.New.Median / r.Base.Median)
				n++
			}
		}
		if n > 1 { // of one it is that one
			all = append(all, Mean{Metric: m.Name, Ratio: math.Exp(sum / float64(n)), N: n})
		}
	}
	return all
}
