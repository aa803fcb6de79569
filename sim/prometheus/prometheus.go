// Package prometheus is a world's Prometheus: it scrapes targets, keeps their samples
// in memory, and answers PromQL with Prometheus' own engine.
//
// In: the registries of proxies, and times. Out: query results. It has no clock and no
// goroutine of its own, and opens nothing. It must not import worlds.
package prometheus

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
)

// Interval is the time between two scrapes of a target.
const Interval = 5 * time.Second

// Limits of one query: samples in memory, and time of the world.
const (
	maxSamples   = 50_000_000
	queryTimeout = 2 * time.Minute
)

// Target is what is scraped: a proxy's metrics, with the labels that Prometheus gives
// them as it finds Pods (job, instance, namespace, pod).
type Target struct {
	Job, Instance, Namespace, Pod string
	Registry                      *stats.Registry
}

// Sample is one element of a query's result.
type Sample struct {
	Labels map[string]string // __name__ among them, where the query kept it
	Value  float64
}

// Prometheus keeps samples and answers queries. Its methods may be called from any goroutine.
type Prometheus struct {
	engine *promql.Engine

	mu      sync.Mutex
	db      *database
	targets map[string]*target // by instance
	pages   map[string]*pageTarget
}

// target is a scraped target with its series.
type target struct {
	up     *series
	series map[stats.SeriesID]*series
}

// New makes one without samples.
func New() *Prometheus {
	return &Prometheus{
		engine: promql.NewEngine(promql.EngineOpts{MaxSamples: maxSamples, Timeout: queryTimeout,
			EnableAtModifier: true, EnableNegativeOffset: true, Parser: parser.NewParser(parser.Options{})}),
		db: newDatabase(), targets: map[string]*target{}, pages: map[string]*pageTarget{},
	}
}

// Parse checks a query without running it.
func Parse(query string) error {
	_, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	return err
}

// Scrape takes the present values of all targets. Series of targets that are no longer
// among them end here, with Prometheus' mark.
func (p *Prometheus) Scrape(now time.Time, targets []Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := now.UnixMilli()
	var present []string
	for _, t := range targets {
		present = append(present, t.Instance)
		p.scrape(at, t)
	}
	for instance, t := range p.targets {
		if !slices.Contains(present, instance) {
			t.end(at)
			delete(p.targets, instance)
		}
	}
}

func (p *Prometheus) scrape(at int64, t Target) {
	known := p.targets[t.Instance]
	if known == nil {
		known = &target{up: p.db.series(t.labels("up", nil, "")), series: map[stats.SeriesID]*series{}}
		p.targets[t.Instance] = known
	}
	known.up.append(at, 1)
	t.Registry.Gather(func(s stats.Sample) {
		line := known.series[s.Series]
		if line == nil {
			line = p.db.series(t.labels(s.Name, s.Labels, s.Bucket))
			known.series[s.Series] = line
		}
		line.append(at, s.Value)
	})
}

func (t *target) end(at int64) {
	stale := math.Float64frombits(value.StaleNaN)
	t.up.append(at, stale)
	for _, s := range t.series {
		s.append(at, stale)
	}
}

// labels are those of a series. Empty ones do not exist in Prometheus.
func (t Target) labels(name string, own []stats.Label, bucket string) labels.Labels {
	b := labels.NewBuilder(labels.EmptyLabels())
	for _, l := range own {
		b.Set(l.Name, l.Value)
	}
	for name, v := range map[string]string{nameLabel: name, "le": bucket, "job": t.Job, "instance": t.Instance, "namespace": t.Namespace, "pod": t.Pod} {
		if v != "" {
			b.Set(name, v)
		}
	}
	return b.Labels()
}

// Query answers a query as of a time: a scalar as one sample without labels, an instant
// vector as its samples, sorted by their labels.
func (p *Prometheus) Query(ctx context.Context, text string, now time.Time) ([]Sample, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q, err := p.engine.NewInstantQuery(ctx, p.db, nil, text, now)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	r := q.Exec(ctx)
	if r.Err != nil {
		return nil, r.Err
	}
	switch v := r.Value.(type) {
	case promql.Scalar:
		return []Sample{{Labels: map[string]string{}, Value: v.V}}, nil
	case promql.Vector:
		slices.SortFunc(v, func(a, b promql.Sample) int { return labels.Compare(a.Metric, b.Metric) })
		samples := make([]Sample, 0, len(v))
		for _, s := range v {
			if s.H != nil {
				return nil, fmt.Errorf("the result has native histograms, which proxies do not have")
			}
			samples = append(samples, Sample{Labels: s.Metric.Map(), Value: s.F})
		}
		return samples, nil
	default:
		return nil, fmt.Errorf("the result is a %s: ask for a scalar or an instant vector", r.Value.Type())
	}
}
