package prometheus

import (
	"context"
	"slices"
	"sort"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// nameLabel holds the name of a metric.
const nameLabel = "__name__"

// database is the storage of one world. Prometheus' own keeps files and goroutines,
// which a world of some minutes does not need, and virtual time does not allow.
type database struct {
	byHash map[uint64][]*series
	byName map[string][]*series // in the order in which they came
}

// series is one line of samples.
type series struct {
	labels  labels.Labels
	samples []sample
}

func newDatabase() *database {
	return &database{byHash: map[uint64][]*series{}, byName: map[string][]*series{}}
}

// series returns the series with these labels, made at first use.
func (d *database) series(l labels.Labels) *series {
	hash := l.Hash()
	for _, s := range d.byHash[hash] {
		if labels.Equal(s.labels, l) {
			return s
		}
	}
	s := &series{labels: l}
	d.byHash[hash] = append(d.byHash[hash], s)
	name := l.Get(nameLabel)
	d.byName[name] = append(d.byName[name], s)
	return s
}

// append adds a sample; one that is not later than the last replaces nothing and is lost,
// as in Prometheus.
func (s *series) append(at int64, v float64) {
	if n := len(s.samples); n == 0 || s.samples[n-1].at < at {
		s.samples = append(s.samples, sample{at, v})
	}
}

// Querier implements storage.Queryable.
func (d *database) Querier(from, to int64) (storage.Querier, error) {
	return &querier{d, from, to}, nil
}

// querier is a part of the database in time, both ends included.
type querier struct {
	db       *database
	from, to int64
}

// Select implements storage.Querier.
func (q *querier) Select(_ context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	from, to := q.from, q.to
	if hints != nil {
		from, to = hints.Start, hints.End
	}
	var found []storage.Series
	for _, s := range q.match(matchers) {
		first := sort.Search(len(s.samples), func(i int) bool { return s.samples[i].at >= from })
		last := sort.Search(len(s.samples), func(i int) bool { return s.samples[i].at > to })
		if first < last {
			part := samples(s.samples[first:last])
			found = append(found, &storage.SeriesEntry{Lset: s.labels,
				SampleIteratorFn: func(chunkenc.Iterator) chunkenc.Iterator { return storage.NewListSeriesIterator(part) }})
		}
	}
	slices.SortFunc(found, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	return &set{series: found, at: -1}
}

// match returns the series that all matchers accept, by the name where they tell one.
func (q *querier) match(matchers []*labels.Matcher) []*series {
	var names []string
	for _, m := range matchers {
		if m.Name == nameLabel && m.Type == labels.MatchEqual {
			names = []string{m.Value}
		}
	}
	if names == nil {
		for name := range q.db.byName {
			names = append(names, name)
		}
	}
	var found []*series
	for _, name := range names {
		for _, s := range q.db.byName[name] {
			if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.labels.Get(m.Name)) }) {
				found = append(found, s)
			}
		}
	}
	return found
}

// LabelValues implements storage.LabelQuerier.
func (q *querier) LabelValues(_ context.Context, name string, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.collect(matchers, func(l labels.Label) (string, bool) { return l.Value, l.Name == name }), nil, nil
}

// LabelNames implements storage.LabelQuerier.
func (q *querier) LabelNames(_ context.Context, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.collect(matchers, func(l labels.Label) (string, bool) { return l.Name, true }), nil, nil
}

func (q *querier) collect(matchers []*labels.Matcher, take func(labels.Label) (string, bool)) []string {
	var all []string
	for _, s := range q.match(matchers) {
		s.labels.Range(func(l labels.Label) {
			if v, ok := take(l); ok {
				all = append(all, v)
			}
		})
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Close implements storage.LabelQuerier.
func (q *querier) Close() error { return nil }

// set is a storage.SeriesSet of what was found.
type set struct {
	series []storage.Series
	at     int
}

func (s *set) Next() bool                        { s.at++; return s.at < len(s.series) }
func (s *set) At() storage.Series                { return s.series[s.at] }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return nil }

// samples implements storage.Samples.
type samples []sample

func (s samples) Get(i int) chunks.Sample { return s[i] }
func (s samples) Len() int                { return len(s) }

// sample is a value at a time in Unix milliseconds. It implements chunks.Sample.
type sample struct {
	at    int64
	value float64
}

func (s sample) T() int64                      { return s.at }
func (s sample) ST() int64                     { return 0 }
func (s sample) F() float64                    { return s.value }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }
