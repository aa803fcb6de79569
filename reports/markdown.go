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
		if b.Len() > maxSummary/2 { // the failures are worth more
			fmt.Fprintf(&b, "\n%d more scenarios are in %s.\n", len(run.Scenarios)-i, HTMLFile)
			break
		}
		fmt.Fprintf(&b, "| %s | %s | %.1f s | %.2f s | %d |\n", mark(s.Status), cell(s.Name), s.VirtualSeconds, s.WallSeconds, s.Requests)
	}
	if run.Comparison != nil {
		fmt.Fprintf(&b, "\n```\n%s```\n", strings.ReplaceAll(Divergence(run.Comparison), "```", "'''"))
	}
	drawn := 0
	if len(run.Scenarios) == 1 && run.Passed == 1 && run.Scenarios[0].Graph != nil {
		b.WriteString(mermaid(run.Scenarios[0].Graph))
	}
	for i := range run.Scenarios {
		s := &run.Scenarios[i]
		if s.Status != result.Failed && s.Status != result.Error {
			continue
		}
		fmt.Fprintf(&b, "\n<details open><summary>%s: %s</summary>\n\n```\n%s\n```\n\n</details>\n",
			cell(s.Name), s.Status, cut(strings.ReplaceAll(Failures(s), "```", "'''"), longestFailure))
		if drawn < maxMermaids && s.Graph != nil {
			drawn++
			b.WriteString(mermaid(s.Graph))
		}
		if b.Len() > maxSummary-2*longestFailure {
			b.WriteString("\nMore failures are in " + HTMLFile + ".\n")
			break
		}
	}
	return b.Bytes()[:min(b.Len(), maxSummary)], nil
}

// What one failure, and all graphs, may take of the summary.
const (
	longestFailure = 16 << 10
	maxMermaids    = 10
	maxEdges       = 60
)

// cut shortens a text to a number of bytes, at the end of a line where there is one.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	text = text[:most]
	if i := strings.LastIndexByte(text, '\n'); i > 0 {
		text = text[:i]
	}
	return strings.ToValidUTF8(text, "") + "\n…"
}

// mermaid draws who called whom as job pages show it; dotted edges had failures.
func mermaid(g *result.Graph) string {
	var b strings.Builder
	b.WriteString("\n```mermaid\nflowchart LR\n")
	index := map[string]int{}
	for i, n := range g.Nodes {
		index[n.Name] = i
		open, end := "[", "]"
		if n.Kind != result.NodeWorkload {
			open, end = "([", "])"
		}
		fmt.Fprintf(&b, "  n%d%s\"%s\"%s\n", i, open, strings.NewReplacer("\"", "#quot;", "`", "'", "<", "#lt;").Replace(n.Name), end)
	}
	for _, e := range g.Edges[:min(len(g.Edges), maxEdges)] {
		arrow, text := "-->", fmt.Sprint(e.Count)
		if e.Bad > 0 {
			arrow, text = "-.->", fmt.Sprintf("%d, %d failed", e.Count, e.Bad)
		}
		if e.MutualTLS > 0 && e.Plain == 0 {
			text += " 🔒"
		}
		fmt.Fprintf(&b, "  n%d %s|%s| n%d\n", index[e.From], arrow, text, index[e.To])
	}
	b.WriteString("```\n")
	return b.String()
}

func mark(s result.Status) string {
	return map[result.Status]string{result.Passed: "✅", result.Failed: "❌", result.Error: "💥", result.Skipped: "⏭️"}[s]
}

func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;").Replace(text)
}
