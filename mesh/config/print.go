package config

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Print writes diagnostics as compilers do: the place, the severity, the message and
// the code; below it the line itself with a caret under the column; and the hint.
func Print(w io.Writer, ds []Diagnostic) {
	for _, d := range ds {
		var b strings.Builder
		if p := d.Position.String(); p != "" {
			b.WriteString(p + ": ")
		}
		fmt.Fprintf(&b, "%s: %s", d.Severity, d.Message)
		if d.Code != "" {
			fmt.Fprintf(&b, " [%s]", d.Code)
		}
		b.WriteByte('\n')
		if strings.TrimSpace(d.Excerpt) != "" {
			fmt.Fprintf(&b, "  %s\n", d.Excerpt)
			if d.Position.Col > 0 && d.Position.Col <= utf8.RuneCountInString(d.Excerpt)+1 {
				fmt.Fprintf(&b, "  %s^\n", indent(d.Excerpt, d.Position.Col-1))
			}
		}
		if d.Hint != "" {
			fmt.Fprintf(&b, "  hint: %s\n", d.Hint)
		}
		// A diagnostic is one write, so that those of several writers do not mix.
		_, _ = io.WriteString(w, b.String())
	}
}

// indent is white space as wide as the first n characters of a line: tabs stay tabs.
func indent(line string, n int) string {
	var b strings.Builder
	for _, r := range line {
		if n == 0 {
			break
		}
		n--
		if r == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}
