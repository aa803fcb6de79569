// Package reports turns the result of a run into what people and programs read:
// results.json, JUnit XML, Markdown for job pages, and one HTML file.
package reports

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// The files of a report.
const (
	ResultsFile = "results.json"
	JUnitFile   = "junit.xml"
	SummaryFile = "summary.md"
	HTMLFile    = "report.html"
	TAPFile     = "results.tap"
	BadgeFile   = "badge.svg"
)

// Write writes the files of a report into a folder, which is made where it is missing.
// Without formats these are results.json, junit.xml, summary.md and report.html.
func Write(dir string, run *result.Run, formats ...string) error {
	if err := os.MkdirAll(filepath.Join(dir, "traces"), 0o755); err != nil {
		return fmt.Errorf("make the report's folder: %w", err)
	}
	if len(formats) == 0 {
		formats = []string{"json", "junit", "markdown", "html"}
	}
	var errs []error
	for _, f := range Formats() {
		if !slices.Contains(formats, f.Name) {
			continue
		}
		data, err := f.Render(run)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, f.File), data, 0o644)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("write %s: %w", f.File, err))
		}
	}
	return errors.Join(errs...)
}

// JSON renders results.json.
func JSON(run *result.Run) ([]byte, error) {
	data, err := json.MarshalIndent(run, "", "  ")
	return append(data, '\n'), err
}

// Read reads results.json from a folder.
func Read(dir string) (*result.Run, error) {
	data, err := os.ReadFile(filepath.Join(dir, ResultsFile))
	if err != nil {
		return nil, err
	}
	var run result.Run
	if err := json.Unmarshal(data, &run); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, ResultsFile), err)
	}
	if run.Version != result.Version {
		return nil, fmt.Errorf("%s: version %q, expected %q", filepath.Join(dir, ResultsFile), run.Version, result.Version)
	}
	return &run, nil
}

// Verdict is one line about a run.
func Verdict(run *result.Run) string {
	text := fmt.Sprintf("%d passed, %d failed", run.Passed, run.Failed)
	if run.Errors > 0 {
		text += fmt.Sprintf(", %d errors", run.Errors)
	}
	if run.Skipped > 0 {
		text += fmt.Sprintf(", %d skipped", run.Skipped)
	}
	if run.Interrupted {
		text += ", interrupted"
	}
	return text
}
