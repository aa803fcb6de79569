package reports

import (
	"fmt"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/reports/picture"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// call is one call with what became of it.
type call struct {
	Outcome *result.Outcome
	Example *result.Example
}

// exemplar is the call that shows why a check failed; nil where there is none.
func exemplar(step result.Step, c result.Check) *call {
	o, e := step.Example(c.RequestID)
	if e == nil {
		return nil
	}
	return &call{o, e}
}

// Exemplar tells in a line of the call that shows why a check failed: what became of it,
// and the proxy that decided that. It is empty where there is none.
func Exemplar(step *result.Step, c result.Check) string {
	o, e := step.Example(c.RequestID)
	if e == nil {
		return ""
	}
	return "request " + e.RequestID + ": " + InWords(o, e)
}

// InWords is what became of one call: "503 UO after 1.2 ms, overflow at productpage-v1 (rules.yaml:10)".
func InWords(o *result.Outcome, e *result.Example) string {
	text := o.Status
	if o.Error != "" {
		text = "no answer (" + o.Error + ")"
	}
	if len(o.Flags) > 0 {
		text += " " + strings.Join(o.Flags, ",")
	}
	text += fmt.Sprintf(" after %s", picture.Seconds(e.Seconds))
	if o.Workload != "" {
		text += ", answered by " + o.Workload
	}
	if len(e.Hops) == 0 {
		return text + ", seen by no proxy"
	}
	h, own := decisive(e.Hops)
	if own {
		text += ", " + h.Details + " at " + h.Workload
	}
	if h.Source != "" {
		text += " (" + h.Source + ")"
	}
	return text
}

// decisive is the proxy that made the answer itself, the innermost of them; else the first.
func decisive(hops []result.Hop) (h result.Hop, own bool) {
	for i := len(hops) - 1; i >= 0; i-- {
		if d := hops[i].Details; d != "" && d != "via_upstream" {
			return hops[i], true
		}
	}
	return hops[0], false
}
