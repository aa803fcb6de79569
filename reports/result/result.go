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
	Version     string      `json:"version" doc:"v1"`
	Environment string      `json:"environment" doc:"sim, loopback, kind or kube"`
	Seed        uint64      `json:"seed" doc:"of the run; each scenario has its own"`
	Passed      int         `json:"passed" doc:"scenarios"`
	Failed      int         `json:"failed" doc:"scenarios of which an expectation failed"`
	Errors      int         `json:"errors" doc:"scenarios that could not be run, or proved nothing"`
	Skipped     int         `json:"skipped" doc:"scenarios that do not run in this environment"`
	WallSeconds float64     `json:"wallSeconds" doc:"the run as a whole, real time"`
	Interrupted bool        `json:"interrupted,omitempty" doc:"what did not finish is not in the list"`
	Scenarios   []Scenario  `json:"scenarios" doc:"in the order of the files"`
	Comparison  *Comparison `json:"comparison,omitempty" doc:"of two environments; where the run was in one, there is none"`
}

// Scenario is one scenario's outcome.
type Scenario struct {
	Name           string            `json:"name" doc:"unique in a run, unless it is repeated"`
	File           string            `json:"file" doc:"as it was given"`
	Line           int               `json:"line,omitempty" doc:"of the document"`
	Description    string            `json:"description,omitempty" doc:"as written"`
	Labels         map[string]string `json:"labels,omitempty" doc:"as written"`
	Status         Status            `json:"status" doc:"passed, failed, error or skipped"`
	Message        string            `json:"message,omitempty" doc:"why, where it is not passed"`
	Environment    string            `json:"environment,omitempty" doc:"where the run had several"`
	Seed           uint64            `json:"seed" doc:"of all randomness"`
	VirtualSeconds float64           `json:"virtualSeconds" doc:"the world's own time"`
	WallSeconds    float64           `json:"wallSeconds" doc:"real time"`
	Requests       int64             `json:"requests" doc:"exchanges that proxies handled"`
	Digest         string            `json:"digest,omitempty" doc:"the same for every run of a seed; simulator only"`
	Steps          []Step            `json:"steps" doc:"in order, those that were not reached too"`
	Timeline       *Timeline         `json:"timeline,omitempty" doc:"who answered; none where the world did not come up"`
	Graph          *Graph            `json:"graph,omitempty" doc:"who called whom"`
	Heat           *Heat             `json:"heat,omitempty" doc:"latencies over time of the scenario's own calls"`
	Resources      []Change          `json:"resources,omitempty" doc:"the configuration before the first step"`
	Evidence       string            `json:"evidence,omitempty" doc:"where a cluster's scenario did not pass: a folder beside the report with logs of its Pods and dumps of its proxies"`
}

// Step is one step's outcome. Start and Seconds are the world's time, from its beginning.
type Step struct {
	Name      string         `json:"name" doc:"as written, or \"step N\""`
	Operation string         `json:"operation,omitempty" doc:"none: expectations alone"`
	Status    Status         `json:"status" doc:"passed, failed, error or skipped"`
	Message   string         `json:"message,omitempty" doc:"why"`
	Line      int            `json:"line,omitempty" doc:"in the scenario's file"`
	Start     float64        `json:"start" doc:"seconds of the world's time"`
	Seconds   float64        `json:"seconds" doc:"the world's time that it took"`
	Result    map[string]any `json:"result,omitempty" doc:"the variables of expressions, see SCENARIOS.md; durations are seconds"`
	Checks    []Check        `json:"checks,omitempty" doc:"its expectations"`
	Latency   *Latency       `json:"latency,omitempty" doc:"of the calls that it sent"`
	Outcomes  []Outcome      `json:"outcomes,omitempty" doc:"what became of them, the most frequent first"`
	Way       map[string]any `json:"way,omitempty" doc:"where calls failed: windtunnel explain's answer for them, after the step"`
	Changes   []Change       `json:"changes,omitempty" doc:"to the configuration"`
}

// Check is one expectation's outcome.
type Check struct {
	Expression string `json:"expression" doc:"CEL, as written"`
	Status     Status `json:"status" doc:"passed, failed or error"`
	Message    string `json:"message,omitempty" doc:"the values of what it mentions"`
	File       string `json:"file" doc:"of the expression"`
	Line       int    `json:"line" doc:"of the expression"`
	RequestID  string `json:"requestId,omitempty" doc:"of the call that shows best why it failed: the slowest, or one of the fewer; it is among the examples of the step's outcomes"`
}

// Values is the message without the expression that it begins with.
func (c Check) Values() string { return strings.TrimPrefix(c.Message, c.Expression+", ") }

// Example is the call with an id among the examples of the step's outcomes.
func (s *Step) Example(id string) (*Outcome, *Example) {
	for i := range s.Outcomes {
		for j := range s.Outcomes[i].Examples {
			if id != "" && s.Outcomes[i].Examples[j].RequestID == id {
				return &s.Outcomes[i], &s.Outcomes[i].Examples[j]
			}
		}
	}
	return nil, nil
}

// Timeline is who answered over the world's time, in buckets.
type Timeline struct {
	BucketSeconds float64  `json:"bucketSeconds" doc:"width of a bucket, in seconds"`
	Series        []Series `json:"series" doc:"by workload, sorted; (nobody): calls that no workload answered"`
	Events        []Event  `json:"events,omitempty" doc:"in order of time"`
	Retries       []int    `json:"retries,omitempty" doc:"tries beyond the first, per bucket; none: there were none"`
	Bands         []Band   `json:"bands,omitempty" doc:"what lasted, in order of kind and time"`
}

// Series has the answers of one workload.
type Series struct {
	Workload string         `json:"workload" doc:"a workload, or (nobody)"`
	OK       []int          `json:"ok" doc:"answers below 400, per bucket"`
	Errors   []int          `json:"errors" doc:"the other answers, per bucket"`
	Status   map[string]int `json:"status" doc:"answers by status"`
	Flags    map[string]int `json:"flags,omitempty" doc:"answers by response flag"`
}

// Event is a mark on the timeline.
type Event struct {
	Seconds float64 `json:"seconds" doc:"of the world's time"`
	Kind    string  `json:"kind" doc:"pod, eject, uneject, refused, canary, warning and others"`
	Text    string  `json:"text" doc:"what happened"`
}
