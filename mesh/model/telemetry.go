package model

import (
	"maps"
	"slices"
	"time"
)

// Telemetry is what one object says of the telemetry of the workloads that it selects.
type Telemetry struct {
	Name, Namespace string
	Selector        map[string]string // nil: all of the namespace
	Logging         []Logging
	Tracing         []Tracing
	Metrics         []Metrics
	Created         time.Time
	Source          Source
}

// Side is the part of a proxy's traffic that an entry is about.
type Side uint8

// The sides. As a client the workload calls others; gateways are clients.
const (
	BothSides Side = iota
	ClientSide
	ServerSide
)

// On reports whether an entry is about inbound, or outbound, traffic.
func (s Side) On(inbound bool) bool {
	return s == BothSides || inbound == (s == ServerSide)
}

// Logging is one entry of access logging.
type Logging struct {
	Side     Side
	Logs     []*AccessLog // nil: those of the level above, else of the default providers
	Disabled bool
	Filter   string // CEL over Envoy's attributes; empty: everything
}

// Tracing is one entry of tracing; what is nil is the level's above.
type Tracing struct {
	Side         Side
	Provider     *TraceProvider
	Sampling     *float64 // percent
	Disabled     *bool
	UseRequestID *bool
	IstioTags    *bool
	Tags         []TraceTag
}

// TraceProvider is a tracer and the service that collects its spans.
type TraceProvider struct {
	Kind    TraceKind
	Host    string // of the service
	Port    uint32
	Path    string
	Headers []HeaderOp
	Timeout time.Duration // 0: the tracer's own
	// MaxTagLength cuts the path in http.url; 0: the default.
	MaxTagLength uint32
	Short        bool   // 64-bit trace ids
	W3C          bool   // B3 with W3C
	Token        string // that reports carry (SkyWalking); "": none
}

// TraceKind is the language of a tracer.
type TraceKind uint8

// The kinds of tracers.
const (
	ZipkinTracer TraceKind = iota
	OpenTelemetryHTTP
	OpenTelemetryGRPC
	SkyWalking
)

// TraceTag is a custom tag of spans. Exactly one of the fields in the middle is set.
type TraceTag struct {
	Name                                  string
	Literal, Environment, Header, Formula string
	Default                               string
}

// TraceSpec is what holds for the spans of one side of a workload.
type TraceSpec struct {
	Provider        *TraceProvider // nil: no spans are made
	Sampling        float64
	Tags            []TraceTag
	IstioTags       bool
	IgnoreRequestID bool
	MaxTagLength    uint32
}

// Metrics are entries about Istio's standard metrics.
type Metrics struct {
	Overrides []MetricsOverride
}

// MetricsOverride changes one metric, or all.
type MetricsOverride struct {
	Side     Side
	Metric   string // "istio_requests_total"'s name in the filter, "requests_total"; empty: all
	Disabled *bool
	Tags     []TagOverride // by name
}

// TagOverride removes a label, or gives it the value of an expression.
type TagOverride struct {
	Name   string
	Remove bool
	Value  string // CEL
}

// levels are the objects that hold for a workload: the root namespace's, its own
// namespace's, its own. Of several at one level the oldest holds.
func (m *Mesh) levels(namespace string, labels map[string]string) []*Telemetry {
	var found []*Telemetry
	for i, level := range []func(*Telemetry) bool{
		func(t *Telemetry) bool { return t.Namespace == m.Settings.RootNamespace && t.Selector == nil },
		func(t *Telemetry) bool { return t.Namespace == namespace && t.Selector == nil },
		func(t *Telemetry) bool {
			return t.Namespace == namespace && t.Selector != nil && Selects(t.Selector, labels)
		},
	} {
		if i == 1 && namespace == m.Settings.RootNamespace {
			continue
		}
		if at := slices.IndexFunc(m.telemetries, level); at >= 0 {
			found = append(found, m.telemetries[at])
		}
	}
	return found
}

// FilteredLog is an access log with the filter that holds for it.
type FilteredLog struct {
	*AccessLog
	Filter string
}

// AccessLogs returns the logs that hold for one side of a workload. Each level may
// replace the logs of the one above, or switch logs off. A log is known by its name. Where
// neither a level nor the mesh names a provider, Telemetry says nothing about logs, and the
// mesh's accessLogFile is written as it is (Istio: Telemetries.AccessLogging).
func (m *Mesh) AccessLogs(namespace string, labels map[string]string, inbound bool) []FilteredLog {
	current := m.Settings.AccessLogs
	named := len(current) > 0
	filters := map[string]string{} // of the logs that are on
	for _, l := range current {
		filters[l.Name] = ""
	}
	for _, t := range m.levels(namespace, labels) {
		for _, entry := range t.Logging {
			if !entry.Side.On(inbound) {
				continue
			}
			about := entry.Logs
			named = named || about != nil
			switch {
			case about == nil:
				about = current
			case !entry.Disabled:
				current = entry.Logs
			}
			for _, l := range about {
				if delete(filters, l.Name); !entry.Disabled {
					filters[l.Name] = entry.Filter
				}
			}
		}
	}
	if !named && m.Settings.FallbackLog != nil {
		return []FilteredLog{{AccessLog: m.Settings.FallbackLog}}
	}
	var list []FilteredLog
	for _, l := range current {
		if filter, on := filters[l.Name]; on {
			list = append(list, FilteredLog{l, filter})
		}
	}
	return list
}

// Tracing returns what holds for the spans of one side of a workload; nil: nothing is
// traced. Each level replaces what it names of those above it.
func (m *Mesh) Tracing(namespace string, labels map[string]string, inbound bool) *TraceSpec {
	spec := m.Settings.Tracing
	result := TraceSpec{Sampling: m.Settings.Sampling, IstioTags: true}
	if spec != nil {
		result = *spec
	}
	disabled, said := false, m.Settings.TracingDefault
	for _, t := range m.levels(namespace, labels) {
		for _, entry := range t.Tracing {
			said = true
			if !entry.Side.On(inbound) {
				continue
			}
			if entry.Provider != nil {
				result.Provider = entry.Provider
			}
			if entry.Sampling != nil {
				result.Sampling = *entry.Sampling
			}
			if entry.Disabled != nil {
				disabled = *entry.Disabled
			}
			if entry.UseRequestID != nil {
				result.IgnoreRequestID = !*entry.UseRequestID
			}
			if entry.IstioTags != nil {
				result.IstioTags = *entry.IstioTags
			}
			if entry.Tags != nil {
				result.Tags = entry.Tags
			}
		}
	}
	if disabled || said && result.Provider == nil || !said && spec == nil {
		return nil
	}
	return &result
}

// Metrics returns what is changed in the metrics of one side of a workload, in order:
// later overrides go before earlier ones.
func (m *Mesh) Metrics(namespace string, labels map[string]string, inbound bool) []MetricsOverride {
	var list []MetricsOverride
	for _, t := range m.levels(namespace, labels) {
		for _, entry := range t.Metrics {
			for _, o := range entry.Overrides {
				if o.Side.On(inbound) {
					list = append(list, o)
				}
			}
		}
	}
	return list
}

// Collectors are the services that any tracer of the mesh reports to, by host: proxies
// have their clusters, whatever else they see.
func (m *Mesh) Collectors() []*Service {
	found := map[string]bool{}
	add := func(p *TraceProvider) {
		if p != nil {
			found[p.Host] = true
		}
	}
	if m.Settings.Tracing != nil {
		add(m.Settings.Tracing.Provider)
	}
	for _, t := range m.telemetries {
		for _, entry := range t.Tracing {
			add(entry.Provider)
		}
	}
	var list []*Service
	for _, host := range slices.Sorted(maps.Keys(found)) {
		if services := m.byHost[host]; len(services) > 0 {
			list = append(list, services[0])
		}
	}
	return list
}
