package stat

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// noise is how a machine disturbs a measurement: a factor around 1.
type noise func(r *rand.Rand) float64

// The shapes of noise that benchmarks have: symmetric, with a long tail of slow
// runs, and two modes (a program that sometimes gets a bad memory layout).
var noises = map[string]noise{
	"normal":  func(r *rand.Rand) float64 { return 1 + 0.02*r.NormFloat64() },
	"tail":    func(r *rand.Rand) float64 { return math.Exp(0.03 * math.Abs(r.NormFloat64()+r.ExpFloat64())) },
	"bimodal": func(r *rand.Rand) float64 { return 1 + 0.08*float64(r.IntN(2)) + 0.01*r.NormFloat64() },
}

// benchmark makes a file of n samples for each of 8 configurations of three
// metrics; both builds of a round share the machine's drift, as interleaved runs do.
func benchmark(r *rand.Rand, n int, factor float64, disturb noise, drift []float64) *result.Benchmark {
	b := &result.Benchmark{Version: result.Version, Kind: result.BenchmarkKind, Metrics: []result.Metric{
		{Name: "cpu-per-request", Unit: "s", Better: result.Lower},
		{Name: "latency-p99", Unit: "s", Better: result.Lower},
		{Name: "throughput", Unit: "req/s", Better: result.Higher},
	}}
	for i := range 8 {
		c := result.Configuration{Name: fmt.Sprintf("load/connections=%d", i), Suite: "load"}
		for round := range n {
			cost := factor * drift[round]
			c.Samples = append(c.Samples, result.Sample{Round: round, Metrics: map[string]float64{
				"cpu-per-request": 20e-6 * cost * disturb(r), "latency-p99": 2e-3 * cost * disturb(r), "throughput": 40000 / cost * disturb(r),
			}})
		}
		b.Configurations = append(b.Configurations, c)
	}
	return b
}

func drift(r *rand.Rand, n int) []float64 {
	d := make([]float64, n)
	at := 1.0
	for i := range d {
		at += 0.01 * r.NormFloat64()
		d[i] = at
	}
	return d
}

// A build compared with itself: at most one comparison in a hundred may raise an alarm.
func TestABuildIsNoSlowerThanItself(t *testing.T) {
	for name, disturb := range noises {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(7, 7))
			alarms := 0
			for i := range 200 {
				shared := drift(r, 10)
				c := Compare(benchmark(r, 10, 1, disturb, shared), benchmark(r, 10, 1, disturb, shared), Options{Seed: uint64(i)})
				if len(c.Regressions()) > 0 {
					alarms++
				}
			}
			if alarms > 2 {
				t.Errorf("%d of 200 comparisons of a build with itself raised an alarm, want at most 2", alarms)
			}
		})
	}
}

func TestATenthMoreCostIsFound(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for i := range 20 {
		shared := drift(r, 10)
		c := Compare(benchmark(r, 10, 1, noises["normal"], shared), benchmark(r, 10, 1.10, noises["normal"], shared), Options{Seed: uint64(i)})
		found := map[string]int{}
		for _, row := range c.Regressions() {
			found[row.Metric.Name]++
		}
		for _, m := range []string{"cpu-per-request", "latency-p99", "throughput"} {
			if found[m] < 4 {
				t.Fatalf("round %d: a tenth more cost was found in %d of 8 configurations of %s", i, found[m], m)
			}
		}
	}
}

func TestVerdicts(t *testing.T) {
	ten := func(centre, step float64) []float64 {
		v := make([]float64, 10)
		for i := range v {
			v[i] = centre + step*float64(i-5)
		}
		return v
	}
	lower := result.Metric{Name: "latency", Unit: "s", Better: result.Lower, Floor: 1e-4}
	higher := result.Metric{Name: "throughput", Better: result.Higher}
	exact := result.Metric{Name: "allocations", Better: result.Lower, Exact: true}
	for _, tc := range []struct {
		name     string
		metric   result.Metric
		old, new []float64
		want     Verdict
	}{
		{"slower", lower, ten(0.010, 1e-5), ten(0.012, 1e-5), Regression},
		{"faster", lower, ten(0.012, 1e-5), ten(0.010, 1e-5), Improvement},
		{"less is worse where more is better", higher, ten(100, 0.1), ten(80, 0.1), Regression},
		{"sure but small", lower, ten(0.0100, 1e-6), ten(0.0102, 1e-6), Same},
		{"large but below the floor", lower, ten(0.00010, 1e-7), ten(0.00015, 1e-7), Same},
		{"large but lost in noise", lower, ten(0.010, 2e-3), ten(0.011, 2e-3), Same},
		{"too few", lower, []float64{0.010, 0.011}, []float64{0.020, 0.021}, Undecided},
		{"exact", exact, []float64{17, 17}, []float64{19, 19}, Regression},
		{"exactly the same", exact, []float64{17}, []float64{17}, Same},
		{"no direction", result.Metric{Name: "goroutines"}, ten(10, 0), ten(90, 0), Watched},
		{"from nothing", result.Metric{Name: "errors", Better: result.Lower}, make([]float64, 10), ten(50, 1), Regression},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := Compare(one(tc.metric, tc.old), one(tc.metric, tc.new), Options{})
			if len(c.Rows) != 1 || c.Rows[0].Verdict != tc.want {
				t.Errorf("got %+v, want %q", c.Rows, tc.want)
			}
		})
	}
}

func one(m result.Metric, values []float64) *result.Benchmark {
	c := result.Configuration{Name: "load/one"}
	for _, v := range values {
		c.Samples = append(c.Samples, result.Sample{Metrics: map[string]float64{m.Name: v}})
	}
	return &result.Benchmark{Metrics: []result.Metric{m}, Configurations: []result.Configuration{c}}
}

func TestNeed(t *testing.T) {
	for _, tc := range []struct {
		alpha     float64
		questions int
		want      int
	}{{0.01, 1, 5}, {0.05, 1, 4}, {0.01, 72, 9}, {0.01, 288, 10}, {0.01, 1000, 11}} {
		if got := Need(tc.alpha, tc.questions); got != tc.want {
			t.Errorf("Need(%v, %d) = %d, want %d", tc.alpha, tc.questions, got, tc.want)
		}
	}
}

func TestASecondRunConfirms(t *testing.T) {
	m := result.Metric{Name: "latency", Better: result.Lower}
	slow := func() *Comparison {
		return Compare(one(m, []float64{1, 1, 1, 1, 1, 1}), one(m, []float64{2, 2, 2, 2, 2, 2}), Options{})
	}
	c := slow()
	c.Confirm(slow())
	if len(c.Regressions()) != 1 {
		t.Errorf("a confirmed regression went away: %+v", c.Rows)
	}
	c.Confirm(Compare(one(m, []float64{1, 1, 1, 1, 1, 1}), one(m, []float64{1, 1, 1, 1, 1, 1}), Options{}))
	if len(c.Regressions()) != 0 || c.Rows[0].Note == "" {
		t.Errorf("noise was kept: %+v", c.Rows)
	}
}

func TestWhatCannotBePairedIsSaid(t *testing.T) {
	m := result.Metric{Name: "latency", Better: result.Lower}
	a, b := one(m, []float64{1}), one(m, []float64{1})
	b.Configurations[0].Name = "load/other"
	b.Machine.CPU = "another"
	c := Compare(a, b, Options{})
	if len(c.Rows) != 0 || len(c.Unpaired) != 2 || len(c.Warnings) != 1 {
		t.Errorf("got %+v", c)
	}
}
