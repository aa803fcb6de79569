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

// together makes two files one run's, as `bench run --against` writes them.
func together(base, next *result.Benchmark) (*result.Benchmark, *result.Benchmark) {
	for _, b := range []*result.Benchmark{base, next} {
		b.Interleaved, b.Started = true, "2026-01-01T00:00:00Z"
	}
	return base, next
}

func compared(base, next *result.Benchmark) func(Options) *Comparison {
	return func(o Options) *Comparison { return Compare(base, next, o) }
}

// wild is the drift of a machine that others use: a walk of 20 % steps, with hours that are
// twice as slow.
func wild(r *rand.Rand, n int) []float64 {
	d := make([]float64, n)
	at := 0.0
	for i := range d {
		at += 0.2 * r.NormFloat64()
		d[i] = math.Exp(at) * (1 + float64(r.IntN(2)))
	}
	return d
}

// Pairs of a build with itself: at most one comparison in a hundred raises an alarm, whatever the
// noise and however the machine drifts. Noise of one round may also hold for all its configurations.
func TestPairsOfABuildWithItself(t *testing.T) {
	for name, disturb := range noises {
		for _, shared := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, shared %t", name, shared), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(9, 9))
				alarms := 0
				for i := range 200 {
					a, b := wild(r, 15), make([]float64, 15)
					copy(b, a)
					for k := range b {
						if shared { // a process that had a bad start, round by round
							a[k] *= disturb(r)
							b[k] *= disturb(r)
						}
					}
					c := compared(together(benchmark(r, 15, 1, disturb, a), benchmark(r, 15, 1, disturb, b)))(Options{Seed: uint64(i)})
					if len(c.Regressions())+len(c.Improvements()) > 0 {
						alarms++
					}
				}
				if alarms > 2 {
					t.Errorf("%d of 200 comparisons of a build with itself raised an alarm, want at most 2", alarms)
				}
			})
		}
	}
}

// On a machine whose speed doubles and halves, rounds tell a tenth, and samples on their own do not.
func TestPairsFindATenthOnAMachineThatDrifts(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	alone := 0
	for round := range 20 {
		shared := wild(r, 15)
		a, b := together(benchmark(r, 15, 1, noises["normal"], shared), benchmark(r, 15, 1.10, noises["normal"], shared))
		found := map[string]int{}
		for _, row := range Compare(a, b, Options{}).Regressions() {
			found[row.Metric.Name]++
			if row.Pairs != 15 || row.Low > 0.11 || row.Metric.Better == result.Lower && row.High < 0.09 {
				t.Errorf("%+v", row)
			}
		}
		for _, m := range []string{"cpu-per-request", "latency-p99", "throughput"} {
			if found[m] < 6 {
				t.Errorf("round %d: a tenth more cost was found in %d of 8 configurations of %s", round, found[m], m)
			}
		}
		a.Interleaved = false
		alone += len(Compare(a, b, Options{}).Regressions())
	}
	if alone > 0 {
		t.Errorf("samples that drift by a factor of two told %d changes of a tenth", alone)
	}
}

// The p-values of small samples can be counted by hand.
func TestSignedRank(t *testing.T) {
	for _, tc := range []struct {
		moves []float64
		want  float64
	}{
		{nil, 1}, {[]float64{0, 0}, 1}, {[]float64{3}, 1}, {[]float64{1, 2, 3, 4, 5}, 2.0 / 32}, {[]float64{-1, -2, -3, -4, -5}, 2.0 / 32},
		{[]float64{-1, 2, 3, 4, 5}, 4.0 / 32}, {[]float64{1, -2, 3, -4, 5, 0}, 26.0 / 32}, {[]float64{1, 1, 1}, 2.0 / 8}, {[]float64{1, -1}, 1},
	} {
		if got := signedRank(tc.moves); math.Abs(got-tc.want) > 1e-12 {
			t.Errorf("%v: p is %v, want %v", tc.moves, got, tc.want)
		}
	}
	for _, tc := range []struct{ questions, want int }{{1, 8}, {8, 11}, {28, 13}, {64, 14}, {160, 15}} {
		if got := NeedPairs(0.01, tc.questions); got != tc.want {
			t.Errorf("NeedPairs(0.01, %d) = %d, want %d", tc.questions, got, tc.want)
		}
	}
}

// A metric that is 0 has no ratio; rounds without a result are no pairs.
func TestPairsWithoutARatio(t *testing.T) {
	m := result.Metric{Name: "errors", Better: result.Lower}
	fifteen := func(v float64) []float64 {
		all := make([]float64, 15)
		for i := range all {
			all[i] = v * (1 + float64(i)/100)
		}
		return all
	}
	c := compared(together(one(m, make([]float64, 15)), one(m, fifteen(0.1))))(Options{})
	if len(c.Regressions()) != 1 {
		t.Errorf("from nothing: %+v", c.Rows)
	}
	a, b := together(one(m, fifteen(1)), one(m, fifteen(2)))
	a.Configurations[0].Samples[3].Invalid = "nothing was served"
	b.Configurations[0].Samples[7].Metrics = nil
	if c := Compare(a, b, Options{}); c.Rows[0].Pairs != 13 || math.Abs(c.Rows[0].Change-1) > 1e-9 {
		t.Errorf("%+v", c.Rows[0])
	}
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
		{"exact, and little", exact, []float64{1000}, []float64{1001}, Regression},
		{"exact, and neither better", result.Metric{Name: "virtual-seconds", Exact: true}, []float64{17}, []float64{18}, Changed},
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

// A configuration that is not served any more is not passed over in silence.
func TestWhatBrokeIsNamed(t *testing.T) {
	metric := result.Metric{Name: "latency", Better: result.Lower}
	base, next := one(metric, []float64{1, 2}), one(metric, []float64{1, 2})
	for i := range next.Configurations[0].Samples {
		next.Configurations[0].Samples[i].Invalid = "10 of 10 calls failed"
	}
	if c := Compare(base, next, Options{}); len(c.Broken) != 1 || c.Broken[0] != (Broken{"load/one", "10 of 10 calls failed"}) || len(c.Unpaired) > 0 {
		t.Errorf("it got broken: %+v", c)
	}
	if c := Compare(next, base, Options{}); len(c.Broken) != 0 || len(c.Unpaired) != 1 {
		t.Errorf("it was mended: %+v", c)
	}
}

func one(m result.Metric, values []float64) *result.Benchmark {
	c := result.Configuration{Name: "load/one"}
	for _, v := range values {
		c.Samples = append(c.Samples, result.Sample{Round: len(c.Samples), Metrics: map[string]float64{m.Name: v}})
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
