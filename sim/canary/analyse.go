package canary

import (
	"context"
	"fmt"
	"math"
	"strings"
	"text/template"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// What Flagger's two metrics mean for Istio: the servers' own word about the target's
// requests, in per cent and in milliseconds.
const (
	successRate = `100 * sum(rate(istio_requests_total{reporter="destination",destination_workload_namespace="{{ namespace }}",destination_workload="{{ target }}",response_code!~"5.*"}[{{ interval }}]))
/ sum(rate(istio_requests_total{reporter="destination",destination_workload_namespace="{{ namespace }}",destination_workload="{{ target }}"}[{{ interval }}]))`
	duration99 = `histogram_quantile(0.99, sum by (le) (rate(istio_request_duration_milliseconds_bucket{reporter="destination",destination_workload_namespace="{{ namespace }}",destination_workload="{{ target }}"}[{{ interval }}])))`
)

// defaultRange is what a metric looks back on.
const defaultRange = "1m"

// analyse checks all metrics; it returns why the release may not go on, "" where it may.
func (r *release) analyse(ctx context.Context, spec *config.CanarySpec) string {
	for i := range spec.Analysis.Metrics {
		m := &spec.Analysis.Metrics[i]
		value, found, err := r.measure(ctx, spec, m)
		switch {
		case err != nil:
			return fmt.Sprintf("%s: %v", m.Name, err)
		case !found:
			return fmt.Sprintf("%s has no value: does %s get traffic?", m.Name, spec.TargetRef.Name)
		}
		if why := verdict(m, value); why != "" {
			return why
		}
	}
	return ""
}

// verdict tells what is wrong with a value. The deprecated threshold is the least
// success rate, and the most of everything else.
func verdict(m *config.CanaryMetric, value float64) string {
	least, most := m.Threshold, m.Threshold
	if m.ThresholdRange != nil {
		least, most = m.ThresholdRange.Min, m.ThresholdRange.Max
	} else if m.Name == config.CanarySuccessRate {
		most = nil
	} else {
		least = nil
	}
	switch {
	case least != nil && value < *least:
		return fmt.Sprintf("%s is %.2f, below %v", m.Name, value, *least)
	case most != nil && value > *most:
		return fmt.Sprintf("%s is %.2f, above %v", m.Name, value, *most)
	}
	return ""
}

// measure asks for a metric; not found where there is no sample, or not a number.
func (r *release) measure(ctx context.Context, spec *config.CanarySpec, m *config.CanaryMetric) (value float64, found bool, err error) {
	text, err := r.query(spec, m)
	if err != nil {
		return 0, false, err
	}
	values, err := r.cluster.Query(ctx, text)
	if err != nil {
		return 0, false, err
	}
	if len(values) == 0 || math.IsNaN(values[len(values)-1]) {
		return 0, false, nil
	}
	return values[len(values)-1], true, nil
}

// query is a metric's PromQL.
func (r *release) query(spec *config.CanarySpec, m *config.CanaryMetric) (string, error) {
	text := m.Query
	switch {
	case m.TemplateRef != nil:
		namespace := m.TemplateRef.Namespace
		if namespace == "" {
			namespace = r.key.Namespace
		}
		k := config.Key{Group: "flagger.app", Kind: "MetricTemplate", Namespace: namespace, Name: m.TemplateRef.Name}
		o := r.cluster.Object(k)
		if o == nil {
			return "", fmt.Errorf("there is no %s", k)
		}
		text = o.Value.(*config.MetricTemplate).Spec.Query
	case text == "" && m.Name == config.CanarySuccessRate:
		text = successRate
	case text == "":
		text = duration99
	}
	values := map[string]string{"name": r.key.Name, "namespace": r.key.Namespace, "target": spec.TargetRef.Name,
		"service": apexName(spec), "interval": m.Interval}
	if m.Interval == "" {
		values["interval"] = defaultRange
	}
	t, err := template.New(m.Name).Funcs(config.MetricFunctions(values)).Parse(text)
	if err != nil {
		return "", fmt.Errorf("query: %w", err)
	}
	var b strings.Builder
	if err := t.Execute(&b, nil); err != nil {
		return "", fmt.Errorf("query: %w", err)
	}
	return b.String(), nil
}
