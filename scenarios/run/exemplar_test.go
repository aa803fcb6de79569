package run

import (
	"testing"
	"testing/synctest"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// An expectation that fails names the call that shows why, and that call is kept. Of the
// page's four calls the last one fails; each takes as long as the others, but the third
// is a proxy's own answer.
func TestExpectationsThatFailHaveAnExample(t *testing.T) {
	expressions := map[string]string{
		`ok()`:                            "1-3",
		`status["200"] == 4`:              "1-3", // too few: one that has another
		`status["503"] == 0`:              "1-3",
		`status["503"] >= 2`:              "1-0",
		`status["200"] < 2`:               "1-0", // too many: one of them
		`workloads["reviews-v1"] == 4`:    "1-3",
		`share(workloads, "v3") > 0.5`:    "1-3", // nobody has it: the first that failed
		`latency.max < duration("1ms")`:   "1-0",
		`attempts["reviews-v2"] == 3`:     "1-0",
		`status["200"] == 3`:              "", // it holds
		`count == 4 && status["503"] > 1`: "1-0",
	}
	st := spec.Step{Name: "ask", Operation: "request", Request: &spec.Request{From: "page", URL: "http://reviews:9080/"}}
	for text := range expressions {
		st.Expect = append(st.Expect, spec.Expression{Text: text})
	}
	s := &spec.Scenario{Name: "s", Steps: []spec.Step{st}}
	var out result.Scenario
	synctest.Test(t, func(t *testing.T) { out = Run(t.Context(), env{"sim", page(), nil}, s, Options{Seed: 1}) })
	step := &out.Steps[0]
	for _, c := range step.Checks {
		if want := expressions[c.Expression]; c.RequestID != want {
			t.Errorf("%s: %q, want %q", c.Expression, c.RequestID, want)
		}
		if _, e := step.Example(c.RequestID); (e == nil) != (c.RequestID == "") {
			t.Errorf("%s: the call %q is not kept", c.Expression, c.RequestID)
		}
	}
}
