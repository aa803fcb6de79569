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
)

func sample() *result.Run {
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
	if err := Write(dir, sample()); err != nil {
		t.Fatal(err)
	}
	run, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(sample())
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
	data, err := JUnit(sample())
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
	data, err := Markdown(sample())
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	if !strings.Contains(text, "1 passed, 1 failed") || strings.Count(text, "<details") != 1 || !strings.Contains(text, "bad.yaml:14") {
		t.Fatal(text)
	}
}

func TestHTMLIsOneSafeFile(t *testing.T) {
	data, err := HTML(sample())
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
	for _, want := range []string{"1 passed, 1 failed", `<svg class="timeline"`, `class="bad"`, "bad.yaml:14", `class="event"`} {
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
