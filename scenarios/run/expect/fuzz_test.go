package expect

import (
	"testing"

	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// FuzzExpression: an expression is a problem with its place, or has an outcome.
func FuzzExpression(f *testing.F) {
	for _, text := range []string{`status["200"] == 20 && ok()`, `share(workloads, "a") > 0.1 || latency.service.p99 < duration("20ms")`, `grpc["14"] == 3`,
		`headers.exists(k, k.startsWith("x-") && body.split("\n").size() == 3)`, `baseline.count - count == 0`, `endpoint("a", "b").ejected`, `"\u00e9" in status ? 1 : 2`, `[`} {
		f.Add(text)
	}
	traffic := &Traffic{Count: 2, Status: map[string]int64{"200": 2}, Workloads: map[string]int64{"a": 2}, Headers: map[string]string{"x-a": "b"}, Body: "a\nb"}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 200 {
			return // nesting costs more than it tells
		}
		l, err := New(nil)
		if err != nil {
			t.Fatal(err)
		}
		e := spec.Expression{Text: text, Position: spec.Position{File: "f", Line: 3, Col: 5}}
		scope := spec.Scope{Operation: "request", Kept: map[string]string{"baseline": "load"}}
		if problems := l.Check(e, scope); len(problems) > 0 {
			for _, p := range problems {
				if p.Position.Line < 3 || p.Message == "" {
					t.Fatalf("%q: %+v", text, p)
				}
			}
			return
		}
		if o := l.Evaluate(e, Values{Scope: scope, Result: traffic, Kept: map[string]Result{"baseline": traffic}}); !o.Holds && o.Message == "" {
			t.Fatalf("%q does not hold, and nothing tells why: %+v", text, o)
		}
	})
}
