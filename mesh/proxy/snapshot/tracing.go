package snapshot

import "time"

// Tracing is what a connection manager does about traces. Sampling is in percent.
type Tracing struct {
	ClientSampling, RandomSampling, OverallSampling float64
	// Provider is where spans go; nil: none are made, only request ids are marked.
	Provider *TraceProvider
	Tags     []TraceTag
	// MaxPathLength cuts the path in the tag http.url.
	MaxPathLength int
	// IgnoreRequestID traces every request, as far as its own trace context lets it
	// (use_request_id_for_trace_sampling is false).
	IgnoreRequestID bool
	// ChildSpans has the router make a span for each try (SkyWalking).
	ChildSpans bool
	// KeepRequestID leaves the reason out of request ids (pack_trace_reason is false).
	KeepRequestID bool
}

// TraceProvider is a tracer with the cluster that collects its spans.
type TraceProvider struct {
	Protocol TraceProtocol
	Cluster  string
	Host     string // Host of requests to the collector
	Path     string
	Headers  []HeaderOp
	// ServiceName of the spans; empty: the node's cluster. Instance is the service's, empty:
	// the node's id (SkyWalking).
	ServiceName, Instance string
	Timeout               time.Duration
	// Short makes 64-bit trace ids (Zipkin).
	Short bool
	// Shared gives the server's span the id of the client's (Zipkin).
	Shared bool
	// W3C reads traceparent where there is no B3 context, and writes both (Zipkin).
	W3C bool
}

// TraceProtocol is how a collector is spoken to; context travels in B3 fields with
// Zipkin, in W3C's with OpenTelemetry, in sw8 with SkyWalking.
type TraceProtocol uint8

// The protocols.
const (
	Zipkin TraceProtocol = iota
	OTLPHTTP
	OTLPGRPC
	SkyWalking
)

// TraceTag is a custom tag of spans. Exactly one of Literal, Header, Environment,
// Metadata and Format makes its value; Default stands in for one that is not there, and
// without a value there is no tag.
type TraceTag struct {
	Name        string
	Literal     string
	Header      string
	Environment string
	Metadata    []string // a filter's name, then the path in its metadata
	Format      string   // text with command operators
	Default     string
}
