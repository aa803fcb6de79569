package live

import (
	"context"
	"net"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/prometheus"
)

var _ run.Querier = (*World)(nil)

// Under which port and job a Pod's metrics are known, as in the simulator; its proxy is
// asked at its admin port, where nothing of the application is mixed in.
const (
	metricsPort = 15020
	metricsJob  = "kubernetes-pods"
	scrapeLimit = 4 * time.Second
)

// metrics is the world's Prometheus. Only worlds whose scenario queries have one.
type metrics struct {
	world      *World
	prometheus *prometheus.Prometheus
	turn       sync.Mutex // one scrape at a time
}

// queries tells whether any step asks for metrics.
func queries(s *spec.Scenario) bool {
	return slices.ContainsFunc(s.Steps, func(st spec.Step) bool { return st.Operation == "query" })
}

// run scrapes until the context ends.
func (m *metrics) run(ctx context.Context) {
	ticker := time.NewTicker(prometheus.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			m.scrape(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// scrape takes the metrics of all Pods at one instant.
func (m *metrics) scrape(ctx context.Context) {
	m.turn.Lock()
	defer m.turn.Unlock()
	pods := m.world.pods()
	pages := make([]*prometheus.Page, len(pods))
	var wait sync.WaitGroup
	for i, p := range pods {
		wait.Go(func() { pages[i] = m.page(ctx, p) })
	}
	wait.Wait()
	if ctx.Err() != nil {
		return
	}
	var found []prometheus.Page
	for _, p := range pages {
		if p != nil {
			found = append(found, *p)
		}
	}
	if err := m.prometheus.ScrapePages(time.Now(), found); err != nil {
		m.world.log.event("warning", "%v", err)
	}
}

// page asks one Pod; nil: there is nothing to ask.
func (m *metrics) page(ctx context.Context, p *pod) *prometheus.Page {
	port, name, path := inject.AdminPort, metricsPort, "/stats/prometheus"
	switch proxied, _ := p.proxied(); {
	case p.Labels["app"] == "istiod" && p.Namespace == m.world.env.System:
		port, name, path = monitoring, monitoring, "/metrics"
	case !proxied:
		return nil
	}
	if p.Status.PodIP == "" || p.DeletionTimestamp != nil {
		return nil
	}
	page := &prometheus.Page{Job: metricsJob, Instance: net.JoinHostPort(p.Status.PodIP, strconv.Itoa(name)),
		Namespace: m.world.names.scenario(p.Namespace), Pod: p.Name, Rewrite: m.world.ours}
	if p.Namespace == m.world.env.System {
		page.Since = "istio_" // gateways are everybody's
	}
	ctx, cancel := context.WithTimeout(ctx, scrapeLimit)
	defer cancel()
	address, err := m.world.forward(p, port)
	if err == nil {
		page.Text, err = kube.HTTPGet(ctx, address, path)
	}
	if err != nil {
		m.world.forget(p, port)
	}
	return page
}

// another is a namespace of another run.
var another = regexp.MustCompile(`\bwt-[a-z0-9.-]*-[0-9a-f]{6}\b`)

// ours gives a label's value the scenario's names; false: it is about another run, of
// which gateways and the control plane keep counts.
func (w *World) ours(value string) (string, bool) {
	value = w.names.scenario(value)
	return value, !another.MatchString(value)
}

// Query implements run.Querier.
func (w *World) Query(ctx context.Context, text string) ([]run.Sample, error) {
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
