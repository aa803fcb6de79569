package reports

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// Format is one way to write a report.
type Format struct {
	Name   string
	File   string
	Render func(*result.Run) ([]byte, error)
}

// Formats are all that a report can be written in.
func Formats() []Format {
	return []Format{
		{"json", ResultsFile, JSON},
		{"junit", JUnitFile, JUnit},
		{"junit-step", JUnitFile, JUnitSteps},
		{"markdown", SummaryFile, Markdown},
		{"html", HTMLFile, HTML},
		{"tap", TAPFile, TAP},
		{"badge", BadgeFile, Badge},
	}
}

// TAP renders the Test Anything Protocol, version 14: a test point per scenario, with a
// subtest of its steps, and why those failed that did as YAML.
func TAP(run *result.Run) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "TAP version 14\n1..%d\n", len(run.Scenarios))
	for i := range run.Scenarios {
		s := &run.Scenarios[i]
		if len(s.Steps) > 0 {
			fmt.Fprintf(&b, "# Subtest: %s\n    1..%d\n", tapText(s.Name), len(s.Steps))
			for j := range s.Steps {
				point(&b, "    ", j+1, s.Steps[j].Name, s.Steps[j].Status, stepFailures(&s.Steps[j]))
			}
		}
		why := s.Message
		if s.Status == result.Failed || s.Status == result.Error {
			why = Failures(s)
		}
		point(&b, "", i+1, s.Name, s.Status, why)
	}
	return b.Bytes(), nil
}

func point(b *bytes.Buffer, indent string, number int, name string, status result.Status, why string) {
	word := "ok"
	if status == result.Failed || status == result.Error {
		word = "not ok"
	}
	fmt.Fprintf(b, "%s%s %d - %s", indent, word, number, tapText(name))
	if status == result.Skipped {
		fmt.Fprintf(b, " # SKIP %s", tapText(firstLine(why)))
	}
	b.WriteString("\n")
	if word == "ok" || why == "" {
		return
	}
	fmt.Fprintf(b, "%s  ---\n%s  severity: %s\n%s  message: |\n", indent, indent, status, indent)
	for line := range strings.Lines(why) {
		fmt.Fprintf(b, "%s    %s\n", indent, strings.TrimRight(line, "\r\n"))
	}
	fmt.Fprintf(b, "%s  ...\n", indent)
}

// tapText takes from a description what TAP has a meaning for.
func tapText(text string) string {
	return strings.NewReplacer("\\", "\\\\", "#", "\\#", "\n", " ", "\r", " ").Replace(text)
}

// Badge renders the verdict as a small picture for a README.
func Badge(run *result.Run) ([]byte, error) {
	text, colour := fmt.Sprintf("%d passed", run.Passed), "#17818a"
	switch {
	case run.Interrupted:
		text, colour = "interrupted", "#76818c"
	case run.Failed+run.Errors > 0:
		text, colour = fmt.Sprintf("%d of %d failed", run.Failed+run.Errors, run.Passed+run.Failed+run.Errors), "#c03a24"
	case run.Passed == 0:
		text, colour = "nothing tested", "#76818c"
	}
	const label, left, letter = "windtunnel", 76, 6.6
	right := int(float64(len(text))*letter) + 14
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="20" role="img" aria-label="%s: %s"><title>%s: %s</title>`, left+right, label, text, label, text)
	fmt.Fprintf(&b, `<clipPath id="r"><rect width="%d" height="20" rx="4"/></clipPath><g clip-path="url(#r)"><rect width="%d" height="20" fill="#38434f"/><rect x="%d" width="%d" height="20" fill="%s"/></g>`,
		left+right, left, left, right, colour)
	fmt.Fprintf(&b, `<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11"><text x="%d" y="14" textLength="%d">%s</text><text x="%d" y="14" textLength="%d">%s</text></g></svg>`+"\n",
		left/2, left-14, label, left+right/2, right-14, text)
	return b.Bytes(), nil
}
