package snapshot

import "time"

// Filter is one HTTP filter with its configuration.
type Filter interface{ FilterName() string }

// HTTP filters, by the names that Envoy gives them.
type (
	// Router forwards. It is always last.
	Router struct {
		SuppressEnvoyHeaders bool
		ChildSpans           bool // start_child_span
	}
	// Fault delays and aborts. As a per-route configuration it overrides the filter's.
	Fault struct {
		Delay        time.Duration
		DelayPercent float64
		AbortStatus  int // HTTP status; 0 none
		AbortGRPC    int // gRPC status; -1 none
		AbortPercent float64
		// HeaderDelay and HeaderAbort let the request say what is done to it, by its
		// x-envoy-fault-* headers, for at most the percentages.
		HeaderDelay, HeaderAbort bool
		Headers                  []HeaderMatch // only requests that match
		MaxActive                int
	}
	// CORS is per route; the filter itself carries nothing.
	CORS struct {
		AllowOrigins     []StringMatch
		AllowMethods     string
		AllowHeaders     string
		ExposeHeaders    string
		MaxAge           string
		AllowCredentials bool
		ForwardUnmatched bool
	}
	// HostForward resolves the Host of requests that go to a cluster by name, with the
	// same cache: Envoy's dynamic_forward_proxy.
	HostForward struct{ Cache string }
	// GRPCStats marks gRPC exchanges for telemetry.
	GRPCStats struct{}
	// ALPN is Istio's filter that advertises istio-http/1.1 upstream.
	ALPN struct{ HTTP10, HTTP11, HTTP2 []string }
	// PeerMetadata exchanges workload identity in headers between sidecars.
	PeerMetadata struct{ Downstream bool }
	// IstioStats makes Istio's standard metrics.
	IstioStats struct {
		Reporter string
		// NoHostFallback leaves destination_service unknown where no cluster tells it,
		// instead of the request's authority.
		NoHostFallback bool
		// Metrics are changed; the others are as Istio documents them.
		Metrics []MetricChange
	}
)

// MetricChange is what is different about one of Istio's metrics, "requests_total".
type MetricChange struct {
	Name   string
	Drop   bool
	Remove []string          // labels
	Labels map[string]string // expressions by label
}

// FilterName implements Filter.
func (Router) FilterName() string       { return "envoy.filters.http.router" }
func (Fault) FilterName() string        { return "envoy.filters.http.fault" }
func (CORS) FilterName() string         { return "envoy.filters.http.cors" }
func (HostForward) FilterName() string  { return "envoy.filters.http.dynamic_forward_proxy" }
func (GRPCStats) FilterName() string    { return "envoy.filters.http.grpc_stats" }
func (ALPN) FilterName() string         { return "istio.alpn" }
func (PeerMetadata) FilterName() string { return "istio.metadata_exchange" }
func (IstioStats) FilterName() string   { return "istio.stats" }
