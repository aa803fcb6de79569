package reports

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

//go:embed page/report.html
var page string

//go:embed page/report.css
var style string

//go:embed page/report.js
var script string

// HTML renders one file that needs no network: styles, script and data are in it.
func HTML(run *result.Run) ([]byte, error) {
	t, err := template.New("report").Funcs(template.FuncMap{
		"timeline": timeline,
		"compared": comparisonTable,
		"seconds":  seconds,
		"speedup":  speedup,
		"percent":  func(n, of int) string { return fmt.Sprintf("%.1f", 100*float64(n)/float64(max(of, 1))) },
		"total": func(s result.Series) (n int) {
			for i := range s.OK {
				n += s.OK[i] + s.Errors[i]
			}
			return n
		},
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
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"Run": run, "Verdict": Verdict(run), "Good": run.Failed == 0 && run.Errors == 0 && run.Passed > 0,
		"Virtual": virtual, "Requests": requests,
		"Style": template.CSS(style), "Script": template.JS(script),
	})
	return b.Bytes(), err
}

// speedup is how much faster than its clock the world ran.
func speedup(virtual, wall float64) string {
	if wall <= 0 || virtual <= 0 {
		return "–"
	}
	return fmt.Sprintf("%.3g×", virtual/wall)
}
