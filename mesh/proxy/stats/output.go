package stats

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

func itoa(n int) string { return strconv.Itoa(n) }

// WriteText writes "name: value" lines sorted by name, as Envoy's /stats. keep
// picks names; nil keeps all.
func (r *Registry) WriteText(w io.Writer, keep func(name string) bool) error {
	out := bufio.NewWriter(w)
	for _, m := range r.sorted() {
		if keep != nil && !keep(m.text) {
			continue
		}
		switch {
		case m.counter != nil:
			fmt.Fprintf(out, "%s: %d\n", m.text, m.counter.Value())
		case m.gauge != nil:
			fmt.Fprintf(out, "%s: %d\n", m.text, m.gauge.Value())
		default:
			fmt.Fprintf(out, "%s: %s\n", m.text, quantiles(m.histogram))
		}
	}
	return out.Flush()
}

// quantiles is a histogram in Envoy's words: P50 and so on, interpolated in buckets.
func quantiles(h *Histogram) string {
	cumulative, _ := h.Snapshot()
	total := cumulative[len(cumulative)-1]
	if total == 0 {
		return "No recorded values"
	}
	var parts []string
	for _, q := range []float64{0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100} {
		parts = append(parts, fmt.Sprintf("P%g(%s)", q, format(quantile(cumulative, q/100))))
	}
	return strings.Join(parts, " ")
}

func quantile(cumulative []uint64, q float64) float64 {
	rank, before, low := q*float64(cumulative[len(cumulative)-1]), uint64(0), 0.0
	for i, n := range cumulative {
		high := bounds[len(bounds)-1]
		if i < len(bounds) {
			high = bounds[i]
		}
		if n > before && float64(n) >= rank {
			return low + (high-low)*(rank-float64(before))/float64(n-before)
		}
		before, low = n, high
	}
	return low
}

// WritePrometheus writes all metrics in Prometheus' text format, families and
// series sorted.
func (r *Registry) WritePrometheus(w io.Writer) error {
	type series struct {
		*metric
		labels string
	}
	var all []series
	for _, m := range r.sorted() {
		all = append(all, series{m, renderLabels(m.labels)})
	}
	slices.SortStableFunc(all, func(a, b series) int {
		return cmp.Or(strings.Compare(a.family, b.family), strings.Compare(a.labels, b.labels))
	})
	out, family := bufio.NewWriter(w), ""
	for _, s := range all {
		if s.family != family {
			family = s.family
			fmt.Fprintf(out, "# TYPE %s %s\n", family, s.kind())
		}
		s.write(out, s.labels)
	}
	return out.Flush()
}

func (m *metric) kind() string {
	switch {
	case m.counter != nil:
		return "counter"
	case m.gauge != nil:
		return "gauge"
	default:
		return "histogram"
	}
}

func (m *metric) write(out io.Writer, labels string) {
	switch {
	case m.counter != nil:
		fmt.Fprintf(out, "%s{%s} %d\n", m.family, labels, m.counter.Value())
	case m.gauge != nil:
		fmt.Fprintf(out, "%s{%s} %d\n", m.family, labels, m.gauge.Value())
	default:
		cumulative, sum := m.histogram.Snapshot()
		comma := ""
		if labels != "" {
			comma = ","
		}
		for i, n := range cumulative {
			le := "+Inf"
			if i < len(bounds) {
				le = format(bounds[i])
			}
			fmt.Fprintf(out, "%s_bucket{%s%sle=\"%s\"} %d\n", m.family, labels, comma, le, n)
		}
		fmt.Fprintf(out, "%s_sum{%s} %s\n%s_count{%s} %d\n", m.family, labels, format(sum), m.family, labels, cumulative[len(cumulative)-1])
	}
}

func format(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// sanitize replaces what a metric's name may not hold.
func sanitize(name string) string {
	for i := range len(name) {
		if !named(rune(name[i])) {
			return strings.Map(func(c rune) rune {
				if named(c) {
					return c
				}
				return '_'
			}, name)
		}
	}
	return name // nearly always
}

func named(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == ':'
}

// escaped writes a label's value as the text format wants it.
var escaped = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func renderLabels(labels []Label) string {
	var b strings.Builder
	for i, l := range labels {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(sanitize(l.Name) + `="` + escaped.Replace(l.Value) + `"`)
	}
	return b.String()
}
