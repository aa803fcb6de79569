package stats

// Sample is one value as Prometheus' exposition format would have it. A sample with
// the same Series of the same registry is always of the same series, so that readers
// can keep what they made of its labels.
type Sample struct {
	Series SeriesID
	Name   string
	Labels []Label // without le
	Bucket string  // the label le of a histogram's bucket; empty elsewhere
	Value  float64
}

// SeriesID identifies a series within one registry. It is comparable.
type SeriesID struct {
	metric *metric
	part   int
}

// Gather calls f for every sample that WritePrometheus would write, sorted by the
// metrics' text names.
func (r *Registry) Gather(f func(Sample)) {
	for _, m := range r.sorted() {
		switch {
		case m.counter != nil:
			f(Sample{Series: SeriesID{m, 0}, Name: m.family, Labels: m.labels, Value: float64(m.counter.Value())})
		case m.gauge != nil:
			f(Sample{Series: SeriesID{m, 0}, Name: m.family, Labels: m.labels, Value: float64(m.gauge.Value())})
		default:
			m.gatherHistogram(f)
		}
	}
}

func (m *metric) gatherHistogram(f func(Sample)) {
	cumulative, sum := m.histogram.Snapshot()
	for i, n := range cumulative {
		le := "+Inf"
		if i < len(bounds) {
			le = format(bounds[i])
		}
		f(Sample{Series: SeriesID{m, i}, Name: m.family + "_bucket", Labels: m.labels, Bucket: le, Value: float64(n)})
	}
	f(Sample{Series: SeriesID{m, -1}, Name: m.family + "_sum", Labels: m.labels, Value: sum})
	f(Sample{Series: SeriesID{m, -2}, Name: m.family + "_count", Labels: m.labels, Value: float64(cumulative[len(cumulative)-1])})
}
