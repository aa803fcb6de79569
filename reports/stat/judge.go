package stat

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"golang.org/x/perf/benchmath"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// resamples of the bootstrap: enough for the ends of a 99 % interval.
const resamples = 2000

// maxSamples is where asking for more samples ends: nobody repeats more often.
const maxSamples = 100

// row measures one metric's change; judge says later what it means. Together are builds
// that were measured in turn.
func (o Options) row(base, next *result.Configuration, m result.Metric, together bool, random seed.Seed) Row {
	old, new := base.Values(m.Name), next.Values(m.Name)
	r := Row{Configuration: base.Name, Metric: m, Base: summarize(old, 1-o.Alpha), New: summarize(new, 1-o.Alpha), P: 1, Adjusted: 1}
	r.Change = change(r.Base.Median, r.New.Median)
	if m.Exact {
		r.Low, r.High = r.Change, r.Change
		return r
	}
	if together {
		if old, new := pairs(base, next, m.Name); len(old) > 0 {
			o.paired(&r, old, new)
			return r
		}
	}
	thresholds := &benchmath.Thresholds{CompareAlpha: o.Alpha}
	found := benchmath.AssumeNothing.Compare(benchmath.NewSample(slices.Clone(old), thresholds), benchmath.NewSample(slices.Clone(new), thresholds))
	r.P = min(max(found.P, 0), 1)
	r.Low, r.High = bootstrap(old, new, 1-o.Alpha, random)
	return r
}

// change is new/base - 1; where the base is 0, any change is boundless.
func change(base, new float64) float64 {
	switch {
	case base == new:
		return 0
	case base == 0:
		return math.Copysign(math.MaxFloat64, new)
	}
	return (new - base) / math.Abs(base)
}

// judge gives every row its verdict. Many questions find something by chance: the
// p-values are adjusted by Holm's method over all rows that can fail, so that alpha
// is the chance of one false alarm in the whole comparison.
func (o Options) judge(rows []Row) {
	var asked []*Row
	for i := range rows {
		r := &rows[i]
		switch {
		case r.Metric.Exact && r.Metric.Better == "" && r.Change != 0:
			r.Verdict = Changed
		case r.Metric.Better == "" || !o.FailOn(r.Metric.Name):
			r.Verdict = Watched
		case r.Metric.Exact:
			r.Adjusted = 0
			r.Verdict = o.direction(r)
		default:
			asked = append(asked, r)
		}
	}
	sort.SliceStable(asked, func(i, j int) bool { return asked[i].P < asked[j].P })
	worst := 0.0
	for i, r := range asked {
		worst = max(worst, min(r.P*float64(len(asked)-i), 1))
		r.Adjusted = worst
		o.decide(r, len(asked))
	}
}

// decide is the verdict of one of a number of questions.
func (o Options) decide(r *Row, questions int) {
	r.Verdict = Same
	toward := o.direction(r)
	if toward == Same {
		return
	}
	if r.Adjusted < o.Alpha {
		if r.Low > 0 || r.High < 0 {
			r.Verdict = toward
		}
		return
	}
	need, short := Need(o.Alpha, questions), min(r.Base.N, r.New.N)
	if r.Pairs > 0 {
		need, short = NeedPairs(o.Alpha, questions), r.Pairs
	}
	if short < need {
		r.Verdict = Undecided
		r.Note = fmt.Sprintf("not enough samples: need %d, have %d and %d", need, r.Base.N, r.New.N)
		if need > maxSamples {
			r.Note = fmt.Sprintf("not enough samples: no number of them decides %d questions at once; ask fewer", questions)
		}
	}
}

// direction is where a change that is large enough leads, were it sure.
func (o Options) direction(r *Row) Verdict {
	relative := o.Relative
	switch {
	case r.Metric.Exact:
		relative = 0 // no noise, no doubt
	case r.Metric.Relative > 0:
		relative = min(relative, r.Metric.Relative)
	}
	if math.Abs(r.Change) <= relative || math.Abs(r.moved()) <= r.Metric.Floor {
		return Same
	}
	if (r.Change > 0) == (r.Metric.Better == result.Lower) {
		return Regression
	}
	return Improvement
}

// moved is the change in the metric's unit.
func (r *Row) moved() float64 {
	if r.Pairs > 0 && r.Base.Median > 0 {
		return r.Change * r.Base.Median
	}
	return r.New.Median - r.Base.Median
}

// Need is how many samples of each build a U-test has to have before it can answer
// one of so many questions: with n and n, samples that do not overlap at all have
// p = 2 / C(2n, n).
func Need(alpha float64, questions int) int {
	p := 1.0
	for n := 1; n <= maxSamples; n++ {
		p *= float64(n) / float64(2*(2*n-1)) // C(2n, n) grows by 2(2n-1)/n
		if 2*p*float64(max(questions, 1)) < alpha {
			return n
		}
	}
	return maxSamples + 1
}

// summarize is the median and its interval; of too few samples the interval is their range.
func summarize(values []float64, confidence float64) Summary {
	s := slices.Sorted(slices.Values(values))
	found := benchmath.AssumeNothing.Summary(benchmath.NewSample(slices.Clone(s), &benchmath.DefaultThresholds), confidence)
	sum := Summary{N: len(s), Median: median(s), Low: found.Lo, High: found.Hi}
	if math.IsInf(sum.Low, 0) || math.IsNaN(sum.Low) {
		sum.Low = s[0]
	}
	if math.IsInf(sum.High, 0) || math.IsNaN(sum.High) {
		sum.High = s[len(s)-1]
	}
	if sum.Median != 0 {
		sum.Spread = (quantile(s, 0.75) - quantile(s, 0.25)) / math.Abs(sum.Median)
	}
	return sum
}

// bootstrap is the percentile interval of the change of the medians.
func bootstrap(old, new []float64, confidence float64, random seed.Seed) (low, high float64) {
	draws := random.Rand()
	resample := func(values, into []float64) float64 {
		for i := range into {
			v := values[draws.IntN(len(values))]
			j := i // insertion keeps a handful of values sorted faster than a sort does
			for ; j > 0 && into[j-1] > v; j-- {
				into[j] = into[j-1]
			}
			into[j] = v
		}
		return median(into)
	}
	a, b := make([]float64, len(old)), make([]float64, len(new))
	changes := make([]float64, resamples)
	for i := range changes {
		changes[i] = change(resample(old, a), resample(new, b))
	}
	slices.Sort(changes)
	tail := (1 - confidence) / 2
	return quantile(changes, tail), quantile(changes, 1-tail)
}

// Median of values in any order; there is at least one.
func Median(values []float64) float64 { return median(slices.Sorted(slices.Values(values))) }

func median(sorted []float64) float64 { return quantile(sorted, 0.5) }

// quantile interpolates between the two nearest values.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
