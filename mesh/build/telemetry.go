package build

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	meshpb "istio.io/api/mesh/v1alpha1"
	telemetrypb "istio.io/api/telemetry/v1alpha1"
	telemetryv1 "istio.io/client-go/pkg/apis/telemetry/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/attributes"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// telemetries reads the mesh's own telemetry, then the objects that change it.
func (b *builder) telemetries() {
	b.meshLogs()
	b.meshTracing()
	for _, o := range oldestFirst(b.view.Of("Telemetry")) {
		t, ok := o.Value.(*telemetryv1.Telemetry)
		if !ok {
			continue
		}
		m := &model.Telemetry{Name: o.Name, Namespace: o.Namespace, Created: o.Created, Source: sourceAt(o, "")}
		for i, l := range t.Spec.GetAccessLogging() {
			m.Logging = append(m.Logging, b.logging(o, l, fmt.Sprintf("spec.accessLogging[%d]", i)))
		}
		for i, l := range t.Spec.GetTracing() {
			m.Tracing = append(m.Tracing, b.tracing(o, l, fmt.Sprintf("spec.tracing[%d]", i)))
		}
		for i, l := range t.Spec.GetMetrics() {
			m.Metrics = append(m.Metrics, b.metrics(o, l, fmt.Sprintf("spec.metrics[%d]", i)))
		}
		for _, selector := range b.targeted(o, t.Spec.GetSelector().GetMatchLabels(), t.Spec.GetTargetRef(), t.Spec.GetTargetRefs()) {
			own := *m
			own.Selector = selector
			b.parts.Telemetries = append(b.parts.Telemetries, &own)
		}
	}
}

func side(m telemetrypb.WorkloadMode) model.Side {
	switch m {
	case telemetrypb.WorkloadMode_CLIENT:
		return model.ClientSide
	case telemetrypb.WorkloadMode_SERVER:
		return model.ServerSide
	default:
		return model.BothSides
	}
}

// meshTracing is what proxies trace without any Telemetry: the first default provider,
// or with enableTracing what the proxies' configuration says.
func (b *builder) meshTracing() {
	c := b.options.MeshConfig
	own := c.GetDefaultConfig().GetTracing()
	spec := &model.TraceSpec{Sampling: b.parts.Settings.Sampling, IstioTags: own.GetEnableIstioTags() == nil || own.GetEnableIstioTags().GetValue(), MaxTagLength: own.GetMaxPathTagLength()}
	for _, name := range slices.Sorted(maps.Keys(own.GetCustomTags())) {
		t := own.GetCustomTags()[name]
		spec.Tags = append(spec.Tags, model.TraceTag{Name: name, Literal: t.GetLiteral().GetValue(),
			Environment: t.GetEnvironment().GetName(), Header: t.GetHeader().GetName(),
			Default: cmp.Or(t.GetEnvironment().GetDefaultValue(), t.GetHeader().GetDefaultValue())})
	}
	if names := c.GetDefaultProviders().GetTracing(); len(names) > 0 {
		p, problem := b.traceProvider(names[0])
		b.meshProblem("meshConfig.defaultProviders.tracing", problem)
		spec.Provider, b.parts.Settings.TracingDefault = p, true
		b.parts.Settings.Tracing = spec
		return
	}
	if !c.GetEnableTracing() {
		return
	}
	switch t := own.GetTracer().(type) {
	case nil:
	case *meshpb.Tracing_Zipkin_:
		host, port, _ := strings.Cut(t.Zipkin.GetAddress(), ":")
		p := &model.TraceProvider{Kind: model.ZipkinTracer, Path: zipkinPath}
		_, _ = fmt.Sscan(cmp.Or(port, "9411"), &p.Port)
		problem := b.collector(p, host)
		b.meshProblem("meshConfig.defaultConfig.tracing.zipkin.address", problem)
		if problem == nil {
			spec.Provider = p
		}
	default:
		b.found = append(b.found, meshDiagnostic("meshConfig.defaultConfig.tracing", ": tracers other than zipkin are not supported yet"))
	}
	if own.GetTlsSettings() != nil {
		b.found = append(b.found, meshDiagnostic("meshConfig.defaultConfig.tracing.tlsSettings", " is not supported yet"))
	}
	b.parts.Settings.Tracing = spec
}

// problem is what is wrong with a provider. A collector that is not there is none of the
// configuration's: like Istio, the proxies make no spans until it is.
type problem struct {
	severity   config.Severity
	code, text string
}

func refused(format string, args ...any) *problem {
	return &problem{config.Error, CodeUnsupported, fmt.Sprintf(format, args...)}
}

func missing(provider string) *problem {
	return &problem{config.Error, CodeProvider, fmt.Sprintf("meshConfig.extensionProviders has no %q", provider)}
}

func (b *builder) meshProblem(path string, p *problem) {
	if p == nil {
		return
	}
	d := meshDiagnostic(path, ": "+p.text)
	d.Severity, d.Code = p.severity, p.code
	b.found = append(b.found, d)
}

const zipkinPath = "/api/v2/spans"

// traceProvider makes the tracer of an extension provider, or says what is wrong with it.
func (b *builder) traceProvider(name string) (p *model.TraceProvider, problem *problem) {
	all := b.options.MeshConfig.GetExtensionProviders()
	at := slices.IndexFunc(all, func(e *meshpb.MeshConfig_ExtensionProvider) bool { return e.GetName() == name })
	if at < 0 {
		return nil, missing(name)
	}
	p = &model.TraceProvider{}
	host := ""
	switch t := all[at].GetProvider().(type) {
	case *meshpb.MeshConfig_ExtensionProvider_Zipkin:
		z := t.Zipkin
		host = z.GetService()
		p.Kind, p.Port, p.MaxTagLength, p.Short = model.ZipkinTracer, z.GetPort(), z.GetMaxTagLength(), z.GetEnable_64BitTraceId()
		p.Path, p.Timeout = cmp.Or(z.GetPath(), zipkinPath), z.GetTimeout().AsDuration()
		p.W3C = z.GetTraceContextOption() == meshpb.MeshConfig_ExtensionProvider_ZipkinTracingProvider_USE_B3_WITH_W3C_PROPAGATION
		if len(z.GetHeaders()) > 0 {
			return nil, refused("provider %q: headers of zipkin are not supported yet", name)
		}
	case *meshpb.MeshConfig_ExtensionProvider_Opentelemetry:
		otel := t.Opentelemetry
		host = otel.GetService()
		p.Kind, p.Port, p.MaxTagLength = model.OpenTelemetryGRPC, otel.GetPort(), otel.GetMaxTagLength()
		switch {
		case otel.GetResourceDetectors() != nil:
			return nil, refused("provider %q: resourceDetectors are not supported yet", name)
		case otel.GetSampling() != nil:
			return nil, refused("provider %q: samplers are not supported yet", name)
		case otel.GetGrpc() != nil:
			p.Timeout = otel.GetGrpc().GetTimeout().AsDuration()
			for _, h := range otel.GetGrpc().GetInitialMetadata() {
				if h.GetEnvName() != "" {
					return nil, refused("provider %q: metadata from the environment is not supported yet", name)
				}
				p.Headers = append(p.Headers, model.HeaderOp{Name: h.GetName(), Value: h.GetValue()})
			}
		}
		if http := otel.GetHttp(); http != nil {
			p.Kind, p.Path, p.Timeout = model.OpenTelemetryHTTP, http.GetPath(), http.GetTimeout().AsDuration()
			for _, h := range http.GetHeaders() {
				if h.GetEnvName() != "" {
					return nil, refused("provider %q: headers from the environment are not supported yet", name)
				}
				p.Headers = append(p.Headers, model.HeaderOp{Name: h.GetName(), Value: h.GetValue()})
			}
		}
	case *meshpb.MeshConfig_ExtensionProvider_Skywalking:
		host = t.Skywalking.GetService()
		p.Kind, p.Port, p.Token = model.SkyWalking, t.Skywalking.GetPort(), t.Skywalking.GetAccessToken()
	default:
		return nil, refused("provider %q is neither zipkin nor opentelemetry nor skywalking: other tracers are not supported yet", name)
	}
	if problem := b.collector(p, host); problem != nil {
		problem.text = fmt.Sprintf("provider %q: %s", name, problem.text)
		return nil, problem
	}
	return p, nil
}

// collector finds the service of a tracer: [NAMESPACE/]HOST, where HOST may be as short
// as DNS allows.
func (b *builder) collector(p *model.TraceProvider, name string) *problem {
	namespace, host, found := strings.Cut(name, "/")
	if !found {
		namespace, host = "", name
	}
	domain := ".svc." + b.options.ClusterDomain
	for _, candidate := range []string{host, host + domain, host + "." + b.options.RootNamespace + domain} {
		for _, s := range b.visible[candidate] {
			if namespace != "" && s.Namespace != namespace {
				continue
			}
			if s.Port(p.Port) == nil {
				return &problem{config.Warning, CodeUnknownPort, fmt.Sprintf("service %q has no port %d: it has %s", s.Host, p.Port, portList(s))}
			}
			p.Host = s.Host
			return nil
		}
	}
	return &problem{config.Warning, CodeUnknownHost, fmt.Sprintf("no service is called %q: spans go nowhere", name)}
}

// tracing reads one entry.
func (b *builder) tracing(o *config.Object, t *telemetrypb.Tracing, path string) model.Tracing {
	m := model.Tracing{Side: side(t.GetMatch().GetMode())}
	if v := t.GetRandomSamplingPercentage(); v != nil {
		m.Sampling = new(v.GetValue())
		if *m.Sampling < 0 || *m.Sampling > 100 {
			b.report(o, config.Error, CodeUnsupported, path+".randomSamplingPercentage", fmt.Sprintf("%v is no percentage: expected 0 to 100", *m.Sampling), "")
		}
	}
	if v := t.GetDisableSpanReporting(); v != nil {
		m.Disabled = new(v.GetValue())
	}
	if v := t.GetUseRequestIdForTraceSampling(); v != nil {
		m.UseRequestID = new(v.GetValue())
	}
	if v := t.GetEnableIstioTags(); v != nil {
		m.IstioTags = new(v.GetValue())
	}
	for i, ref := range t.GetProviders() {
		if i > 0 { // Istio takes the first
			b.report(o, config.Error, CodeUnsupported, fmt.Sprintf("%s.providers[%d]", path, i), "spans go to one provider, the first", "")
			continue
		}
		p, problem := b.traceProvider(ref.GetName())
		if problem != nil {
			b.report(o, problem.severity, problem.code, path+".providers[0]", problem.text, "")
		}
		m.Provider = p
	}
	for _, name := range slices.Sorted(maps.Keys(t.GetCustomTags())) {
		v := t.GetCustomTags()[name]
		m.Tags = append(m.Tags, model.TraceTag{Name: name, Literal: v.GetLiteral().GetValue(), Environment: v.GetEnvironment().GetName(),
			Header: v.GetHeader().GetName(), Formula: v.GetFormatter().GetValue(),
			Default: cmp.Or(v.GetEnvironment().GetDefaultValue(), v.GetHeader().GetDefaultValue())})
	}
	return m
}

// metricNames are what the metrics filter calls Istio's metrics.
var metricNames = map[telemetrypb.MetricSelector_IstioMetric]string{
	telemetrypb.MetricSelector_REQUEST_COUNT:          "requests_total",
	telemetrypb.MetricSelector_REQUEST_DURATION:       "request_duration_milliseconds",
	telemetrypb.MetricSelector_REQUEST_SIZE:           "request_bytes",
	telemetrypb.MetricSelector_RESPONSE_SIZE:          "response_bytes",
	telemetrypb.MetricSelector_TCP_OPENED_CONNECTIONS: "tcp_connections_opened_total",
	telemetrypb.MetricSelector_TCP_CLOSED_CONNECTIONS: "tcp_connections_closed_total",
	telemetrypb.MetricSelector_TCP_SENT_BYTES:         "tcp_sent_bytes_total",
	telemetrypb.MetricSelector_TCP_RECEIVED_BYTES:     "tcp_received_bytes_total",
}

// metrics reads one entry. There is one provider: Prometheus scrapes the proxies.
func (b *builder) metrics(o *config.Object, t *telemetrypb.Metrics, path string) model.Metrics {
	var m model.Metrics
	for i, ref := range t.GetProviders() {
		if ref.GetName() != "prometheus" {
			b.report(o, config.Error, CodeUnsupported, fmt.Sprintf("%s.providers[%d]", path, i),
				fmt.Sprintf("metrics provider %q is not supported yet", ref.GetName()), `the provider "prometheus" always exists`)
		}
	}
	for i, v := range t.GetOverrides() {
		at := fmt.Sprintf("%s.overrides[%d]", path, i)
		over := model.MetricsOverride{Side: side(v.GetMatch().GetMode())}
		if metric := v.GetMatch().GetMetric(); metric != telemetrypb.MetricSelector_ALL_METRICS {
			if over.Metric = metricNames[metric]; over.Metric == "" {
				b.report(o, config.Error, CodeUnsupported, at+".match.metric", fmt.Sprintf("%s is not supported yet", metric), "")
			}
		}
		if v.GetDisabled() != nil {
			over.Disabled = new(v.GetDisabled().GetValue())
		}
		for _, name := range slices.Sorted(maps.Keys(v.GetTagOverrides())) {
			t := v.GetTagOverrides()[name]
			tag := model.TagOverride{Name: name, Value: t.GetValue(), Remove: t.GetOperation() == telemetrypb.MetricsOverrides_TagOverride_REMOVE}
			if !tag.Remove {
				if _, err := attributes.Compile(tag.Value); err != nil {
					b.report(o, config.Error, CodeBadExpression, at+".tagOverrides."+name+".value", err.Error(), `a text is an expression in quotes: "'text'"`)
					continue
				}
			}
			over.Tags = append(over.Tags, tag)
		}
		m.Overrides = append(m.Overrides, over)
	}
	return m
}
