package result

import (
	"cmp"
	"math"
)

// BenchmarkKind tells a benchmark's file from a run's.
const BenchmarkKind = "benchmark"

// Benchmark is one `windtunnel bench run`: what was measured, where and of what.
// It is the file bench.json, version v1.
type Benchmark struct {
	Version        string          `json:"version"`
	Kind           string          `json:"kind"` // BenchmarkKind
	Started        string          `json:"started"`
	WallSeconds    float64         `json:"wallSeconds"`
	Interrupted    bool            `json:"interrupted,omitempty"`
	Interleaved    bool            `json:"interleaved,omitempty"` // with another build's, whose file has the same start: their rounds are pairs
	Build          Build           `json:"build"`
	Machine        Machine         `json:"machine"`
	Metrics        []Metric        `json:"metrics"`        // of all configurations, sorted by name
	Configurations []Configuration `json:"configurations"` // sorted by name
}

// Build is what was measured.
type Build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Dirty   bool   `json:"dirty,omitempty"`
	Go      string `json:"go"`
}

// Machine is where it was measured.
type Machine struct {
	OS            string   `json:"os"`
	Arch          string   `json:"arch"`
	Kernel        string   `json:"kernel,omitempty"`
	CPU           string   `json:"cpu,omitempty"`
	Cores         int      `json:"cores"`
	Governor      string   `json:"governor,omitempty"` // "" where the system has none
	MemoryBytes   int64    `json:"memoryBytes,omitempty"`
	LoadAverage   float64  `json:"loadAverage"` // over a minute, before the first run
	Pinned        bool     `json:"pinned"`      // programs held on own cores
	Notes         []string `json:"notes,omitempty"`
	VirtualMemory string   `json:"virtualMemory,omitempty"` // transparent huge pages
}

// Better says which way a metric is better.
type Better string

// The directions. A metric of no direction never makes a regression.
const (
	Lower  Better = "lower"
	Higher Better = "higher"
)

// Metric is something that is measured. Exact metrics are the same on every run of
// one build (virtual time, counts): they are compared exactly.
type Metric struct {
	Name   string `json:"name"` // "latency-p99", as benchfmt's units are written
	Unit   string `json:"unit"` // "s", "B", "req/s", "instructions/req"
	Better Better `json:"better,omitempty"`
	Exact  bool   `json:"exact,omitempty"`
	// Floor is the smallest change, in the metric's unit, that anybody would care about.
	Floor float64 `json:"floor,omitempty"`
	// Relative is the smallest change that matters, as a part of the base, of a metric
	// that hardly knows noise. 0: what the comparison asks for.
	Relative float64 `json:"relative,omitempty"`
	About    string  `json:"about,omitempty"`
}

// Configuration is one cell of the matrix, measured several times.
type Configuration struct {
	// Name is the key that pairs two files: "load/proxies=both/connections=16/qps=max".
	Name       string            `json:"name"`
	Suite      string            `json:"suite"` // load, search, controlplane, simulator
	Parameters map[string]string `json:"parameters,omitempty"`
	// Skipped says why there are no samples.
	Skipped string   `json:"skipped,omitempty"`
	Samples []Sample `json:"samples,omitempty"` // in the order in which they were taken
}

// WithoutResult says why none of a configuration's samples is a result; "" where one is.
func (c *Configuration) WithoutResult() string {
	why := c.Skipped
	for _, s := range c.Samples {
		if s.Invalid == "" {
			return ""
		}
		if why == "" {
			why = s.Invalid
		}
	}
	return cmp.Or(why, "no sample was taken")
}

// Sample is one run of a configuration.
type Sample struct {
	Round   int                `json:"round"`   // of the interleaving, from 0
	Order   int                `json:"order"`   // over all configurations, from 0
	Started float64            `json:"started"` // seconds since the benchmark's start
	Seconds float64            `json:"seconds"` // that were measured, warm-up left out
	Metrics map[string]float64 `json:"metrics"`
	// Proxies has what the operating system says of each program.
	Proxies map[string]map[string]float64 `json:"proxies,omitempty"`
	// Latency is a histogram from the intended start, HDR's V2 form in base64; Service from the send.
	Latency string `json:"latency,omitempty"`
	Service string `json:"service,omitempty"`
	// PerSecond has requests, errors and p99 (in seconds) of each second.
	PerSecond []Second `json:"perSecond,omitempty"`
	// ErrorKinds are the calls without an answer, by why: "timeout", "refused", …
	ErrorKinds map[string]int `json:"errorKinds,omitempty"`
	Invalid    string         `json:"invalid,omitempty"` // why this sample is not a result
	// Fortio is the sample as fortio writes it, for a file of its own.
	Fortio []byte `json:"-"`
}

// Second is one second of a sample.
type Second struct {
	Requests int     `json:"requests"`
	Errors   int     `json:"errors,omitempty"`
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
}

// Values are a metric's samples, in their order; runs that are no result and
// values that are no number are left out.
func (c *Configuration) Values(metric string) []float64 {
	var values []float64
	for _, s := range c.Samples {
		if v, ok := s.Metrics[metric]; ok && s.Invalid == "" && !math.IsNaN(v) && !math.IsInf(v, 0) {
			values = append(values, v)
		}
	}
	return values
}
