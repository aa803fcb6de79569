// Package benchpage draws benchmarks: one HTML file that needs no network, with the
// cost of sidecars, latencies, a comparison of two builds and the trend over many.
//
// What comes in are benchmarks, a comparison and a history as they were read or
// computed; what goes out is the file. It measures and judges nothing itself.
package benchpage

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"fmt"
	"html/template"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/reports"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/reports/stat"
)

//go:embed page.html
var page string

//go:embed page.css
var style string

//go:embed page.js
var script string

// Input is what a page shows; any of its parts may be missing.
type Input struct {
	Runs []Run
	// Comparison is of Base and New, whose samples it shows.
	Comparison *stat.Comparison
	Base, New  *result.Benchmark
	History    []stat.HistoryEntry
}

// Run is a benchmark with the name of its file.
type Run struct {
	Name      string
	Benchmark *result.Benchmark
}

// figure is one chart.
type figure struct {
	ID, Title, About string
	SVG              template.HTML
	CSV              string
}

// group is some figures below one heading; the rest waits behind a click.
type group struct {
	Title, About string
	Figures      []figure
	More         []figure
}

// section is one benchmark.
type section struct {
	Name    string
	Facts   []fact
	Costs   []string // what sidecars add, in sentences
	Tables  []reports.Table
	Groups  []group
	Reasons []string // notes and samples that are no result
}

type fact struct{ Name, Value string }

// shownFigures of a group are seen at once; a large matrix makes dozens.
const shownFigures = 6

// Render makes the page.
func Render(in Input) ([]byte, error) {
	t, err := template.New("benchmark").Parse(page)
	if err != nil {
		return nil, err
	}
	data := struct {
		Title      string
		Bad        bool
		Sections   []section
		Comparison *compared
		Trend      []group
		CSV        map[string]string
		Style      template.CSS
		Script     template.JS
	}{Title: "Benchmark", CSV: map[string]string{}, Style: template.CSS(style), Script: template.JS(script)}
	for _, r := range in.Runs {
		s, err := describe(r)
		if err != nil {
			return nil, err
		}
		data.Sections = append(data.Sections, s)
	}
	if in.Comparison != nil {
		data.Comparison = compare(in)
		data.Title = "Comparison: " + reports.ComparisonVerdict(in.Comparison)
		data.Bad = len(in.Comparison.Regressions()) > 0
	}
	if len(in.History) > 0 {
		data.Trend = trend(in.History)
	}
	number := 0
	finish := func(groups []group) {
		for i := range groups {
			for _, list := range [][]figure{groups[i].Figures, groups[i].More} {
				for k := range list {
					number++
					list[k].ID = "f" + strconv.Itoa(number)
					data.CSV[list[k].ID] = list[k].CSV
				}
			}
		}
	}
	if data.Comparison != nil {
		finish(data.Comparison.Groups)
	}
	for i := range data.Sections {
		finish(data.Sections[i].Groups)
	}
	finish(data.Trend)
	var b bytes.Buffer
	err = t.Execute(&b, data)
	return b.Bytes(), err
}

// describe makes a benchmark's section.
func describe(r Run) (section, error) {
	b := r.Benchmark
	s := section{Name: r.Name, Facts: facts(b), Tables: reports.Tables(b), Costs: costs(b), Reasons: b.Machine.Notes}
	if b.Interrupted {
		s.Reasons = append(s.Reasons, "it was interrupted: there are fewer samples than were asked for")
	}
	latencies, err := latencyGroup(b)
	if err != nil {
		return s, fmt.Errorf("%s: %w", r.Name, err)
	}
	for _, g := range []group{proxyGroup(b), latencies, secondsGroup(b), suiteGroup(b, "search"), suiteGroup(b, "controlplane"), suiteGroup(b, "simulator")} {
		if len(g.Figures) > 0 {
			s.Groups = append(s.Groups, g)
		}
	}
	return s, nil
}

func facts(b *result.Benchmark) []fact {
	build := b.Build.Version
	if b.Build.Commit != "" {
		build = b.Build.Commit[:min(len(b.Build.Commit), 12)]
	}
	if b.Build.Dirty {
		build += " with changes"
	}
	all := []fact{{"build", build}, {"Go", strings.TrimPrefix(b.Build.Go, "go")}, {"processor", b.Machine.CPU}, {"cores", strconv.Itoa(b.Machine.Cores)},
		{"kernel", b.Machine.Kernel}, {"governor", b.Machine.Governor}, {"load average before", strconv.FormatFloat(b.Machine.LoadAverage, 'f', 1, 64)}, {"pinned", yesNo(b.Machine.Pinned)}}
	if b.Machine.MemoryBytes > 0 {
		all = append(all, fact{"memory", reports.Quantity(float64(b.Machine.MemoryBytes), "B")})
	}
	if at, err := time.Parse(time.RFC3339, b.Started); err == nil {
		all = append(all, fact{"started", at.UTC().Format("2006-01-02 15:04 UTC")})
	}
	all = append(all, fact{"took", time.Duration(b.WallSeconds * float64(time.Second)).Round(time.Second).String()})
	kept := all[:0]
	for _, f := range all {
		if f.Value != "" {
			kept = append(kept, f)
		}
	}
	return kept
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// costs says in sentences what both sidecars add where they were measured, for the
// configurations without policies and logs.
func costs(b *result.Benchmark) []string {
	var all []string
	short := reports.ShortNames(b, "load")
	for i := range b.Configurations {
		c := &b.Configurations[i]
		base := reports.Baseline(b, c)
		if c.Parameters["proxies"] != "both" || base == nil || len(c.Values("latency-p50")) == 0 || len(base.Values("latency-p50")) == 0 {
			continue
		}
		text := fmt.Sprintf("Sidecars at both ends add %s at the median and %s at the 99th percentile", above(c, base, "latency-p50"), above(c, base, "latency-p99"))
		if cpu := c.Values("cpu-per-request"); len(cpu) > 0 {
			text += fmt.Sprintf(", and take %s of processor time for a request", reports.Quantity(stat.Median(cpu), "s"))
		}
		if memory := c.Values("memory-private"); len(memory) > 0 {
			text += fmt.Sprintf(" and %s of memory", reports.Quantity(stat.Median(memory), "B"))
		}
		all = append(all, text+" ("+strings.TrimPrefix(strings.ReplaceAll(short(c), "/", ", "), "proxies=both, ")+").")
	}
	return all
}

// above is what a configuration's median has above another's, unless the other has
// samples that are as slow: that may be noise.
func above(c, base *result.Configuration, metric string) string {
	with, without := c.Values(metric), base.Values(metric)
	more := stat.Median(with) - stat.Median(without)
	if more <= 0 || slices.Max(without) >= stat.Median(with) {
		return "nothing that stands out of the noise"
	}
	return reports.Quantity(more, "s")
}

// split shows the first figures and keeps the rest for a click.
func split(title, about string, figures []figure) group {
	k := min(len(figures), shownFigures)
	return group{Title: title, About: about, Figures: figures[:k], More: figures[k:]}
}

// sheet collects the rows of a CSV file (RFC 4180).
type sheet struct {
	text   strings.Builder
	writer *csv.Writer
}

func newSheet(header ...string) *sheet {
	s := &sheet{}
	s.writer = csv.NewWriter(&s.text)
	s.add(header...)
	return s
}

func (s *sheet) add(cells ...string) {
	_ = s.writer.Write(cells) // cannot fail: into memory
}

func (s *sheet) String() string {
	s.writer.Flush()
	return s.text.String()
}

// g writes a number for a CSV file.
func g(v float64) string { return strconv.FormatFloat(v, 'g', 8, 64) }
