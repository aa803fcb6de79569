// Package snapshot has what one proxy does, as plain immutable data: the result of
// compiling xDS, the input of building the request path. It imports no protos
// and knows nothing of control planes.
//
// Everything is validated and defaulted by whoever constructs it; the data plane
// may rely on it. Slices are in matching order where order matters, else sorted.
package snapshot

import (
	"net/netip"
	"regexp"
	"slices"
	"time"
)

// Proxy is one complete configuration.
type Proxy struct {
	Version   string // content hash of everything below
	Listeners []*Listener
	Clusters  map[string]*Cluster
	Routes    map[string]*RouteConfig
}

// Listener accepts connections and picks a filter chain for each.
type Listener struct {
	Name    string
	Address netip.AddrPort
	// Also are further addresses (additional_addresses).
	Also []netip.AddrPort
	// BindToPort is false for listeners that only receive connections handed over by UseOriginalDst.
	BindToPort bool
	// UseOriginalDst hands a connection to the listener of its original destination:
	// exact address first, then the wildcard address with that port; none: stays here.
	UseOriginalDst bool
	Inbound        bool // trafficDirection INBOUND

	OriginalDst   bool       // listener filter original_dst
	TLSInspector  *Inspector // nil: off
	HTTPInspector *Inspector
	// ProxyProtocol reads the header of the PROXY protocol; without one a connection is
	// closed, unless it is optional.
	ProxyProtocol, ProxyProtocolOptional bool
	// InspectTimeout is 0 for none; ContinueOnTimeout goes on with what is known by then.
	InspectTimeout    time.Duration
	ContinueOnTimeout bool

	Chains     []*FilterChain
	Default    *FilterChain
	AccessLogs []AccessLog
}

// Inspector is a listener filter, off for the destination ports listed.
type Inspector struct{ DisabledPorts []PortRange }

// PortRange is [Start, End).
type PortRange struct{ Start, End uint32 }

// FilterChain is what happens on connections that match. Exactly one of HTTP and TCP is set.
type FilterChain struct {
	Name  string
	Match ChainMatch
	// TLS is nil for plaintext.
	TLS              *ServerTLS
	HandshakeTimeout time.Duration // 0: none
	HTTP             *HTTPManager
	TCP              *TCPProxy
	// Guards are network filters that run before a TCP proxy, in order.
	Guards []Guard
	Source string
}

// Guard decides about connections. Exactly one of its fields is set; ExtAuthz asks over
// gRPC, and of its settings has only those that are not about requests.
type Guard struct {
	RBAC     *RBAC
	ExtAuthz *ExtAuthz
}

// ChainMatch is Envoy's FilterChainMatch; zero fields match anything.
// Criteria are tried in Envoy's order: destination port, destination address,
// server name, transport protocol, application protocols, source.
type ChainMatch struct {
	DestinationPort      uint16
	DestinationPrefixes  []netip.Prefix
	ServerNames          []string // exact or "*.suffix"
	TransportProtocol    string   // "raw_buffer", "tls"
	ApplicationProtocols []string
	SourcePrefixes       []netip.Prefix
	SourcePorts          []uint16
}

// ServerTLS terminates TLS.
type ServerTLS struct {
	Certificate string // secret name; empty: Inline
	Inline      *InlineCertificate
	// Others are further certificates, for clients that the first does not suit.
	Others            []*InlineCertificate
	ValidationContext string // secret name of the trusted roots; empty: none
	InlineRoots       []byte // PEM
	MatchSANs         []StringMatch
	// CertHashes and KeyHashes are SHA-256 of client certificates and of their public
	// keys (SPKI); where there are any, one of them has to match.
	CertHashes, KeyHashes [][32]byte
	RequireClientCert     bool
	ALPN                  []string
	MinVersion            uint16 // crypto/tls versions; 0: library's default
	MaxVersion            uint16
	CipherSuites          []uint16
}

// ClientTLS originates TLS.
type ClientTLS struct {
	Certificate        string
	Inline             *InlineCertificate
	ValidationContext  string
	InlineRoots        []byte
	SystemRoots        bool
	MatchSANs          []StringMatch
	SNI                string
	AutoSNI            bool // from the request's authority
	ALPN               []string
	MinVersion         uint16
	MaxVersion         uint16
	InsecureSkipVerify bool
}

// InlineCertificate is a PEM chain with its key.
type InlineCertificate struct{ Chain, Key []byte }

// TCPProxy forwards bytes.
type TCPProxy struct {
	StatPrefix string
	Clusters   []WeightedCluster
	// IdleTimeout is 0 for none (default 1 h is filled in by the compiler).
	IdleTimeout        time.Duration
	MaxConnectAttempts int
	HashSourceIP       bool // hash_policy source_ip
	AccessLogs         []AccessLog
	IstioStats         *IstioStats // nil: none
	// Tunnel has the bytes travel inside of a request to the cluster; nil: as they are.
	Tunnel *Tunnel
	// ByName has the server name of the client's handshake resolved for the cluster; nil: not.
	ByName *SNIForward
}

// SNIForward is Envoy's sni_dynamic_forward_proxy: the cache to fill, and the port of the server.
type SNIForward struct {
	Cache string
	Port  uint16
}

// Tunnel is tunneling_config: a CONNECT, or a POST whose content and answer the bytes are.
type Tunnel struct {
	Hostname string // the request's authority, with command operators
	Post     bool
	PostPath string // empty: "/"
	Headers  HeaderOps
}

// HTTPManager is Envoy's HTTP connection manager.
type HTTPManager struct {
	StatPrefix string
	// RouteConfig names an entry of Proxy.Routes; Routes is inline.
	RouteConfig string
	Routes      *RouteConfig
	Filters     []Filter // ends with Router

	ServerName            string // server header to set; empty: "envoy"
	UseRemoteAddress      bool
	XFFTrustedHops        int
	ForwardClientCert     ForwardClientCert
	SetCurrentCertDetails CertDetails
	NormalizePath         bool
	MergeSlashes          bool
	EscapedSlashes        EscapedSlashes
	Upgrades              []string // lower case: "websocket"
	Proxy100Continue      bool
	StreamIdleTimeout     time.Duration // 0: none, as are all below
	RequestTimeout        time.Duration
	RequestHeadersTimeout time.Duration
	IdleTimeout           time.Duration
	MaxConnectionDuration time.Duration
	MaxStreamDuration     time.Duration
	DrainTimeout          time.Duration
	// DelayedClose is delayed_close_timeout: how long a client that still sends may take to
	// see the last response. nil: 1 s; 0: the connection is closed at once.
	DelayedClose             *time.Duration
	HTTP2                    HTTP2Options
	MaxRequestHeaderBytes    int // default 60 KiB
	MaxRequestHeaders        int // default 100
	MaxRequestsPerConnection int
	Codec                    Codec
	// AcceptHTTP10 is accept_http_10: without it such requests get a 426.
	AcceptHTTP10 bool
	// InternalAddresses is internal_address_config; nil: RFC 1918, RFC 4193 and loopback.
	InternalAddresses         []netip.Prefix
	PreserveExternalRequestID bool
	AlwaysSetRequestID        bool // in the response
	// GenerateRequestID makes an x-request-id where there is none (Envoy's default).
	GenerateRequestID bool
	Tracing           *Tracing
	AccessLogs        []AccessLog
}

// Resolves tells whether a filter resolves the names of requests for clusters with a cache.
func (m *HTTPManager) Resolves(cache string) bool {
	return slices.Contains(m.Filters, Filter(HostForward{cache}))
}

// HTTP2Options are http2_protocol_options of one side, but how many streams there may be
// at an upstream. Zero values are the codec's.
type HTTP2Options struct {
	MaxConcurrentStreams           uint32 // that a client may open
	StreamWindow, ConnectionWindow uint32 // offered, in bytes
	Keepalive, KeepaliveTimeout    time.Duration
	KeepaliveJitter                float64 // percent of Keepalive, added at most; drawn per connection
	// AllowConnect takes extended CONNECTs: upgrades of single streams (RFC 8441).
	AllowConnect bool
}

// Codec is the downstream protocol of a connection manager.
type Codec uint8

// The codecs.
const (
	CodecAuto Codec = iota
	CodecHTTP1
	CodecHTTP2
)

// ForwardClientCert is what happens to x-forwarded-client-cert.
type ForwardClientCert uint8

// The modes, with Envoy's names.
const (
	Sanitize ForwardClientCert = iota
	ForwardOnly
	AppendForward
	SanitizeSet
	AlwaysForwardOnly
)

// CertDetails are the parts of the peer's certificate that go into x-forwarded-client-cert.
type CertDetails struct{ Subject, Cert, Chain, DNS, URI bool }

// EscapedSlashes is path_with_escaped_slashes_action.
type EscapedSlashes uint8

// The actions.
const (
	KeepUnchanged EscapedSlashes = iota
	RejectRequest
	UnescapeAndRedirect
	UnescapeAndForward
)

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

// AccessLog is one log of a listener or connection manager.
type AccessLog struct {
	Path   string // file, /dev/stdout
	Format string // text with command operators; empty: default
	// JSON is written in place of Format: what encoding/json makes of an object, its
	// strings being formats.
	JSON map[string]any
	// OmitEmpty leaves values out that are missing: the keys of JSON, the "-" of text.
	OmitEmpty bool
	Filter    *LogFilter // nil: everything
}

// LogFilter picks exchanges for a log. Exactly one of the fields is set; with none but
// Flags, which may be empty for any, it picks those with a response flag.
type LogFilter struct {
	And, Or    []LogFilter
	Status     *Comparison
	Duration   *Comparison // milliseconds
	Expression string      // CEL over Envoy's attributes
	Flags      []string
}

// Comparison is Envoy's ComparisonFilter.
type Comparison struct {
	Order int // -1: at most, 0: equal, 1: at least
	Value int64
}

// Holds compares a number.
func (c *Comparison) Holds(n int64) bool {
	return n == c.Value || c.Order < 0 && n < c.Value || c.Order > 0 && n > c.Value
}

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

// RouteConfig is a table of virtual hosts.
type RouteConfig struct {
	Name            string
	VirtualHosts    []*VirtualHost
	IgnorePort      bool // ignore_port_in_host_matching
	RequestHeaders  HeaderOps
	ResponseHeaders HeaderOps
	Source          string
}

// VirtualHost has the routes of some domains.
type VirtualHost struct {
	Name                string
	Domains             []string // exact, "*.suffix", "prefix.*", "*"
	Routes              []*Route // first match wins
	RequestHeaders      HeaderOps
	ResponseHeaders     HeaderOps
	IncludeAttemptCount bool
	Retry               *Retry
	RateLimits          []RateLimit
	PerFilter           map[string]Filter
	Source              string
}

// Route is one rule. Exactly one of Forward, Redirect and Direct is set.
type Route struct {
	Name            string
	Match           RouteMatch
	Forward         *Forward
	Redirect        *Redirect
	Direct          *DirectResponse
	RequestHeaders  HeaderOps
	ResponseHeaders HeaderOps
	PerFilter       map[string]Filter // by filter name
	StatPrefix      string
	Decorator       string // operation name of spans
	Source          string // file:line of the configuration behind it
}

// RouteMatch is a conjunction. Exactly one of the path fields is set.
type RouteMatch struct {
	Prefix        *string
	Exact         *string
	Regex         *regexp.Regexp // must match the whole path, query excluded
	PathSeparated *string        // prefix by whole segments
	Connect       bool           // any CONNECT, and nothing else
	IgnoreCase    bool
	Headers       []HeaderMatch
	Query         []QueryMatch
	Metadata      []MetadataMatch // what filters found out, dynamic_metadata
	// Fraction is runtime_fraction in percent; nil always matches.
	Fraction *float64
	GRPC     bool
}

// HeaderMatch tests one field; ":method", ":authority", ":path" and ":scheme" name the pseudo fields.
type HeaderMatch struct {
	Name           string
	Present        bool // test presence only; Value is unused
	Value          *StringMatch
	Invert         bool
	MissingAsEmpty bool // treat_missing_header_as_empty
	Range          *[2]int64
}

// QueryMatch tests one parameter. Present or Value.
type QueryMatch struct {
	Name    string
	Present bool
	Value   *StringMatch
}

// StringMatch tests a string. Exactly one kind is set.
type StringMatch struct {
	Exact, Prefix, Suffix, Contains *string
	Regex                           *regexp.Regexp // whole string
	IgnoreCase                      bool
}

// HeaderOps are header changes, applied remove, then set and add in order.
type HeaderOps struct {
	Remove []string
	Set    []HeaderOp
}

// HeaderOp sets or appends one field. Value may hold command operators.
type HeaderOp struct {
	Name, Value string
	Action      HeaderAction
}

// HeaderAction is Envoy's append_action.
type HeaderAction uint8

// The actions.
const (
	AppendOrAdd HeaderAction = iota
	AddIfAbsent
	OverwriteOrAdd
	OverwriteIfExists
)

// Forward sends the request to a cluster.
type Forward struct {
	Clusters []WeightedCluster // one entry, or several with weights
	// ClusterHeader names a field that holds the cluster.
	ClusterHeader string
	// NotFoundStatus is cluster_not_found_response_code: 503 by default.
	NotFoundStatus int

	Timeout           time.Duration // 0: none
	IdleTimeout       *time.Duration
	MaxStreamDuration time.Duration
	// OwnStreamDuration has MaxStreamDuration stand in for the connection manager's, 0 too.
	OwnStreamDuration bool
	MaxGRPCTimeout    *time.Duration // nil: grpc-timeout is ignored; 0: no cap
	Retry             *Retry         // nil: the virtual host's, else none
	Mirrors           []Mirror
	HashPolicy        []HashPolicy
	RateLimits        []RateLimit
	IncludeHostLimits bool // include_vh_rate_limits

	PrefixRewrite        string
	RegexRewrite         *RegexRewrite
	HostRewrite          string
	AutoHostRewrite      bool
	AppendXForwardedHost bool
	Upgrades             map[string]bool // overrides of the manager's
	// Terminate is connect_config: a CONNECT ends here, and its bytes go to the cluster.
	Terminate bool
	Priority  int // 0 default, 1 high
}

// WeightedCluster is one destination with its own header changes.
type WeightedCluster struct {
	Name            string
	Weight          uint32
	RequestHeaders  HeaderOps
	ResponseHeaders HeaderOps
	HostRewrite     string
	PerFilter       map[string]Filter
}

// RegexRewrite replaces all matches in the path.
type RegexRewrite struct {
	Pattern      *regexp.Regexp
	Substitution string // with \1 groups
}

// Mirror copies requests to another cluster and drops the answers.
type Mirror struct {
	Cluster        string
	Percent        float64
	NoShadowSuffix bool // disable_shadow_host_suffix_append
	NoTrace        bool
}

// HashPolicy is one source of the consistent hash. Exactly one kind is set.
type HashPolicy struct {
	Header   string
	Cookie   *HashCookie
	SourceIP bool
	Query    string
	Terminal bool
}

// HashCookie is the cookie that keeps a client at one host.
type HashCookie struct {
	Name, Path string
	TTL        *time.Duration // nil: never set one; 0: session cookie
	Attributes map[string]string
}

// Retry is a retry policy.
type Retry struct {
	On                []string // words as in x-envoy-retry-on
	Attempts          int      // retries beyond the first try
	PerTryTimeout     time.Duration
	PerTryIdleTimeout time.Duration
	Statuses          []int // retriable_status_codes
	Headers           []HeaderMatch
	BackOffBase       time.Duration // default 25 ms
	BackOffMax        time.Duration // default 10 × base
	PreviousHosts     bool          // avoid hosts already tried
	// PreviousPriorities avoids priorities already tried, looked at anew after each
	// PriorityUpdate tries.
	PreviousPriorities bool
	PriorityUpdate     int
	HostAttempts       int // host_selection_retry_max_attempts
}

// Redirect answers with a Location.
type Redirect struct {
	Scheme, Host  string
	Port          uint16
	Path          string // path_redirect
	PrefixRewrite string
	RegexRewrite  *RegexRewrite
	HTTPS         bool
	StripQuery    bool
	Status        int
}

// DirectResponse answers without an upstream.
type DirectResponse struct {
	Status int
	Body   string
}

// Addresses are all that a listener has, its own first.
func (l *Listener) Addresses() []netip.AddrPort {
	return append([]netip.AddrPort{l.Address}, l.Also...)
}
