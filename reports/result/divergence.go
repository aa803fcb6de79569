package result

// Comparison is what two environments made of the same scenarios, step by step.
type Comparison struct {
	Environments [2]string `json:"environments"`
	// Steps with traffic that ran in both.
	Compared int `json:"compared"`
	// Differing is how many of them differ beyond chance.
	Differing int           `json:"differing"`
	Steps     []ComparedRow `json:"steps"`
}

// ComparedRow is one step in both environments. Latencies are in seconds, in the
// environments' own time.
type ComparedRow struct {
	Scenario    string       `json:"scenario"`
	File        string       `json:"file"`
	Line        int          `json:"line"`
	Step        string       `json:"step"`
	P50         [2]float64   `json:"p50"`
	P99         [2]float64   `json:"p99"`
	Differences []Difference `json:"differences,omitempty"`
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

// Difference is one value that is not the same: `status["503"]`.
type Difference struct {
	What   string     `json:"what"`
	Values [2]float64 `json:"values"`
	// Chance is set where draws explain the difference: the shares of two samples of
	// these sizes differ by less than three standard errors, and neither is nothing or all.
	Chance bool `json:"chance,omitempty"`
}
