package stat

import "github.com/windtunnel-mesh/windtunnel/reports/result"

// HistoryEntry is a line of a history file: the medians of one build.
type HistoryEntry struct {
	Started string       `json:"started"`
	Build   result.Build `json:"build"`
	CPU     string       `json:"cpu,omitempty"`
	// Medians are by configuration and metric.
	Medians map[string]map[string]Summary `json:"medians"`
}

// Entry is what a history keeps of a benchmark.
func Entry(b *result.Benchmark) HistoryEntry {
	e := HistoryEntry{Started: b.Started, Build: b.Build, CPU: b.Machine.CPU, Medians: map[string]map[string]Summary{}}
	for i := range b.Configurations {
		c := &b.Configurations[i]
		for _, m := range b.Metrics {
			if values := c.Values(m.Name); len(values) > 0 {
				if e.Medians[c.Name] == nil {
					e.Medians[c.Name] = map[string]Summary{}
				}
				e.Medians[c.Name][m.Name] = summarize(values, 1-DefaultAlpha)
			}
		}
	}
	return e
}
