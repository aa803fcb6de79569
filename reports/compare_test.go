package reports_test

import (
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/reports"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

func traffic(env string, v1, v2, attempts int64) result.Scenario {
	return result.Scenario{Name: "split", File: "a.yaml", Environment: env, Steps: []result.Step{{Name: "send", Line: 7, Result: map[string]any{
		"count": v1 + v2, "errors": int64(0), "status": map[string]int64{"200": v1 + v2}, "workloads": map[string]int64{"v1": v1, "v2": v2},
		"attempts": map[string]int64{"v1": attempts}, "latency": map[string]any{"p50": 0.002, "p99": 0.02}}}, {Name: "wait"}}}
}

func TestCompareTellsChanceFromDifference(t *testing.T) {
	for _, c := range []struct {
		name        string
		sim, kind   result.Scenario
		differences int
		differs     bool
	}{
		{"the same", traffic("sim", 50, 50, 50), traffic("kind", 50, 50, 50), 0, false},
		{"draws", traffic("sim", 50, 50, 50), traffic("kind", 45, 55, 45), 3, false},
		{"another share", traffic("sim", 50, 50, 50), traffic("kind", 90, 10, 50), 2, true},
		{"never there", traffic("sim", 100, 0, 100), traffic("kind", 99, 1, 100), 2, true},
		{"more attempts", traffic("sim", 100, 0, 100), traffic("kind", 100, 0, 101), 1, true},
	} {
		found := reports.Compare([2]string{"sim", "kind"}, []result.Scenario{c.sim, c.kind})
		if found.Compared != 1 || len(found.Steps) != 1 {
			t.Fatalf("%s: compared %d steps", c.name, found.Compared)
		}
		row := found.Steps[0]
		if len(row.Differences) != c.differences || row.Differs() != c.differs || (found.Differing == 1) != c.differs {
			t.Errorf("%s: differs %t, %+v", c.name, row.Differs(), row.Differences)
		}
		if row.P99 != [2]float64{0.02, 0.02} {
			t.Errorf("%s: p99 %v", c.name, row.P99)
		}
	}
}

func TestDivergenceNamesTheStepAndTheValue(t *testing.T) {
	c := reports.Compare([2]string{"sim", "kind"}, []result.Scenario{traffic("sim", 100, 0, 100), traffic("kind", 90, 10, 100)})
	text := reports.Divergence(c)
	for _, want := range []string{"1 steps compared, 1 differ", "a.yaml:7: split: send", `workloads["v2"]: 0 in sim, 10 in kind`, "p50"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	page, err := reports.HTML(&result.Run{Environment: "sim,kind", Comparison: c})
	if err != nil || !strings.Contains(string(page), "sim against kind") {
		t.Errorf("the page does not have the comparison: %v", err)
	}
}
