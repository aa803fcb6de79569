package analyze

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// Text writes findings as compilers do, and a line that counts them.
func Text(w io.Writer, findings []Finding) error {
	count := map[config.Severity]int{}
	for _, f := range findings {
		count[f.Severity]++
		d := f.Diagnostic
		if f.Istio != "" {
			d.Code += ", " + f.Istio
		}
		config.Print(w, []config.Diagnostic{d})
	}
	_, err := fmt.Fprintf(w, "%d errors, %d warnings, %d infos\n", count[config.Error], count[config.Warning], count[config.Info])
	return err
}

// Report is what `windtunnel analyze -o json` prints.
type Report struct {
	Version  string        `json:"version"` // "v1"
	Errors   int           `json:"errors"`
	Warnings int           `json:"warnings"`
	Infos    int           `json:"infos"`
	Findings []ReportEntry `json:"findings"`
}

// ReportEntry is one finding of a Report.
type ReportEntry struct {
	Severity  string `json:"severity"` // error, warning, info
	Code      string `json:"code"`     // "WT0401"
	Istio     string `json:"istio"`    // "IST0101"; empty: istioctl has no code for it
	Message   string `json:"message"`
	Hint      string `json:"hint"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	File      string `json:"file"`
	Line      int    `json:"line"` // from 1; 0: unknown
	Column    int    `json:"column"`
}

// NewReport makes the report of findings.
func NewReport(findings []Finding) Report {
	r := Report{Version: "v1", Findings: []ReportEntry{}}
	for _, f := range findings {
		switch f.Severity {
		case config.Error:
			r.Errors++
		case config.Warning:
			r.Warnings++
		default:
			r.Infos++
		}
		r.Findings = append(r.Findings, ReportEntry{Severity: f.Severity.String(), Code: f.Code, Istio: f.Istio, Message: f.Message, Hint: f.Hint,
			Kind: f.Object.Kind, Namespace: f.Object.Namespace, Name: f.Object.Name,
			File: f.Position.File, Line: f.Position.Line, Column: f.Position.Col})
	}
	return r
}

// JSON writes the report of findings.
func JSON(w io.Writer, findings []Finding) error { return encode(w, NewReport(findings)) }

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
