package reports

import (
	"encoding/xml"
	"fmt"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2/reporters"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// JUnit renders a test suite with a test case per scenario. Times are wall time.
func JUnit(run *result.Run) ([]byte, error) {
	suite := reporters.JUnitTestSuite{
		Name:      "windtunnel " + run.Environment,
		Package:   "windtunnel",
		Tests:     len(run.Scenarios),
		Failures:  run.Failed,
		Errors:    run.Errors,
		Skipped:   run.Skipped,
		Time:      run.WallSeconds,
		Timestamp: time.Time{}.Format("2006-01-02T15:04:05"),
	}
	suite.Properties.Properties = []reporters.JUnitProperty{{Name: "seed", Value: fmt.Sprint(run.Seed)}}
	for i := range run.Scenarios {
		suite.TestCases = append(suite.TestCases, testCase(&run.Scenarios[i]))
	}
	all := reporters.JUnitTestSuites{
		Tests: suite.Tests, Failures: suite.Failures, Errors: suite.Errors, Time: suite.Time,
		TestSuites: []reporters.JUnitTestSuite{suite},
	}
	data, err := xml.MarshalIndent(all, "", "  ")
	return append([]byte(xml.Header), append(data, '\n')...), err
}

func testCase(s *result.Scenario) reporters.JUnitTestCase {
	c := reporters.JUnitTestCase{Name: s.Name, Classname: s.File, Status: string(s.Status), Time: s.WallSeconds}
	switch s.Status {
	case result.Failed:
		c.Failure = &reporters.JUnitFailure{Message: firstLine(Failures(s)), Type: "expectation", Description: Failures(s)}
	case result.Error:
		c.Error = &reporters.JUnitError{Message: firstLine(Failures(s)), Type: "error", Description: Failures(s)}
	case result.Skipped:
		c.Skipped = &reporters.JUnitSkipped{Message: s.Message}
	}
	return c
}

// Failures is all that went wrong in a scenario, a line or more per finding.
func Failures(s *result.Scenario) string {
	var lines []string
	if s.Message != "" {
		lines = append(lines, s.Message)
	}
	for _, step := range s.Steps {
		if step.Message != "" && (step.Status == result.Failed || step.Status == result.Error) {
			lines = append(lines, fmt.Sprintf("step %q: %s", step.Name, step.Message))
		}
		for _, c := range step.Checks {
			if c.Status != result.Passed {
				lines = append(lines, fmt.Sprintf("%s:%d: %s: %s", c.File, c.Line, c.Expression, c.Values()))
			}
		}
	}
	return strings.Join(lines, "\n")
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
