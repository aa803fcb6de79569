package stat

import (
	"math"
	"slices"
	"sort"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// Builds that are measured in turn share what the machine does meanwhile: each round is a
// pair of samples, and its ratio knows nothing of a machine that is slower in one hour
// than in the next. Where both builds are one, a ratio is as likely as its inverse, so
// Wilcoxon's signed rank test is exact, whatever the noise looks like.

// interleaved tells whether two files are two builds of one run.
func interleaved(base, next *result.Benchmark) bool {
	return base.Interleaved && next.Interleaved && base.Started == next.Started
}

// pairs are a metric's values round by round, of the rounds in which both have one.
func pairs(base, next *result.Configuration, metric string) (old, new []float64) {
	value := func(s result.Sample) (float64, bool) {
		v, ok := s.Metrics[metric]
		return v, ok && s.Invalid == "" && !math.IsNaN(v) && !math.IsInf(v, 0)
	}
	rounds := map[int]float64{}
	for _, s := range base.Samples {
		if v, ok := value(s); ok {
			rounds[s.Round] = v
		}
	}
	for _, s := range next.Samples {
		v, ok := value(s)
		if was, both := rounds[s.Round]; ok && both {
			old, new = append(old, was), append(new, v)
		}
	}
	return old, new
}

// paired measures a change by its rounds: by their ratios, or by their differences over the
// base's median where a value is not above 0. The change and its interval are those that
// belong to the test (Hodges and Lehmann): the median of the means of all two rounds, and the
// changes that the test would not refuse.
func (o Options) paired(r *Row, old, new []float64) {
	r.Pairs = len(old)
	ratios := true
	for i := range old {
		ratios = ratios && old[i] > 0 && new[i] > 0
	}
	base := math.Abs(Median(old))
	moves := make([]float64, len(old)) // of one round; symmetric about 0 where nothing changed
	for i := range old {
		if moves[i] = new[i] - old[i]; ratios {
			moves[i] = math.Log(new[i] / old[i])
		}
	}
	relative := func(move float64) float64 {
		if ratios {
			return math.Expm1(move)
		}
		return change(base, base+move)
	}
	r.P = signedRank(moves)
	means := make([]float64, 0, len(moves)*(len(moves)+1)/2)
	for i := range moves {
		for j := range i + 1 {
			means = append(means, (moves[i]+moves[j])/2)
		}
	}
	slices.Sort(means)
	out := outside(len(moves), o.Alpha)
	r.Change, r.Low, r.High = relative(median(means)), relative(means[out]), relative(means[len(means)-1-out])
}

// outside is how many of the means of two rounds are left out at each end of an interval
// that misses the truth with a chance of alpha; too few rounds have none.
func outside(n int, alpha float64) int {
	ways := []float64{1} // by the sum of the positive ranks
	for rank := 1; rank <= n; rank++ {
		ways = signed(ways, rank)
	}
	p := 0.0
	for k, w := range ways {
		if p += w; 2*p > alpha {
			return k
		}
	}
	return 0
}

// signed is how the sums of ranks are distributed after one more that may be positive.
func signed(ways []float64, rank int) []float64 {
	more := make([]float64, len(ways)+rank)
	for k, w := range ways {
		more[k] += w / 2
		more[k+rank] += w / 2
	}
	return more
}

// signedRank is the exact two-sided p-value of Wilcoxon's signed rank test: the part of all
// ways to sign the ranks whose sum is as far from the middle. Moves of 0 say nothing and
// are left out; those of one size share their ranks.
func signedRank(moves []float64) float64 {
	var sizes []float64
	for _, m := range moves {
		if m != 0 {
			sizes = append(sizes, m)
		}
	}
	n := len(sizes)
	if n == 0 {
		return 1
	}
	sort.Slice(sizes, func(i, j int) bool { return math.Abs(sizes[i]) < math.Abs(sizes[j]) })
	ways := []float64{1} // by twice the sum of the positive ranks
	sum := 0
	for i := 0; i < n; {
		j := i
		for j < n && math.Abs(sizes[j]) == math.Abs(sizes[i]) {
			j++
		}
		rank := i + 1 + j // twice the mean of the ranks i+1 … j
		for ; i < j; i++ {
			if sizes[i] > 0 {
				sum += rank
			}
			ways = signed(ways, rank)
		}
	}
	middle := float64(len(ways)-1) / 2
	far := math.Abs(float64(sum) - middle)
	p := 0.0
	for k, w := range ways {
		if math.Abs(float64(k)-middle) >= far {
			p += w
		}
	}
	return min(p, 1)
}

// NeedPairs is how many rounds a signed rank test has to have before it can answer one of
// so many questions: with n of them, all in one direction, p = 2 / 2^n.
func NeedPairs(alpha float64, questions int) int {
	p := 1.0
	for n := 1; n <= maxSamples; n++ {
		p /= 2
		if 2*p*float64(max(questions, 1)) < alpha {
			return n
		}
	}
	return maxSamples + 1
}
