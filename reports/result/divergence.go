package result

// Comparison is what two environments made of the same scenarios, step by step.
type Comparison struct {
	Environments [2]string     `json:"environments" doc:"two of sim, loopback, kind and kube"`
	Compared     int           `json:"compared" doc:"steps with traffic that ran in both"`
	Differing    int           `json:"differing" doc:"how many of them differ beyond chance"`
	Steps        []ComparedRow `json:"steps" doc:"those that were compared"`
}

// ComparedRow is one step in both environments. Latencies are in seconds, in the
// environments' own time.
type ComparedRow struct {
	Scenario    string       `json:"scenario" doc:"its name"`
	File        string       `json:"file" doc:"of the scenario"`
	Line        int          `json:"line" doc:"of the step"`
	Step        string       `json:"step" doc:"its name"`
	P50         [2]float64   `json:"p50" doc:"median latency in seconds, in each environment's own time"`
	P99         [2]float64   `json:"p99" doc:"99th percentile in seconds"`
	Differences []Difference `json:"differences,omitempty" doc:"values that are not the same"`
}

// Differs tells whether the step differs beyond chance.
func (r ComparedRow) Differs() bool {
	for _, d := range r.Differences {
		if !d.Chance {
			return true
		}
	}
	return false
}

// Difference is one value that is not the same. Draws explain it where the shares of
// two samples of these sizes differ by less than three standard errors, and neither is
// nothing or all.
type Difference struct {
	What   string     `json:"what" doc:"the value as expectations name it"`
	Values [2]float64 `json:"values" doc:"in each environment"`
	Chance bool       `json:"chance,omitempty" doc:"draws explain it"`
}
