package world

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/prometheus"
)

var _ run.Querier = (*World)(nil)

// metrics is the world's Prometheus with the Pods that it scrapes. Only worlds whose
// scenario queries have one: nobody else could see it.
type metrics struct {
	prometheus *prometheus.Prometheus
	done       chan struct{}

	mu      sync.Mutex
	targets []prometheus.Target // in the order in which their Pods started
}

// queries tells whether any step asks for metrics.
func queries(s *spec.Scenario) bool {
	return slices.ContainsFunc(s.Steps, func(st spec.Step) bool { return st.Operation == "query" })
}

// newMetrics scrapes until the context ends, first at a time that the seed tells.
func newMetrics(ctx context.Context, s seed.Seed) *metrics {
	m := &metrics{prometheus: prometheus.New(), done: make(chan struct{})}
	go m.run(ctx, s.Sub("prometheus").Duration("phase", prometheus.Interval))
	return m
}

func (m *metrics) run(ctx context.Context, phase time.Duration) {
	defer close(m.done)
	for timer := time.NewTimer(phase); ; timer.Reset(prometheus.Interval) {
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		m.mu.Lock()
		targets := slices.Clone(m.targets)
		m.mu.Unlock()
		m.prometheus.Scrape(time.Now(), targets)
	}
}

// Where Istio's injector has Prometheus scrape a Pod, and under which job.
const (
	metricsPort      = ":15020"
	controlPlanePort = ":15014"
	metricsJob       = "kubernetes-pods"
)

// add has a Pod's proxy or control plane scraped from now on. A nil receiver scrapes nothing.
func (m *metrics) add(pod *corev1.Pod, port string, r *stats.Registry) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.targets = append(m.targets, prometheus.Target{Job: metricsJob, Instance: pod.Status.PodIP + port,
		Namespace: pod.Namespace, Pod: pod.Name, Registry: r})
}

func (m *metrics) remove(pod *corev1.Pod) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.targets = slices.DeleteFunc(m.targets, func(t prometheus.Target) bool { return t.Pod == pod.Name && t.Namespace == pod.Namespace })
}

func (m *metrics) wait() {
	if m != nil {
		<-m.done
	}
}

// Query implements run.Querier.
func (w *World) Query(ctx context.Context, text string) ([]run.Sample, error) {
	if w.metrics == nil {
		return nil, errors.New("this world scrapes no metrics")
	}
	found, err := w.metrics.prometheus.Query(ctx, text, time.Now())
	if err != nil {
		return nil, err
	}
	samples := make([]run.Sample, 0, len(found))
	for _, s := range found {
		samples = append(samples, run.Sample(s))
	}
	return samples, nil
}

// CheckQueries finds queries that are no PromQL.
func CheckQueries(s *spec.Scenario) []config.Diagnostic {
	var findings []config.Diagnostic
	for _, st := range s.Steps {
		if st.Operation != "query" {
			continue
		}
		if err := prometheus.Parse(st.Query); err != nil {
			findings = append(findings, config.Diagnostic{Severity: config.Error, Message: "query: " + err.Error(),
				Position: config.Position{File: st.Position.File, Line: st.Position.Line, Col: st.Position.Col}})
		}
	}
	return findings
}
