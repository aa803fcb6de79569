// Package result is the schema of results.json, version v1: what a run found, in
// a form that other programs read. It imports the standard library only.
package result

import "strings"

// Version of the schema.
const Version = "v1"

// Status of a scenario, a step or a check.
type Status string

// The statuses. Checks are never skipped scenarios' business.
const (
	Passed  Status = "passed"
	Failed  Status = "failed"
	Error   Status = "error"
	Skipped Status = "skipped"
)

// Run is one invocation.
type Run struct {
	Version     string     `json:"version"`
	Environment string     `json:"environment"`
	Seed        uint64     `json:"seed"`
	Passed      int        `json:"passed"`
	Failed      int        `json:"failed"`
	Errors      int        `json:"errors"`
	Skipped     int        `json:"skipped"`
	WallSeconds float64    `json:"wallSeconds"`
	Interrupted bool       `json:"interrupted,omitempty"`
	Scenarios   []Scenario `json:"scenarios"`
	// Comparison is there where the run was in two environments.
	Comparison *Comparison `json:"comparison,omitempty"`
}

// Scenario is one scenario's outcome.
type Scenario struct {
	Name           string            `json:"name"`
	File           string            `json:"file"`
	Line           int               `json:"line,omitempty"`
	Description    string            `json:"description,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
	Status         Status            `json:"status"`
	Message        string            `json:"message,omitempty"`     // why error or skipped
	Environment    string            `json:"environment,omitempty"` // where the run had several
	Seed           uint64            `json:"seed"`
	VirtualSeconds float64           `json:"virtualSeconds"` // the world's own time
	WallSeconds    float64           `json:"wallSeconds"`
	Requests       int64             `json:"requests"` // exchanges that proxies handled
	Digest         string            `json:"digest,omitempty"`
	Steps          []Step            `json:"steps"`
	Timeline       *Timeline         `json:"timeline,omitempty"`
}

// Step is one step's outcome. Start and Seconds are the world's time, from its beginning.
type Step struct {
	Name      string         `json:"name"`
	Operation string         `json:"operation,omitempty"`
	Status    Status         `json:"status"`
	Message   string         `json:"message,omitempty"`
	Line      int            `json:"line,omitempty"`
	Start     float64        `json:"start"`
	Seconds   float64        `json:"seconds"`
	Result    map[string]any `json:"result,omitempty"`
	Checks    []Check        `json:"checks,omitempty"`
}

// Check is one expectation's outcome.
type Check struct {
	Expression string `json:"expression"`
	Status     Status `json:"status"`
	Message    string `json:"message,omitempty"`
	File       string `json:"file"`
	Line       int    `json:"line"`
}

// Values is the message without the expression that it begins with.
func (c Check) Values() string { return strings.TrimPrefix(c.Message, c.Expression+", ") }

// Timeline is who answered over the world's time, in buckets.
type Timeline struct {
	BucketSeconds float64  `json:"bucketSeconds"`
	Series        []Series `json:"series"` // by workload, sorted
	Events        []Event  `json:"events,omitempty"`
}

// Series has the answers of one workload.
type Series struct {
	Workload string         `json:"workload"`
	OK       []int          `json:"ok"`     // per bucket, answers below 400
	Errors   []int          `json:"errors"` // per bucket, the others
	Status   map[string]int `json:"status"`
	Flags    map[string]int `json:"flags,omitempty"`
}

// Event is a mark on the timeline.
type Event struct {
	Seconds float64 `json:"seconds"`
	Kind    string  `json:"kind"`
	Text    string  `json:"text"`
}
