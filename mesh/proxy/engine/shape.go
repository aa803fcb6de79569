package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/attributes"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/accesslog"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
)

// shape is what a configuration changes about Istio's metrics. It is a stats.Shape.
type shape struct {
	changes  map[string]snapshot.MetricChange // by metric
	position map[string]int                   // of an expression among the values of a call
	programs []*attributes.Program
}

// shapeOf returns the shape of a configuration; nil: nothing is changed. Configurations
// that say the same share one, so that they share series.
func (e *Engine) shapeOf(c snapshot.IstioStats) (*shape, error) {
	if len(c.Metrics) == 0 {
		return nil, nil
	}
	key := fmt.Sprintf("%+v", c.Metrics)
	e.shapesMu.Lock()
	defer e.shapesMu.Unlock()
	if s := e.shapes[key]; s != nil {
		return s, nil
	}
	s := &shape{changes: map[string]snapshot.MetricChange{}, position: map[string]int{}}
	for _, m := range c.Metrics {
		s.changes[m.Name] = m
		for _, label := range slices.Sorted(maps.Keys(m.Labels)) {
			text := m.Labels[label]
			if _, known := s.position[text]; known {
				continue
			}
			p, err := attributes.Compile(text)
			if err != nil {
				return nil, fmt.Errorf("metric %s: label %s: %w", m.Name, label, err)
			}
			s.position[text] = len(s.programs)
			s.programs = append(s.programs, p)
		}
	}
	if e.shapes == nil {
		e.shapes = map[string]*shape{}
	}
	e.shapes[key] = s
	return s, nil
}

// values evaluates all expressions for a call; what has no value is unknown.
func (s *shape) values(x *accesslog.Exchange, c *stats.Call) string {
	source := func(group string) map[string]any {
		switch group {
		case "upstream_peer":
			return peerAttributes(c.Destination)
		case "downstream_peer":
			return peerAttributes(c.Source)
		default:
			return x.Attributes(group)
		}
	}
	values := make([]string, len(s.programs))
	for i, p := range s.programs {
		v, ok := p.Text(source)
		if !ok || v == "" {
			v = "unknown"
		}
		values[i] = v
	}
	return strings.Join(values, "\x00")
}

func peerAttributes(w stats.Workload) map[string]any {
	m := map[string]any{}
	for name, value := range map[string]string{"workload": w.Name, "namespace": w.Namespace, "cluster": w.Cluster, "service": w.CanonicalService,
		"revision": w.CanonicalRevision, "app": w.App, "version": w.Version} {
		if value != "" {
			m[name] = value
		}
	}
	return m
}

// Labels implements stats.Shape.
func (s *shape) Labels(metric string, labels []stats.Label, values string) ([]stats.Label, bool) {
	change, ok := s.changes[metric]
	if !ok {
		return labels, true
	}
	if change.Drop {
		return nil, false
	}
	parts := strings.Split(values, "\x00")
	for _, name := range slices.Sorted(maps.Keys(change.Labels)) {
		label := stats.Label{Name: name, Value: parts[s.position[change.Labels[name]]]}
		if i := slices.IndexFunc(labels, func(l stats.Label) bool { return l.Name == name }); i >= 0 {
			labels[i] = label
		} else {
			labels = append(labels, label)
		}
	}
	return slices.DeleteFunc(labels, func(l stats.Label) bool { return slices.Contains(change.Remove, l.Name) }), true
}
