package snapshot

import (
	"net/netip"
	"slices"
	"time"
)

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
