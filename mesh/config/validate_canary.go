package config

import (
	"fmt"
	"regexp"
	"text/template"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// The metrics that Flagger knows by name.
const (
	CanarySuccessRate = "request-success-rate"
	CanaryDuration    = "request-duration"
)

// canaryRefused are fields of Flagger's that have no effect here, with a hint.
var canaryRefused = []struct{ path, hint string }{
	{"spec.metricsServer", "metrics are those of the world's Prometheus"},
	{"spec.autoscalerRef", ""},
	{"spec.ingressRef", "the provider is istio: write service.gateways"},
	{"spec.routeRef", ""},
	{"spec.upstreamRef", ""},
	{"spec.revertOnDeletion", ""},
	{"spec.canaryAnalysis", "write analysis"},
	{"spec.service.portDiscovery", "write service.port"},
	{"spec.service.delegation", ""},
	{"spec.service.mirror", ""},
	{"spec.service.gatewayRefs", "the provider is istio: write service.gateways"},
	{"spec.service.meshName", ""},
	{"spec.service.backends", ""},
	{"spec.service.apex", ""},
	{"spec.service.primary", ""},
	{"spec.service.canary", ""},
	{"spec.service.headless", ""},
	{"spec.service.unmanagedMetadata", ""},
	{"spec.analysis.iterations", "A/B tests and blue/green are not played: write stepWeight or stepWeights"},
	{"spec.analysis.match", "A/B tests are not played: write stepWeight or stepWeights"},
	{"spec.analysis.mirror", ""},
	{"spec.analysis.mirrorWeight", ""},
	{"spec.analysis.sessionAffinity", ""},
	{"spec.analysis.webhooks", "a load step is the load; an expectation is the gate"},
	{"spec.analysis.alerts", ""},
	{"spec.analysis.primaryReadyThreshold", ""},
	{"spec.analysis.canaryReadyThreshold", ""},
}

func (c *checker) refused(path, hint string) {
	if c.o.Has(path) {
		c.errorf(CodeValue, path, hint, "is not supported yet")
	}
}

// promDuration is a range as PromQL writes it.
var promDuration = regexp.MustCompile(`^([0-9]+(ms|s|m|h|d|w|y))+$`)

func validateCanary(c *checker) {
	s := &c.o.Value.(*Canary).Spec
	for _, r := range canaryRefused {
		c.refused(r.path, r.hint)
	}
	if s.Provider != "" && s.Provider != "istio" {
		c.errorf(CodeValue, "spec.provider", "write istio, or leave it out", "provider %q is not supported yet", clip(s.Provider))
	}
	c.canaryTarget(&s.TargetRef)
	if s.ProgressDeadlineSeconds != nil && *s.ProgressDeadlineSeconds <= 0 {
		c.errorf(CodeValue, "spec.progressDeadlineSeconds", "", "%d is not a time; expected 1 or more", *s.ProgressDeadlineSeconds)
	}
	c.canaryService(&s.Service)
	if s.Analysis == nil {
		if !s.SkipAnalysis {
			c.errorf(CodeMissing, "spec", "add analysis, or skipAnalysis: true", "analysis is required")
		}
		return
	}
	c.canaryAnalysis(s.Analysis, s.SkipAnalysis)
}

func (c *checker) canaryTarget(r *CanaryReference) {
	switch {
	case r.Name == "":
		c.errorf(CodeRequired, "spec.targetRef", "", "name is required")
	case r.Kind != "" && r.Kind != "Deployment":
		c.errorf(CodeValue, "spec.targetRef.kind", "", "%q is not supported yet; expected Deployment", clip(r.Kind))
	case r.APIVersion != "" && r.APIVersion != "apps/v1":
		c.errorf(CodeValue, "spec.targetRef.apiVersion", "", "%q has no Deployment; expected apps/v1", clip(r.APIVersion))
	case r.Namespace != "" && r.Namespace != c.o.Namespace:
		c.errorf(CodeValue, "spec.targetRef.namespace", "", "the target is in the Canary's own namespace, %s", c.o.Namespace)
	}
}

func (c *checker) canaryService(s *CanaryService) {
	if s.Name != "" {
		c.named("spec.service.name", s.Name, validation.IsDNS1035Label)
	}
	if !c.o.Has("spec.service.port") {
		c.errorf(CodeRequired, "spec.service", "", "port is required")
	} else {
		c.containerPort("spec.service.port", s.Port)
	}
	if c.o.Has("spec.service.targetPort") {
		c.targetPort("spec.service.targetPort", s.TargetPort)
	}
	if s.PortName != "" {
		c.named("spec.service.portName", s.PortName, validation.IsDNS1123Label)
	}
	for i, h := range s.Hosts {
		c.host(index("spec.service.hosts", i), h, true)
	}
	if s.Timeout != "" {
		c.goDuration("spec.service.timeout", s.Timeout)
	}
}

// goDuration checks a string that time.ParseDuration reads, and that is above 0.
func (c *checker) goDuration(path, value string) {
	if d, err := time.ParseDuration(value); err != nil || d <= 0 {
		c.errorf(CodeFormat, path, `write "1m" or "30s"`, "%q is not a duration above 0", clip(value))
	}
}

func (c *checker) canaryAnalysis(a *CanaryAnalysis, skip bool) {
	const at = "spec.analysis"
	if a.Interval != "" {
		c.goDuration(at+".interval", a.Interval)
	}
	for _, v := range []struct {
		name  string
		value int
		max   float64
	}{{"threshold", a.Threshold, 1e6}, {"maxWeight", a.MaxWeight, 100}, {"stepWeight", a.StepWeight, 100}, {"stepWeightPromotion", a.StepWeightPromotion, 100}} {
		c.between(join(at, v.name), float64(v.value), 0, v.max)
	}
	last := 0
	for i, w := range a.StepWeights {
		if w <= last || w > 100 {
			c.errorf(CodeWeight, index(at+".stepWeights", i), "", "%d: expected weights that grow, from 1 to 100", w)
		}
		last = w
	}
	switch {
	case a.StepWeight > 0 && len(a.StepWeights) > 0:
		c.errorf(CodeExclusive, at+".stepWeights", "", "stepWeight and stepWeights exclude each other")
	case a.StepWeight == 0 && len(a.StepWeights) == 0 && !skip:
		c.errorf(CodeMissing, at, "", "stepWeight or stepWeights is required")
	case a.MaxWeight > 0 && len(a.StepWeights) > 0:
		c.errorf(CodeExclusive, at+".maxWeight", "the last of stepWeights is the most", "maxWeight and stepWeights exclude each other")
	}
	for i := range a.Metrics {
		c.canaryMetric(index(at+".metrics", i), &a.Metrics[i])
	}
}

func (c *checker) canaryMetric(at string, m *CanaryMetric) {
	c.refused(join(at, "templateVariables"), "write the values into the query")
	known := m.Name == CanarySuccessRate || m.Name == CanaryDuration
	switch {
	case m.Name == "":
		c.errorf(CodeRequired, at, "", "a name is required")
	case m.Query != "" && m.TemplateRef != nil:
		c.errorf(CodeExclusive, join(at, "templateRef"), "", "query and templateRef exclude each other")
	case m.TemplateRef != nil && m.TemplateRef.Name == "":
		c.errorf(CodeRequired, join(at, "templateRef"), "", "a name is required")
	case !known && m.Query == "" && m.TemplateRef == nil:
		c.errorf(CodeMissing, join(at, "name"), fmt.Sprintf("write %s, %s, or add a templateRef", CanarySuccessRate, CanaryDuration),
			"%q is no metric that is known by name", clip(m.Name))
	}
	if m.Query != "" {
		c.metricQuery(join(at, "query"), m.Query)
	}
	if m.Interval != "" {
		if !promDuration.MatchString(m.Interval) {
			c.errorf(CodeFormat, join(at, "interval"), `write "1m" or "30s"`, "%q is not a range of PromQL", clip(m.Interval))
		}
	}
	r := m.ThresholdRange
	switch {
	case r == nil && m.Threshold == nil:
		c.errorf(CodeMissing, at, "", "thresholdRange is required")
	case r != nil && m.Threshold != nil:
		c.errorf(CodeExclusive, join(at, "threshold"), "", "threshold and thresholdRange exclude each other")
	case r != nil && r.Min == nil && r.Max == nil:
		c.errorf(CodeMissing, join(at, "thresholdRange"), "", "min or max is required")
	case m.Threshold != nil:
		c.warnf(CodeDeprecatedField, join(at, "threshold"), "write thresholdRange: {min: …} or {max: …}", "is deprecated")
	}
}

// MetricFunctions are what a query's template may call; every function answers from
// the map, with "" where that has nothing.
func MetricFunctions(values map[string]string) template.FuncMap {
	functions := template.FuncMap{}
	for _, name := range []string{"name", "namespace", "target", "service", "ingress", "route", "interval"} {
		functions[name] = func() string { return values[name] }
	}
	return functions
}

func (c *checker) metricQuery(path, query string) {
	if _, err := template.New("query").Funcs(MetricFunctions(nil)).Parse(query); err != nil {
		c.errorf(CodeFormat, path, "functions are name, namespace, target, service, ingress, route and interval", "%v", err)
	}
}

func validateMetricTemplate(c *checker) {
	s := &c.o.Value.(*MetricTemplate).Spec
	if s.Provider.Type != "prometheus" {
		c.errorf(CodeValue, "spec.provider.type", "write prometheus", "provider %q is not supported yet", clip(s.Provider.Type))
	}
	for _, name := range []string{"secretRef", "insecureSkipVerify", "region", "headers"} {
		c.refused("spec.provider."+name, "the world's Prometheus is asked")
	}
	if s.Query == "" {
		c.errorf(CodeRequired, "spec", "", "query is required")
		return
	}
	c.metricQuery("spec.query", s.Query)
}
