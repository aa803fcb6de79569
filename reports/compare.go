package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"math"
	"slices"

	"github.com/windtunnel-mesh/windtunnel/reports/picture"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// Compare lays the steps of two environments beside each other. Only steps with
// traffic that passed or failed in both are compared: what was not run has nothing to say.
func Compare(environments [2]string, scenarios []result.Scenario) *result.Comparison {
	c := &result.Comparison{Environments: environments, Steps: []result.ComparedRow{}}
	second := make(map[string]*result.Scenario)
	for i := range scenarios {
		if s := &scenarios[i]; s.Environment == environments[1] {
			second[fmt.Sprint(s.Name, s.Seed)] = s
		}
	}
	for i := range scenarios {
		a := &scenarios[i]
		b := second[fmt.Sprint(a.Name, a.Seed)]
		if a.Environment != environments[0] || b == nil {
			continue
		}
		for n := range min(len(a.Steps), len(b.Steps)) {
			x, y := plain(a.Steps[n].Result), plain(b.Steps[n].Result)
			if x["attempts"] == nil || y["attempts"] == nil { // no traffic
				continue
			}
			row := result.ComparedRow{Scenario: a.Name, File: a.File, Line: a.Steps[n].Line, Step: a.Steps[n].Name,
				P50:         [2]float64{percentile(x, "p50"), percentile(y, "p50")},
				P99:         [2]float64{percentile(x, "p99"), percentile(y, "p99")},
				Differences: differences(x, y)}
			c.Compared++
			if row.Differs() {
				c.Differing++
			}
			c.Steps = append(c.Steps, row)
		}
	}
	return c
}

// plain is a result as results.json has it.
func plain(r map[string]any) map[string]any {
	var out map[string]any
	text, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		return nil
	}
	return out
}

func percentile(r map[string]any, name string) float64 {
	latency, _ := r["latency"].(map[string]any)
	v, _ := latency[name].(float64)
	return v
}

// comparedCounts are the traffic result's mappings from something to how many calls.
var comparedCounts = []string{"status", "grpc", "flags", "workloads", "attempts"}

func differences(x, y map[string]any) []result.Difference {
	var found []result.Difference
	n := [2]float64{count(x["count"]), count(y["count"])}
	for _, key := range []string{"count", "errors"} {
		if a, b := count(x[key]), count(y[key]); a != b {
			found = append(found, result.Difference{What: key, Values: [2]float64{a, b}})
		}
	}
	for _, key := range comparedCounts {
		a, _ := x[key].(map[string]any)
		b, _ := y[key].(map[string]any)
		all := maps.Clone(a)
		if all == nil {
			all = make(map[string]any)
		}
		maps.Copy(all, b)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			v := [2]float64{count(a[name]), count(b[name])}
			if v[0] != v[1] {
				found = append(found, result.Difference{What: fmt.Sprintf("%s[%q]", key, name), Values: v, Chance: chance(v, n)})
			}
		}
	}
	return found
}

func count(v any) float64 {
	f, _ := v.(float64)
	return f
}

// chance tells whether two shares may come from one: the test of two proportions.
// What never or always happens in one environment is not left to draws there.
func chance(v, n [2]float64) bool {
	for i := range v {
		if n[i] == 0 || v[i] == 0 || v[i] >= n[i] {
			return false
		}
	}
	p := (v[0] + v[1]) / (n[0] + n[1])
	deviation := math.Sqrt(p * (1 - p) * (1/n[0] + 1/n[1]))
	return math.Abs(v[0]/n[0]-v[1]/n[1]) < 3*deviation
}

// Divergence is the comparison as text, a line per difference.
func Divergence(c *result.Comparison) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s against %s: %d steps compared, %d differ\n", c.Environments[0], c.Environments[1], c.Compared, c.Differing)
	for _, r := range c.Steps {
		if !r.Differs() {
			continue
		}
		fmt.Fprintf(&b, "  %s:%d: %s: %s\n", r.File, r.Line, r.Scenario, r.Step)
		for _, d := range r.Differences {
			note := ""
			if d.Chance {
				note = " (may be chance)"
			}
			fmt.Fprintf(&b, "      %s: %v in %s, %v in %s%s\n", d.What, d.Values[0], c.Environments[0], d.Values[1], c.Environments[1], note)
		}
		fmt.Fprintf(&b, "      p50 %s and %s, p99 %s and %s\n", picture.Seconds(r.P50[0]), picture.Seconds(r.P50[1]), picture.Seconds(r.P99[0]), picture.Seconds(r.P99[1]))
	}
	return b.String()
}

// comparisonTable is the comparison in HTML.
func comparisonTable(c *result.Comparison) template.HTML {
	if c == nil {
		return ""
	}
	var b bytes.Buffer
	e := template.HTMLEscapeString
	fmt.Fprintf(&b, "<section class=\"comparison\"><h2>%s against %s: %d steps compared, %d differ</h2>\n<table><thead><tr><th>step</th><th>differences</th><th class=\"num\">p50</th><th class=\"num\">p99</th></tr></thead><tbody>\n",
		e(c.Environments[0]), e(c.Environments[1]), c.Compared, c.Differing)
	for _, r := range c.Steps {
		fmt.Fprintf(&b, "<tr><td>%s: %s <span class=\"file\">%s:%d</span></td><td>", e(r.Scenario), e(r.Step), e(r.File), r.Line)
		for _, d := range r.Differences {
			fmt.Fprintf(&b, "%s: %v, %v", e(d.What), d.Values[0], d.Values[1])
			if d.Chance {
				b.WriteString(" (may be chance)")
			}
			b.WriteString("<br>")
		}
		fmt.Fprintf(&b, "</td><td class=\"num\">%s, %s</td><td class=\"num\">%s, %s</td></tr>\n", picture.Seconds(r.P50[0]), picture.Seconds(r.P50[1]), picture.Seconds(r.P99[0]), picture.Seconds(r.P99[1]))
	}
	b.WriteString("</tbody></table></section>\n")
	return template.HTML(b.String()) // every text was escaped
}
