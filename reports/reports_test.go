package reports

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/onsi/ginkgo/v2/reporters"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/reports/sample"
)

func small() *result.Run {
	return &result.Run{
		Version: result.Version, Environment: "sim", Seed: 1, Passed: 1, Failed: 1, WallSeconds: 0.4,
		Scenarios: []result.Scenario{{
			Name: "good", File: "good.yaml", Description: "All <b>well</b>.", Status: result.Passed, VirtualSeconds: 190, WallSeconds: 0.2, Requests: 12,
			Timeline: &result.Timeline{BucketSeconds: 10, Series: []result.Series{
				{Workload: "reviews-v1", OK: []int{3, 0, 4}, Errors: []int{0, 2, 0}, Status: map[string]int{"200": 7, "503": 2}},
			}, Events: []result.Event{{Seconds: 10, Kind: "apply", Text: "VirtualService default/reviews"}}},
			Steps: []result.Step{{Name: "ask", Operation: "request", Status: result.Passed, Line: 9}},
		}, {
			Name: "bad", File: "bad.yaml", Status: result.Failed, VirtualSeconds: 1, WallSeconds: 0.2,
			Steps: []result.Step{{Name: "ask", Operation: "request", Status: result.Failed, Line: 12, Checks: []result.Check{
				{Expression: `status["503"] == 3`, Status: result.Failed, Message: `status["503"] is 2 </script>`, File: "bad.yaml", Line: 14},
			}}},
		}},
	}
}

func TestWriteAndReadAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	if err := Write(dir, small()); err != nil {
		t.Fatal(err)
	}
	run, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(small())
	if got, _ := json.Marshal(run); string(got) != string(want) {
		t.Fatalf("read %s\nwant %s", got, want)
	}
	if err := os.WriteFile(filepath.Join(dir, ResultsFile), []byte(`{"version":"v0"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), `"v0"`) {
		t.Fatalf("an old version was read: %v", err)
	}
}

func TestJUnit(t *testing.T) {
	data, err := JUnit(small())
	if err != nil {
		t.Fatal(err)
	}
	var suites reporters.JUnitTestSuites
	if err := xml.Unmarshal(data, &suites); err != nil {
		t.Fatal(err)
	}
	cases := suites.TestSuites[0].TestCases
	if suites.Tests != 2 || suites.Failures != 1 || len(cases) != 2 || cases[0].Failure != nil || cases[1].Failure == nil {
		t.Fatalf("%s", data)
	}
	if want := `bad.yaml:14: status["503"] == 3: status["503"] is 2`; !strings.Contains(cases[1].Failure.Message, want) {
		t.Fatalf("failure says %q, want %q", cases[1].Failure.Message, want)
	}
}

func TestMarkdownNamesFailuresOnly(t *testing.T) {
	data, err := Markdown(small())
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	if !strings.Contains(text, "1 passed, 1 failed") || strings.Count(text, "<details") != 1 || !strings.Contains(text, "bad.yaml:14") {
		t.Fatal(text)
	}
}

func TestHTMLIsOneSafeFile(t *testing.T) {
	data, err := HTML(small())
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	if refs := regexp.MustCompile(`(?i)(src|href)="?(https?:|//)[^"]*`).FindAllString(text, -1); refs != nil {
		t.Fatalf("the report refers to the network: %q", refs)
	}
	if strings.Count(text, "</script>") != 2 || strings.Contains(text, "<b>well</b>") {
		t.Fatal("text of the run is not escaped")
	}
	for _, want := range []string{"1 passed, 1 failed", `<svg class="timeline"`, `class="bad"`, "bad.yaml:14", `class="mark"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	embedded := regexp.MustCompile(`(?s)id="data">(.*?)</script>`).FindStringSubmatch(text)
	var run result.Run
	if embedded == nil || json.Unmarshal([]byte(embedded[1]), &run) != nil || len(run.Scenarios) != 2 {
		t.Fatalf("the embedded data cannot be read: %q", embedded)
	}
}

func TestJUnitOfSteps(t *testing.T) {
	run := small()
	run.Scenarios = append(run.Scenarios, result.Scenario{Name: "none", Status: result.Error, Message: "the world did not come up"})
	data, err := JUnitSteps(run)
	if err != nil {
		t.Fatal(err)
	}
	var suites reporters.JUnitTestSuites
	if err := xml.Unmarshal(data, &suites); err != nil {
		t.Fatal(err)
	}
	if suites.Tests != 3 || suites.Failures != 1 || suites.Errors != 1 || len(suites.TestSuites) != 3 || suites.TestSuites[1].TestCases[0].Failure == nil {
		t.Fatalf("%s", data)
	}
}

func TestTAP(t *testing.T) {
	run := small()
	run.Scenarios = append(run.Scenarios, result.Scenario{Name: "later #1", Status: result.Skipped, Message: "runs in kind"})
	data, err := TAP(run)
	if err != nil {
		t.Fatal(err)
	}
	want := `TAP version 14
1..3
# Subtest: good
    1..1
    ok 1 - ask
ok 1 - good
# Subtest: bad
    1..1
    not ok 1 - ask
      ---
      severity: failed
      message: |
        bad.yaml:14: status["503"] == 3: status["503"] is 2 </script>
      ...
not ok 2 - bad
  ---
  severity: failed
  message: |
    bad.yaml:14: status["503"] == 3: status["503"] is 2 </script>
  ...
ok 3 - later \#1 # SKIP runs in kind
`
	if got := string(data); got != want {
		t.Fatalf("got\n%s", got)
	}
}

func TestBadge(t *testing.T) {
	for want, run := range map[string]*result.Run{
		"1 of 2 failed": small(), "3 passed": {Passed: 3}, "nothing tested": {Skipped: 2}, "interrupted": {Passed: 1, Interrupted: true},
	} {
		data, err := Badge(run)
		if err != nil || xml.Unmarshal(data, new(struct{})) != nil || !strings.Contains(string(data), ">"+want+"</text>") {
			t.Errorf("%s: %s, %v", want, data, err)
		}
	}
}

func TestReportsStaySmall(t *testing.T) {
	for _, c := range []struct {
		name            string
		o               sample.Options
		page, summary   int // bytes at most
		wantIllustrated int
	}{
		{"20 scenarios", sample.Options{Scenarios: 20, Failed: 3}, 3 << 20, maxSummary, 20},
		{"500 scenarios of 10^6 requests", sample.Options{Scenarios: 500, Failed: 200, Requests: 1_000_000}, 40 << 20, maxSummary, 150},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := sample.Run(c.o)
			text, err := HTML(run)
			if err != nil {
				t.Fatal(err)
			}
			summary, err := Markdown(run)
			if err != nil {
				t.Fatal(err)
			}
			if len(text) > c.page || len(summary) > c.summary {
				t.Errorf("the page has %d bytes, the summary %d", len(text), len(summary))
			}
			if !strings.Contains(string(summary), "```mermaid\nflowchart LR\n") {
				t.Error("the summary has no graph")
			}
			if n := strings.Count(string(text), `<svg class="timeline"`); n != c.wantIllustrated {
				t.Errorf("%d timelines, want %d", n, c.wantIllustrated)
			}
		})
	}
}
