package reports

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/reports/picture"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

//go:embed page/report.html
var page string

//go:embed page/report.css
var style string

//go:embed page/report.js
var script string

// maxIllustrated is how many scenarios of one page have pictures: those that failed
// before those that passed. More make a page that browsers open slowly.
const maxIllustrated = 150

// HTML renders one file that needs no network: styles, script and data are in it.
func HTML(run *result.Run) ([]byte, error) {
	brief := briefly(run)
	t, err := template.New("report").Funcs(functions).Funcs(template.FuncMap{
		"brief": func(i int) bool { return brief[i] },
	}).Parse(page)
	if err != nil {
		return nil, err
	}
	var virtual float64
	var requests int64
	for _, s := range run.Scenarios {
		virtual += s.VirtualSeconds
		requests += s.Requests
	}
	data, err := json.Marshal(run) // it escapes what could end a script
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"Run": run, "Verdict": Verdict(run), "Good": run.Failed == 0 && run.Errors == 0 && run.Passed > 0,
		"Virtual": virtual, "Requests": requests, "Meter": meter(run), "Labels": labels(run), "Alone": len(run.Scenarios) == 1,
		"Data": template.JS(data), "Style": template.CSS(style), "Script": template.JS(script),
	})
	return b.Bytes(), err
}

// functions are what the page asks for.
var functions = template.FuncMap{
	"compared":    comparisonTable,
	"seconds":     picture.Seconds,
	"speedup":     speedup,
	"timeline":    picture.Timeline,
	"span":        picture.Span,
	"graph":       picture.Graph,
	"percentiles": picture.Percentiles,
	"histogram":   picture.Histogram,
	"heat":        picture.Heat,
	"measured":    measuredSteps,
	"outcome":     inShort,
	"exemplar":    exemplar,
	"words":       InWords,
	"diff":        coloured,
	"bad":         func(status string) bool { return status != "-" && (len(status) != 3 || status >= "400") },
	"hopbad":      func(h result.Hop) bool { return h.Status >= 400 || h.Method != "" && h.Status == 0 },
	"last": func(t *result.Timeline) (n int) {
		for _, s := range t.Series {
			n = max(n, len(s.OK)-1)
		}
		return n
	},
}

// tally is how many scenarios have a status.
type tally struct {
	Status result.Status
	Count  int
}

func meter(run *result.Run) []tally {
	var all []tally
	for _, t := range []tally{{result.Failed, run.Failed}, {result.Error, run.Errors}, {result.Passed, run.Passed}, {result.Skipped, run.Skipped}} {
		if t.Count > 0 {
			all = append(all, t)
		}
	}
	return all
}

// labels are all that scenarios have, "key=value".
func labels(run *result.Run) []string {
	var all []string
	for _, s := range run.Scenarios {
		for k, v := range s.Labels {
			all = append(all, k+"="+v)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// briefly tells which scenarios go without pictures.
func briefly(run *result.Run) map[int]bool {
	order := make([]int, len(run.Scenarios))
	for i := range order {
		order[i] = i
	}
	good := func(i int) int {
		if s := run.Scenarios[i].Status; s == result.Failed || s == result.Error {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(good(a), good(b)) })
	left := map[int]bool{}
	for _, i := range order[min(len(order), maxIllustrated):] {
		left[i] = true
	}
	return left
}

// measuredStep is a step whose calls are enough for a distribution.
type measuredStep struct {
	Index   int
	Name    string
	Latency *result.Latency
}

// fewest calls that a picture of latencies says more of than a number.
const fewest = 5

// measuredSteps are a scenario's, those with the most calls first; six at most.
func measuredSteps(s result.Scenario) []measuredStep {
	var all []measuredStep
	for i, step := range s.Steps {
		if step.Latency != nil && step.Latency.Count >= fewest && picture.Decode(step.Latency) != nil {
			all = append(all, measuredStep{i, step.Name, step.Latency})
		}
	}
	slices.SortStableFunc(all, func(a, b measuredStep) int { return cmp.Compare(b.Latency.Count, a.Latency.Count) })
	const most = 6
	return all[:min(len(all), most)]
}

// inShort is a step's outcomes in a line.
func inShort(outcomes []result.Outcome) string {
	var words []string
	for i, o := range outcomes {
		const most = 3
		if i == most {
			words = append(words, fmt.Sprintf("and %d more kinds", len(outcomes)-most))
			break
		}
		text := fmt.Sprintf("%d × %s", o.Count, o.Status)
		if o.Workload != "" {
			text += " from " + o.Workload
		}
		words = append(words, text)
	}
	return strings.Join(words, ", ")
}

// coloured marks the lines of a unified diff.
func coloured(diff string) template.HTML {
	var b strings.Builder
	for line := range strings.Lines(diff) {
		class := map[byte]string{'+': "add", '-': "del", '@': "at"}[line[0]]
		text := template.HTMLEscapeString(strings.TrimSuffix(line, "\n"))
		if class == "" {
			b.WriteString("<span>" + text + "</span>")
		} else {
			b.WriteString(`<span class="` + class + `">` + text + "</span>")
		}
	}
	return template.HTML(b.String())
}

// speedup is how much faster than its clock the world ran.
func speedup(virtual, wall float64) string {
	if wall <= 0 || virtual <= 0 {
		return "–"
	}
	return fmt.Sprintf("%.3g×", virtual/wall)
}
