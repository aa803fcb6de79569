package benchpage

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/reports"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/reports/stat"
)

// compared is the section about two builds.
type compared struct {
	Base, New []fact
	Common    string        // to all configurations' names
	Rows      []comparedRow // those with a verdict
	Others    []comparedRow
	Means     []fact
	Warnings  []string
	Unpaired  []string
	Rule      string
	Groups    []group
	Notes     []string // what rows say, each once
}

type comparedRow struct {
	Verdict, Configuration, Metric string
	Base, New, Change, Interval, P string
}

func compare(in Input) *compared {
	c := in.Comparison
	out := &compared{Base: facts(in.Base), New: facts(in.New), Unpaired: c.Unpaired}
	for _, b := range c.Broken {
		out.Warnings = append(out.Warnings, "the new build has no result of "+b.Configuration+", of which the base has some: "+b.Why)
	}
	out.Warnings = append(out.Warnings, c.Warnings...)
	out.Rule = fmt.Sprintf("A change counts if chance explains it with less than %g over all questions together, if its interval (at %g %%) has no zero, and if it is above %g %% and above the metric's floor.",
		c.Alpha, 100*(1-c.Alpha), 100*c.Relative)
	if c.Confirmed {
		out.Rule += " What got worse was measured a second time."
	}
	short := reports.Shorten(c.Rows)
	out.Common = reports.CommonParts(c.Rows)
	var told, rest []stat.Row
	for _, r := range c.Rows {
		row := comparedRow{Verdict: string(r.Verdict), Configuration: short(r.Configuration), Metric: r.Metric.Name, P: strconv.FormatFloat(r.Adjusted, 'g', 2, 64),
			Base: reports.Quantity(r.Base.Median, r.Metric.Unit), New: reports.Quantity(r.New.Median, r.Metric.Unit), Change: signed(r.Change), Interval: signed(r.Low) + " … " + signed(r.High)}
		if r.Note != "" && !slices.Contains(out.Notes, r.Note) {
			out.Notes = append(out.Notes, r.Note)
		}
		if r.Metric.Exact {
			row.Interval, row.P = "exact", ""
		}
		if r.Verdict == stat.Same || r.Verdict == stat.Watched {
			out.Others = append(out.Others, row)
			rest = append(rest, r)
			continue
		}
		out.Rows = append(out.Rows, row)
		told = append(told, r)
	}
	for _, m := range c.Means {
		out.Means = append(out.Means, fact{m.Metric, fmt.Sprintf("%s over %d", signed(m.Ratio-1), m.N)})
	}
	out.Groups = append(out.Groups, split("Changes and their intervals", "The change of the medians from the base to the new build. The grey field is what does not matter.", forests(c)))
	slices.SortStableFunc(told, byVerdict)
	var strips []figure
	for _, r := range slices.Concat(told, interesting(rest)) {
		f := strip(in, r)
		f.About = short(r.Configuration)
		strips = append(strips, f)
	}
	out.Groups = append(out.Groups, split("The samples", "Each dot is a sample, the curve their density, the stroke the median with its interval; above the base, below the new build.", strips))
	return out
}

// byVerdict puts what got worse before what is open, and that before what got better.
func byVerdict(a, b stat.Row) int {
	rank := map[stat.Verdict]int{stat.Regression: 0, stat.Undecided: 1, stat.Changed: 2, stat.Improvement: 3}
	return rank[a.Verdict] - rank[b.Verdict]
}

// interesting are rows without a verdict that somebody will look for; every sample of
// every metric would be a file of megabytes.
func interesting(rows []stat.Row) []stat.Row {
	var kept []stat.Row
	for _, r := range rows {
		if r.Verdict == stat.Same && !r.Metric.Exact && len(kept) < 48 {
			kept = append(kept, r)
		}
	}
	return kept
}

func signed(change float64) string {
	if math.Abs(change) > 1e6 {
		return "from 0"
	}
	return fmt.Sprintf("%+.1f %%", 100*change)
}

// forests are a chart for each metric: a row for each configuration.
func forests(c *stat.Comparison) []figure {
	var order []string
	rows := map[string][]stat.Row{}
	for _, r := range c.Rows {
		if r.Metric.Better == "" || r.Metric.Exact {
			continue
		}
		if rows[r.Metric.Name] == nil {
			order = append(order, r.Metric.Name)
		}
		rows[r.Metric.Name] = append(rows[r.Metric.Name], r)
	}
	var figures []figure
	for _, name := range order {
		if !slices.ContainsFunc(rows[name], func(r stat.Row) bool { return r.Low != 0 || r.High != 0 }) {
			continue // the same everywhere, as errors are where there are none
		}
		figures = append(figures, forest(name, rows[name], c.Relative))
	}
	return figures
}

func forest(name string, rows []stat.Row, relative float64) figure {
	const row = 30.0
	values := []float64{-2 * relative, 2 * relative}
	for _, r := range rows {
		if math.Abs(r.Change) < 10 { // an interval may be cut off, its middle not
			reach := max(3*math.Abs(r.Change), 4*relative)
			values = append(values, max(r.Low, -reach), min(r.High, reach), r.Change)
		}
	}
	x := over(values, "", false)
	x.label = func(v float64) string { return fmt.Sprintf("%+.3g %%", math.Round(1000*v)/10) }
	c := newChart("Change of "+name, x, axis{}, 12+36+row*float64(len(rows)), nil)
	fmt.Fprintf(&c.body, `<rect class="indifferent" x="%s" y="%s" width="%s" height="%s"/>`, n(c.px(-relative)), n(c.top), n(c.px(relative)-c.px(-relative)), n(c.bottom-c.top))
	better := "lower is better"
	if rows[0].Metric.Better == result.Higher {
		better = "higher is better"
	}
	c.xAxis("change; " + better)
	fmt.Fprintf(&c.body, `<path class="zero" d="M%s %sV%s"/>`, n(c.px(0)), n(c.top), n(c.bottom))
	data := newSheet("configuration", "verdict", "base", "new", "change", "low", "high", "p", "adjusted")
	short := reports.Shorten(rows)
	for i, r := range rows {
		y := c.top + row*float64(i)
		c.text("label", left, y+12, short(r.Configuration))
		fmt.Fprintf(&c.body, `<g class="verdict %s"><path class="interval" d="M%s %sH%s"/><circle cx="%s" cy="%s" r="4"><title>%s</title></circle></g>`,
			word(r.Verdict), n(c.px(r.Low)), n(y+20), n(c.px(r.High)), n(c.px(r.Change)), n(y+20), template.HTMLEscapeString(word(r.Verdict)+": "+signed(r.Change)+", "+signed(r.Low)+" … "+signed(r.High)))
		data.add(r.Configuration, word(r.Verdict), g(r.Base.Median), g(r.New.Median), g(r.Change), g(r.Low), g(r.High), g(r.P), g(r.Adjusted))
	}
	return figure{Title: name, About: rows[0].Metric.About, SVG: template.HTML(c.svg()), CSV: data.String()}
}

func word(v stat.Verdict) string {
	if v == stat.Watched {
		return "watched"
	}
	return string(v)
}

// strip draws the samples of both builds on one axis.
func strip(in Input, r stat.Row) figure {
	base, next := valuesOf(in.Base, r), valuesOf(in.New, r)
	c := newChart(r.Metric.Name+" of "+r.Configuration, over(slices.Concat(base, next), r.Metric.Unit, false), axis{}, 178, nil)
	c.xAxis(r.Metric.Name)
	data := newSheet("build", "sample", r.Metric.Name)
	for i, lane := range []struct {
		name    string
		values  []float64
		summary stat.Summary
	}{{"base", base, r.Base}, {"new", next, r.New}} {
		y := c.top + 48 + 64*float64(i)
		c.text("tick end", left-8, y+4, lane.name)
		c.density(i, lane.values, y, 40)
		for k, v := range lane.values {
			c.dot(i, c.px(v), y+5, 3.2, fmt.Sprintf("sample %d: %s", k+1, reports.Quantity(v, r.Metric.Unit)))
			data.add(lane.name, strconv.Itoa(k+1), g(v))
		}
		fmt.Fprintf(&c.body, `<g class="s%d"><path class="interval" d="M%s %sH%s"/><path class="median" d="M%s %sv16"/></g>`, i,
			n(c.px(lane.summary.Low)), n(y+5), n(c.px(lane.summary.High)), n(c.px(lane.summary.Median)), n(y-3))
	}
	return figure{Title: r.Metric.Name + ": " + word(r.Verdict) + ", " + signed(r.Change), SVG: template.HTML(c.svg()), CSV: data.String()}
}

func valuesOf(b *result.Benchmark, r stat.Row) []float64 {
	for i := range b.Configurations {
		if b.Configurations[i].Name == r.Configuration {
			return b.Configurations[i].Values(r.Metric.Name)
		}
	}
	return nil
}

// density draws the kernel density of values (Gaussian, Silverman's rule of thumb for
// its width) as a hill of some height on a line.
func (c *chart) density(i int, values []float64, y, height float64) {
	if len(values) < 3 {
		return
	}
	sorted := slices.Sorted(slices.Values(values))
	mean, square := 0.0, 0.0
	for _, v := range sorted {
		mean += v / float64(len(sorted))
	}
	for _, v := range sorted {
		square += (v - mean) * (v - mean) / float64(len(sorted)-1)
	}
	quarter := len(sorted) / 4
	spread := math.Sqrt(square)
	if between := (sorted[len(sorted)-1-quarter] - sorted[quarter]) / 1.34; between > 0 {
		spread = min(spread, between)
	}
	h := 0.9 * spread * math.Pow(float64(len(sorted)), -0.2)
	h = max(h, (c.x.high-c.x.low)/200) // samples that are all the same are a spike, not nothing
	const steps = 120
	hill := make([]float64, steps+1)
	top := 0.0
	for k := range hill {
		at := c.x.low + (c.x.high-c.x.low)*float64(k)/steps
		for _, v := range sorted {
			hill[k] += math.Exp(-(at - v) * (at - v) / (2 * h * h))
		}
		top = max(top, hill[k])
	}
	var path strings.Builder
	fmt.Fprintf(&path, "M%s %s", n(left), n(y))
	for k, v := range hill {
		fmt.Fprintf(&path, "L%s %s", n(left+(width-right-left)*float64(k)/steps), n(y-height*v/top))
	}
	fmt.Fprintf(&c.body, `<path class="band s%d" d="%sL%s %sZ"/>`, i%palette, path.String(), n(width-right), n(y))
}
