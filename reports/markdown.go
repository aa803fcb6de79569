package reports

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// maxSummary is what job pages show at most.
const maxSummary = 1 << 20

// Markdown renders the summary for a CI job's page: verdict, table, failures.
func Markdown(run *result.Run) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "## windtunnel: %s\n\n", Verdict(run))
	fmt.Fprintf(&b, "Environment `%s`, seed `%d`, %.1f s.\n\n", run.Environment, run.Seed, run.WallSeconds)
	b.WriteString("| | scenario | world's time | wall time | requests |\n|---|---|---:|---:|---:|\n")
	for i := range run.Scenarios {
		s := &run.Scenarios[i]
		fmt.Fprintf(&b, "| %s | %s | %.1f s | %.2f s | %d |\n", mark(s.Status), cell(s.Name), s.VirtualSeconds, s.WallSeconds, s.Requests)
	}
	if run.Comparison != nil {
		fmt.Fprintf(&b, "\n```\n%s```\n", strings.ReplaceAll(Divergence(run.Comparison), "```", "'''"))
	}
	for i := range run.Scenarios {
		s := &run.Scenarios[i]
		if s.Status != result.Failed && s.Status != result.Error {
			continue
		}
		fmt.Fprintf(&b, "\n<details open><summary>%s: %s</summary>\n\n```\n%s\n```\n\n</details>\n",
			cell(s.Name), s.Status, strings.ReplaceAll(Failures(s), "```", "'''"))
		if b.Len() > maxSummary-4096 {
			b.WriteString("\nMore failures are in " + HTMLFile + ".\n")
			break
		}
	}
	return b.Bytes()[:min(b.Len(), maxSummary)], nil
}

func mark(s result.Status) string {
	return map[result.Status]string{result.Passed: "✅", result.Failed: "❌", result.Error: "💥", result.Skipped: "⏭️"}[s]
}

func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;").Replace(text)
}
