package config

import (
	"fmt"
	"io"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/source"
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
			text, mark := source.Show(d.Excerpt, d.Position.Col)
			fmt.Fprintf(&b, "  %s\n", text)
			if mark != "" {
				fmt.Fprintf(&b, "  %s\n", mark)
			}
		}
		if d.Hint != "" {
			fmt.Fprintf(&b, "  hint: %s\n", d.Hint)
		}
		// A diagnostic is one write, so that those of several writers do not mix.
		_, _ = io.WriteString(w, b.String())
	}
}
