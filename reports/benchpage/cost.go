package benchpage

import (
	"fmt"
	"html"
	"html/template"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/reports"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/reports/stat"
)

// bar is a row of a bar chart: parts beside each other.
type bar struct {
	label string
	parts []float64 // by series; NaN: none
	text  string
}

// bars draws rows of stacked bars, each below its label.
func bars(name, unit string, rows []bar, keys []string) string {
	const row = 34.0
	var sums []float64
	for _, r := range rows {
		sum := 0.0
		for _, p := range r.parts {
			sum += p
		}
		sums = append(sums, sum*1.16) // room for the text behind it
	}
	x := over(append(sums, 0), unit, false).fromZero()
	x.low = 0
	c := newChart(name, x, axis{}, 12+36+row*float64(len(rows)), keys)
	c.xAxis("")
	for i, r := range rows {
		y, at := c.top+row*float64(i), 0.0
		c.text("label", left, y+12, r.label)
		for k, p := range r.parts {
			fmt.Fprintf(&c.body, `<g class="series" data-series="s%d"><rect class="bar s%d" x="%s" y="%s" width="%s" height="13"><title>%s</title></rect></g>`,
				k, k%palette, n(c.px(at)), n(y+16), n(max(c.px(at+p)-c.px(at), 0)), html.EscapeString(reports.Quantity(p, unit)))
			at += p
		}
		c.text("tick", c.px(at)+5, y+27, r.text)
	}
	return c.svg()
}

// proxyGroup has what every proxy takes of the processor and of the memory.
func proxyGroup(b *result.Benchmark) group {
	workloads := map[string]bool{}
	for _, c := range b.Configurations {
		for _, s := range c.Samples {
			for name := range s.Proxies {
				workloads[name] = true
			}
		}
	}
	names := slices.Sorted(maps.Keys(workloads))
	var figures []figure
	for _, f := range []struct{ title, metric, unit string }{
		{"Processor time for a request", "cpu-per-request", "s"},
		{"Memory (heap and stacks)", "memory-private", "B"},
	} {
		if figure, ok := proxyBars(b, f.title, f.metric, f.unit, names); ok {
			figures = append(figures, figure)
		}
	}
	return group{Title: "What the proxies take", About: "Medians over the samples, as the operating system counts, proxy by proxy.", Figures: figures}
}

func proxyBars(b *result.Benchmark, title, metric, unit string, names []string) (figure, bool) {
	short := reports.ShortNames(b, "load")
	var rows []bar
	data := newSheet("configuration", "proxy", metric)
	for i := range b.Configurations {
		c := &b.Configurations[i]
		if c.Suite != "load" {
			continue // a search ends at any rate: what its proxies took compares with nothing
		}
		r := bar{label: short(c), parts: make([]float64, len(names))}
		sum := 0.0
		for k, name := range names {
			var values []float64
			for _, s := range c.Samples {
				if v, ok := s.Proxies[name][metric]; ok && s.Invalid == "" {
					values = append(values, v)
				}
			}
			if len(values) > 0 {
				r.parts[k] = stat.Median(values)
				sum += r.parts[k]
				data.add(c.Name, name, g(r.parts[k]))
			}
		}
		if sum > 0 {
			r.text = reports.Quantity(sum, unit)
			rows = append(rows, r)
		}
	}
	return figure{Title: title, SVG: template.HTML(bars(title, unit, rows, names)), CSV: data.String()}, len(rows) > 0
}

// suiteGroup has a bar chart for every metric of a suite that has a better direction.
func suiteGroup(b *result.Benchmark, suite string) group {
	var figures []figure
	short := reports.ShortNames(b, suite)
	for _, m := range b.Metrics {
		var rows []bar
		data := newSheet("configuration", m.Name)
		for i := range b.Configurations {
			c := &b.Configurations[i]
			if values := c.Values(m.Name); c.Suite == suite && len(values) > 0 && m.Better != "" {
				v := stat.Median(values)
				rows = append(rows, bar{label: short(c), parts: []float64{v}, text: reports.Quantity(v, m.Unit)})
				data.add(c.Name, g(v))
			}
		}
		if len(rows) > 0 {
			figures = append(figures, figure{Title: m.Name, About: m.About, SVG: template.HTML(bars(m.Name, m.Unit, rows, nil)), CSV: data.String()})
		}
	}
	title := map[string]string{"search": "The highest rates", "controlplane": "The control plane", "simulator": "The simulator"}[suite]
	return split(title, "Medians over the samples.", figures)
}

// family is the configurations that differ in nothing but the place of sidecars, or
// of what stands there.
type family struct {
	name    string
	members []*result.Configuration
	labels  []string
}

// families are those of the load suite, in order of their names.
func families(b *result.Benchmark) []family {
	short := reports.ShortNames(b, "load")
	var all []family
	at := map[string]int{}
	for i := range b.Configurations {
		c := &b.Configurations[i]
		if c.Suite != "load" || len(c.Samples) == 0 {
			continue
		}
		key := c.Parameters["topology"] + " " + c.Parameters["protocol"] + " " + c.Parameters["payload"] + " " + c.Parameters["connections"] + " " + c.Parameters["qps"]
		k, ok := at[key]
		if !ok {
			k = len(all)
			at[key] = k
			all = append(all, family{})
		}
		f := &all[k]
		f.members = append(f.members, c)
		var own, common []string
		for part := range strings.SplitSeq(short(c), "/") {
			name, value, _ := strings.Cut(part, "=")
			switch name {
			case "topology", "protocol", "payload", "connections", "qps":
				common = append(common, strings.Replace(part, "=", " ", 1))
			case "proxies":
				own = append(own, value)
			default:
				own = append(own, part)
			}
		}
		f.labels = append(f.labels, strings.Join(own, " "))
		f.name = strings.Join(common, ", ")
	}
	for i := range all {
		if all[i].name == "" {
			all[i].name = "all"
		}
	}
	return all
}

// latencyGroup has the percentile curves of every family.
func latencyGroup(b *result.Benchmark) (group, error) {
	var figures []figure
	for _, f := range families(b) {
		drawn, err := percentiles(f)
		if err != nil {
			return group{}, err
		}
		if drawn.SVG != "" {
			figures = append(figures, drawn)
		}
	}
	return split("Latency", "From the intended start of a call, all samples together. To the right of 99 % is one call in a hundred, and so on.", figures), nil
}

// percentiles draws latency over the percentile, where each nine takes as much room.
func percentiles(f family) (figure, error) {
	lines := make([][]point, len(f.members))
	var all []float64
	nines := 1.0
	data := newSheet("configuration", "percentile", "seconds")
	for i, c := range f.members {
		h, err := reports.Latencies(c)
		if err != nil {
			return figure{}, fmt.Errorf("%s: %w", c.Name, err)
		}
		if h == nil || h.TotalCount() == 0 {
			continue
		}
		last := min(math.Log10(float64(h.TotalCount())), 6)
		nines = max(nines, last)
		const perNine = 20 // points; each nine, and the median, says what it is
		for k := 0; float64(k) <= last*perNine; k++ {
			at := float64(k) / perNine
			share := 100 * (1 - math.Pow(10, -at))
			v := float64(max(h.ValueAtPercentile(share), 1)) / 1e9
			p := point{x: at, y: v, low: v, high: v}
			if k > 0 && k%perNine == 0 {
				p.title = fmt.Sprintf("%s: %s of the calls within %s", f.labels[i], ninesLabel(at), reports.Quantity(v, "s"))
			}
			lines[i] = append(lines[i], p)
			all = append(all, v)
			data.add(c.Name, g(share), g(v))
		}
	}
	if len(all) == 0 {
		return figure{}, nil
	}
	x := axis{low: 0, high: nines, label: ninesLabel, at: []float64{0, math.Log10(2)}}
	for k := 1.0; k <= nines; k++ {
		x.at = append(x.at, k)
	}
	c := newChart("Latency over percentile, "+f.name, x, over(all, "s", true), 270, f.labels)
	c.axes("percentile", "latency")
	for i, line := range lines {
		c.series(i, line, false)
	}
	return figure{Title: f.name, SVG: template.HTML(c.svg()), CSV: data.String()}, nil
}

func ninesLabel(v float64) string {
	share := 100 * (1 - math.Pow(10, -v))
	return strconv.FormatFloat(share, 'g', max(2, int(v)), 64) + " %"
}

// secondsGroup has p99 and requests of every family, second by second.
func secondsGroup(b *result.Benchmark) group {
	var figures []figure
	for _, f := range families(b) {
		for _, kind := range []struct {
			title, unit string
			log         bool
			value       func(result.Second) float64
		}{
			{"99th percentile", "s", true, func(s result.Second) float64 { return s.P99 }},
			{"requests per second", "", false, func(s result.Second) float64 { return float64(s.Requests) }},
		} {
			if drawn, ok := overTime(f, kind.title, kind.unit, kind.log, kind.value); ok {
				figures = append(figures, drawn)
			}
		}
	}
	return split("Second by second", "The median of the samples for each second of a sample, and as a band all of them. A second that was cut short is left out.", figures)
}

func overTime(f family, title, unit string, log bool, value func(result.Second) float64) (figure, bool) {
	lines := make([][]point, len(f.members))
	var all []float64
	seconds := 0
	data := newSheet("configuration", "second", "lowest", "median", "highest")
	for i, c := range f.members {
		for second := 0; ; second++ {
			var values []float64
			for _, s := range c.Samples {
				if s.Invalid == "" && second < len(s.PerSecond) && float64(second+1) <= math.Ceil(s.Seconds-0.25) {
					values = append(values, value(s.PerSecond[second]))
				}
			}
			if len(values) == 0 {
				break
			}
			seconds = max(seconds, second)
			p := point{x: float64(second), y: stat.Median(values), low: slices.Min(values), high: slices.Max(values)}
			p.title = f.labels[i] + ": " + reports.Quantity(p.y, unit)
			lines[i] = append(lines[i], p)
			all = append(all, p.low, p.high)
			data.add(c.Name, strconv.Itoa(second), g(p.low), g(p.y), g(p.high))
		}
	}
	if seconds < 1 {
		return figure{}, false // one second is no course
	}
	y := over(all, unit, log)
	if !log {
		y = y.fromZero()
	}
	x := axis{low: 0, high: float64(seconds), label: func(v float64) string { return strconv.Itoa(int(v)) + " s" }}
	for at, step := 0, max(1, seconds/10); at <= seconds; at += step {
		x.at = append(x.at, float64(at))
	}
	c := newChart(title+" over time, "+f.name, x, y, 200, f.labels)
	c.axes("", title)
	for i, line := range lines {
		c.series(i, line, true)
	}
	return figure{Title: f.name + ": " + title, SVG: template.HTML(c.svg()), CSV: data.String()}, true
}
