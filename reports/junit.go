package reports

import (
	"encoding/xml"
	"fmt"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2/reporters"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// JUnitSteps renders a test suite per scenario with a test case per step. Times of suites
// are wall time, those of steps the world's.
func JUnitSteps(run *result.Run) ([]byte, error) {
	all := reporters.JUnitTestSuites{Time: run.WallSeconds}
	for i := range run.Scenarios {
		s := &run.Scenarios[i]
		suite := reporters.JUnitTestSuite{Name: s.Name, Package: s.File, Time: s.WallSeconds, Timestamp: time.Time{}.Format("2006-01-02T15:04:05")}
		suite.Properties.Properties = []reporters.JUnitProperty{{Name: "seed", Value: fmt.Sprint(s.Seed)}}
		told := false
		for j := range s.Steps {
			step := &s.Steps[j]
			c := reporters.JUnitTestCase{Name: step.Name, Classname: s.Name, Status: string(step.Status), Time: step.Seconds}
			verdictOf(&c, step.Status, stepFailures(step))
			told = told || step.Status == s.Status
			suite.TestCases = append(suite.TestCases, c)
		}
		if !told { // what no step says: the world did not come up, nothing was tested
			c := reporters.JUnitTestCase{Name: "scenario", Classname: s.Name, Status: string(s.Status), Time: s.WallSeconds}
			verdictOf(&c, s.Status, Failures(s))
			suite.TestCases = append(suite.TestCases, c)
		}
		for _, c := range suite.TestCases {
			suite.Tests++
			switch {
			case c.Failure != nil:
				suite.Failures++
			case c.Error != nil:
				suite.Errors++
			case c.Skipped != nil:
				suite.Skipped++
			}
		}
		all.Tests, all.Failures, all.Errors = all.Tests+suite.Tests, all.Failures+suite.Failures, all.Errors+suite.Errors
		all.TestSuites = append(all.TestSuites, suite)
	}
	data, err := xml.MarshalIndent(all, "", "  ")
	return append([]byte(xml.Header), append(data, '\n')...), err
}

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
	verdictOf(&c, s.Status, Failures(s))
	return c
}

func verdictOf(c *reporters.JUnitTestCase, status result.Status, why string) {
	switch status {
	case result.Failed:
		c.Failure = &reporters.JUnitFailure{Message: firstLine(why), Type: "expectation", Description: why}
	case result.Error:
		c.Error = &reporters.JUnitError{Message: firstLine(why), Type: "error", Description: why}
	case result.Skipped:
		c.Skipped = &reporters.JUnitSkipped{Message: firstLine(why)}
	}
}

// stepFailures is what went wrong in a step, or why it was not run.
func stepFailures(step *result.Step) string {
	var lines []string
	if step.Message != "" {
		lines = append(lines, step.Message)
	}
	for _, c := range step.Checks {
		if c.Status != result.Passed {
			lines = append(lines, failed(step, c))
		}
	}
	return strings.Join(lines, "\n")
}

// failed is a check that failed: where, what, the values, and a call that shows it.
func failed(step *result.Step, c result.Check) string {
	text := fmt.Sprintf("%s:%d: %s: %s", c.File, c.Line, c.Expression, c.Values())
	if example := Exemplar(step, c); example != "" {
		text += "\n" + example
	}
	return text
}

// Failures is all that went wrong in a scenario, a line or more per finding.
func Failures(s *result.Scenario) string {
	var lines []string
	if s.Message != "" {
		lines = append(lines, s.Message)
	}
	if s.Evidence != "" {
		lines = append(lines, "logs and dumps: "+s.Evidence)
	}
	for i := range s.Steps {
		step := &s.Steps[i]
		if step.Message != "" && (step.Status == result.Failed || step.Status == result.Error) {
			lines = append(lines, fmt.Sprintf("step %q: %s", step.Name, step.Message))
		}
		for _, c := range step.Checks {
			if c.Status != result.Passed {
				lines = append(lines, failed(step, c))
			}
		}
	}
	return strings.Join(lines, "\n")
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
