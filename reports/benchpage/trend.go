package benchpage

import (
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/reports/stat"
)

// trendLines is how many configurations one chart has; more are no lines any more.
const trendLines = palette

// trend has charts of each metric over the builds of a history, in the order of the
// file: medians as parts of the first build's, so that configurations of any size fit
// one axis.
func trend(history []stat.HistoryEntry) []group {
	configurations := map[string][]string{} // by metric
	for _, e := range history {
		for name, metrics := range e.Medians {
			for metric := range metrics {
				if !slices.Contains(configurations[metric], name) {
					configurations[metric] = append(configurations[metric], name)
				}
			}
		}
	}
	var figures []figure
	for _, metric := range slices.Sorted(maps.Keys(configurations)) {
		names := configurations[metric]
		slices.Sort(names)
		for part := range slices.Chunk(names, trendLines) {
			if f, ok := course(history, metric, part, shared(names)); ok {
				figures = append(figures, f)
			}
		}
	}
	return []group{split("Trend", fmt.Sprintf("%d builds in the order of the history's file; medians with their intervals, as parts of the first build's.", len(history)), figures)}
}

// shared are the parts that all names have.
func shared(names []string) map[string]bool {
	count := map[string]int{}
	for _, name := range names {
		for part := range strings.SplitSeq(name, "/") {
			count[part]++
		}
	}
	all := map[string]bool{}
	for part, k := range count {
		all[part] = k == len(names) && len(names) > 1
	}
	return all
}

func course(history []stat.HistoryEntry, metric string, names []string, common map[string]bool) (figure, bool) {
	lines := make([][]point, len(names))
	labels := make([]string, len(names))
	all := []float64{0.95, 1.05}
	data := newSheet("configuration", "build", "started", "median", "low", "high", "samples")
	drawn := false
	for i, name := range names {
		labels[i] = strings.Join(slices.DeleteFunc(strings.Split(name, "/"), func(p string) bool { return common[p] }), "/")
		first := 0.0
		for at, e := range history {
			s, ok := e.Medians[name][metric]
			if !ok {
				continue
			}
			data.add(name, buildName(e), e.Started, g(s.Median), g(s.Low), g(s.High), strconv.Itoa(s.N))
			if first == 0 {
				first = s.Median
			}
			if first <= 0 {
				continue // no part of nothing
			}
			p := point{x: float64(at), y: s.Median / first, low: s.Low / first, high: s.High / first}
			p.title = fmt.Sprintf("%s, %s: %s of the first, %s", buildName(e), labels[i], strconv.FormatFloat(100*p.y, 'f', 1, 64)+" %", g(s.Median))
			lines[i] = append(lines[i], p)
			all = append(all, max(p.low, 0.7*p.y), min(p.high, 1.4*p.y)) // a band may be cut off, the line not
			drawn = drawn || p.y != 1
		}
	}
	if !drawn {
		return figure{}, false // nothing has ever changed, or there is one build
	}
	y := over(all, "", false)
	y.label = func(v float64) string { return strconv.FormatFloat(100*v, 'f', 0, 64) + " %" }
	x := axis{low: 0, high: max(float64(len(history)-1), 1), label: func(v float64) string { return buildName(history[int(v)]) }}
	for at := range history {
		x.at = append(x.at, float64(at))
	}
	c := newChart("Trend of "+metric, x, y, 240, labels)
	c.axes("build", metric)
	for i, line := range lines {
		c.series(i, line, true)
	}
	return figure{Title: metric, SVG: template.HTML(c.svg()), CSV: data.String()}, true
}

// buildName is a build in a few letters.
func buildName(e stat.HistoryEntry) string {
	name := e.Build.Commit
	if name == "" {
		name = e.Build.Version
	}
	name = name[:min(len(name), 7)]
	if e.Build.Dirty {
		name += "+"
	}
	return name
}
