package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/reports/stat"
)

// ComparisonTable renders a comparison for a terminal: what changed first, then all
// rows where all is true, the geometric means last.
func ComparisonTable(c *stat.Comparison, all bool) []byte {
	var b bytes.Buffer
	for _, w := range c.Warnings {
		fmt.Fprintln(&b, "warning:", w)
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	shown, short := 0, Shorten(c.Rows)
	for _, r := range c.Rows {
		if !all && (r.Verdict == stat.Same || r.Verdict == stat.Watched) {
			continue
		}
		if shown == 0 {
			if name := CommonParts(c.Rows); name != "" {
				fmt.Fprintln(&b, "all configurations:", name)
			}
			fmt.Fprintln(w, "VERDICT\tCONFIGURATION\tMETRIC\tBASE\tNEW\tCHANGE\tINTERVAL\tP")
		}
		shown++
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", verdictWord(r.Verdict), short(r.Configuration), r.Metric.Name,
			Quantity(r.Base.Median, r.Metric.Unit), Quantity(r.New.Median, r.Metric.Unit), percent(r.Change), interval(r), probability(r))
	}
	w.Flush()
	for _, r := range c.Undecided() {
		fmt.Fprintf(&b, "%s %s: %s\n", short(r.Configuration), r.Metric.Name, r.Note)
	}
	for _, broken := range c.Broken {
		fmt.Fprintf(&b, "%s: the base has results, the new build has none: %s\n", broken.Configuration, broken.Why)
	}
	for _, name := range c.Unpaired {
		fmt.Fprintf(&b, "%s: not measured by both\n", name)
	}
	if all || shown > 0 {
		for _, m := range c.Means {
			fmt.Fprintf(&b, "geometric mean of %s over %d configurations: %s\n", m.Metric, m.N, percent(m.Ratio-1))
		}
	}
	return b.Bytes()
}

// ComparisonMarkdown renders a comparison for a pull request; nothing where nothing is to be said.
func ComparisonMarkdown(c *stat.Comparison) []byte {
	var b bytes.Buffer
	told := slices.Concat(c.Regressions(), c.Undecided(), c.Changes(), c.Improvements())
	if len(told) == 0 && len(c.Broken) == 0 {
		return nil
	}
	fmt.Fprintf(&b, "### Benchmarks: %s\n\n", ComparisonVerdict(c))
	for _, broken := range c.Broken {
		fmt.Fprintf(&b, "* **no result** of `%s`, of which the base has some: %s\n", broken.Configuration, broken.Why)
	}
	if len(told) > 0 {
		fmt.Fprintln(&b, "| | configuration | metric | base | new | change | interval | p |")
		fmt.Fprintln(&b, "| --- | --- | --- | ---: | ---: | ---: | --- | ---: |")
	}
	for _, r := range told {
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s | **%s** | %s | %s |\n", verdictWord(r.Verdict), r.Configuration, r.Metric.Name,
			Quantity(r.Base.Median, r.Metric.Unit), Quantity(r.New.Median, r.Metric.Unit), percent(r.Change), interval(r), probability(r))
	}
	fmt.Fprintln(&b)
	for _, r := range c.Undecided() {
		fmt.Fprintf(&b, "* `%s` %s: %s\n", r.Configuration, r.Metric.Name, r.Note)
	}
	for _, m := range c.Means {
		fmt.Fprintf(&b, "* geometric mean of %s over %d configurations: %s\n", m.Metric, m.N, percent(m.Ratio-1))
	}
	for _, w := range c.Warnings {
		fmt.Fprintf(&b, "* warning: %s\n", w)
	}
	fmt.Fprintf(&b, "\nA regression needs p < %g over all questions together, and a change above %s and above the metric's floor.\n", c.Alpha, percent(c.Relative))
	return b.Bytes()
}

// ComparisonJSON renders a comparison with every number.
func ComparisonJSON(c *stat.Comparison) ([]byte, error) {
	data, err := json.MarshalIndent(c, "", "  ")
	return append(data, '\n'), err
}

// ComparisonVerdict is one line about a comparison.
func ComparisonVerdict(c *stat.Comparison) string {
	r, i, u, n := len(c.Regressions()), len(c.Improvements()), len(c.Undecided()), len(c.Changes())
	text := fmt.Sprintf("%d slower or costlier, %d better", r, i)
	switch {
	case r+i+u+n == 0:
		text = fmt.Sprintf("no change beyond doubt in %d measurements", len(c.Rows))
	case u > 0:
		text += fmt.Sprintf(", %d undecided", u)
	}
	if n > 0 {
		text += fmt.Sprintf(", %d of what is exact changed", n)
	}
	if n := len(c.Broken); n > 0 {
		text += fmt.Sprintf(", %d without a result", n)
	}
	return text
}

// Annotations renders a comparison's regressions as workflow commands of GitHub Actions.
func Annotations(c *stat.Comparison) []byte {
	var b bytes.Buffer
	for _, r := range c.Regressions() {
		fmt.Fprintf(&b, "::error title=Benchmark regression::%s\n", escapeCommand(fmt.Sprintf("%s: %s %s (%s to %s)", r.Configuration, r.Metric.Name,
			percent(r.Change), Quantity(r.Base.Median, r.Metric.Unit), Quantity(r.New.Median, r.Metric.Unit))))
	}
	for _, broken := range c.Broken {
		fmt.Fprintf(&b, "::error title=Benchmark without a result::%s\n", escapeCommand(broken.Configuration+": "+broken.Why))
	}
	for _, r := range c.Undecided() {
		fmt.Fprintf(&b, "::warning title=Benchmark undecided::%s\n", escapeCommand(r.Configuration+" "+r.Metric.Name+": "+r.Note))
	}
	return b.Bytes()
}

// escapeCommand writes text as a workflow command's message: it ends at a line's end.
func escapeCommand(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

// Benchfmt renders benchmarks in the text format of Go's benchmarks, each named by a
// "build" line: `benchstat -col build FILE` compares them.
func Benchfmt(named map[string]*result.Benchmark, order ...string) []byte {
	var b bytes.Buffer
	for _, name := range order {
		bench := named[name]
		fmt.Fprintf(&b, "build: %s\ncommit: %s\ngoos: %s\ngoarch: %s\ncpu: %s\n", name, bench.Build.Commit, bench.Machine.OS, bench.Machine.Arch, bench.Machine.CPU)
		for i := range bench.Configurations {
			c := &bench.Configurations[i]
			for _, s := range c.Samples {
				if s.Invalid == "" {
					benchLine(&b, c.Name, bench, s)
				}
			}
		}
		fmt.Fprintln(&b)
	}
	return b.Bytes()
}

func benchLine(b *bytes.Buffer, name string, bench *result.Benchmark, s result.Sample) {
	fmt.Fprintf(b, "Benchmark%s-%d 1", strings.ToUpper(name[:1])+strings.ReplaceAll(name[1:], " ", "_"), bench.Machine.Cores)
	for _, m := range bench.Metrics {
		if v, ok := s.Metrics[m.Name]; ok {
			value, unit := v, m.Name
			if m.Unit == "s" {
				value, unit = v*1e9, m.Name+"-ns"
			}
			fmt.Fprintf(b, " %s %s", strconv.FormatFloat(value, 'g', 10, 64), unit)
		}
	}
	b.WriteByte('\n')
}

// Quantity writes a value with its unit, three digits and a prefix that fits.
func Quantity(v float64, unit string) string {
	base, rest, per := unit, "", ""
	if i := strings.IndexByte(unit, '/'); i >= 0 {
		base, rest = unit[:i], unit[i:]
	}
	switch {
	case v == 0:
		return strings.TrimSpace("0 " + unit)
	case base == "B":
		return three(v, []scale{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}, {1, "B"}}) + rest
	case base == "s":
		return three(v, []scale{{1, "s"}, {1e-3, "ms"}, {1e-6, "µs"}, {1e-9, "ns"}}) + rest
	case unit != "":
		per = " " + unit
	}
	if a := math.Abs(v); a >= 999.5 && a < 1e7 {
		return thousands(v) + per
	}
	return strconv.FormatFloat(v, 'g', 3, 64) + per
}

type scale struct {
	size float64
	name string
}

func three(v float64, scales []scale) string {
	for i, s := range scales {
		if math.Abs(v) >= s.size || i == len(scales)-1 {
			digits := 2 - int(math.Floor(math.Log10(math.Abs(v/s.size))))
			return strconv.FormatFloat(v/s.size, 'f', min(max(digits, 0), 2), 64) + " " + s.name
		}
	}
	return ""
}

func thousands(v float64) string {
	digits := strconv.FormatInt(int64(math.Round(math.Abs(v))), 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if v < 0 {
		return "-" + digits
	}
	return digits
}

func percent(change float64) string {
	if math.Abs(change) > 1e6 {
		return "from 0"
	}
	return fmt.Sprintf("%+.1f %%", change*100)
}

func interval(r stat.Row) string {
	if r.Metric.Exact {
		return "exact"
	}
	return percent(r.Low) + " … " + percent(r.High)
}

func probability(r stat.Row) string {
	if r.Metric.Exact {
		return ""
	}
	return strconv.FormatFloat(r.Adjusted, 'g', 2, 64)
}

func verdictWord(v stat.Verdict) string {
	if v == stat.Watched {
		return "watched"
	}
	return string(v)
}
