package message

import (
	"crypto/x509"
	"net/netip"
	"strings"
	"time"
)

// Stream has the facts of one exchange: layers write what they know, access logs,
// metrics and traces read it when the exchange is over. One goroutine at a time uses it.
type Stream struct {
	Conn  *Conn
	Start time.Time

	VirtualHost string
	RouteName   string
	Cluster     string // name of the upstream cluster
	Source      string // file:line of the configuration behind the route, where known

	UpstreamHost  netip.AddrPort
	UpstreamLocal netip.AddrPort
	// UpstreamIdentity and UpstreamPeer are the URI SANs of this proxy and of the server
	// in the last try's mutual TLS, empty without.
	UpstreamIdentity, UpstreamPeer string
	// TransportFailure is Envoy's UPSTREAM_TRANSPORT_FAILURE_REASON.
	TransportFailure string
	// UpstreamDuration is the time from the request's start to the response's headers.
	UpstreamDuration time.Duration
	Attempts         int

	Flags         Flags
	Details       string // RESPONSE_CODE_DETAILS
	BytesReceived int64
	BytesSent     int64
	OriginalPath  string // before a rewrite
	// Remote is the client as far as it can be trusted: from x-forwarded-for or the
	// connection. Logs and hashing by source address use it.
	Remote netip.AddrPort
	// Relax, where set, takes the connection manager's own limits off the exchange: the
	// route has others for how long it may be idle, or last.
	Relax func(idle, duration bool)
	// Duration is the whole exchange's, set when it is over.
	Duration time.Duration

	Times Times

	// TraceReason is why the request is to be traced, as far as this proxy decides.
	TraceReason TraceReason
	// Span is the exchange's part of a trace; nil: it has none.
	Span Span
	// Metadata is what filters found out, by the filter's name: Envoy's dynamic metadata.
	Metadata map[string]map[string]any
}

// Times are the moments of an exchange that access logs know; zero ones did not come.
type Times struct {
	RequestEnd    time.Time // the client's last byte has come
	UpstreamBegin time.Time // the last try's first byte went out
	UpstreamEnd   time.Time // and its last one
	AnswerBegin   time.Time // the server's first byte has come
	AnswerEnd     time.Time // and its last one
}

// TraceReason is why a request is traced.
type TraceReason uint8

// The reasons, as Envoy's connection manager counts them.
const (
	NotTraced TraceReason = iota
	TraceSampled
	TraceByClient  // x-client-trace-id
	TraceByService // x-envoy-force-trace
)

// Span is the part of a trace that one exchange makes.
type Span interface {
	// TraceID and SpanID are lower-case hexadecimal.
	TraceID() string
	SpanID() string
	SetOperation(name string)
	// End is called once, when the exchange is over; p is nil and status 0 where there
	// was no answer.
	End(q *Request, p *Response, status int, s *Stream)
}

// TriedSpan is a span that has one below it for each try.
type TriedSpan interface {
	// Try tells that a request is about to go to a host, and writes into its header what
	// that is to continue.
	Try(h *Header, path string, to netip.AddrPort, at time.Time)
}

// Conn has the facts of one downstream connection. It does not change after the handshake.
type Conn struct {
	ID       uint64
	Listener string
	Inbound  bool
	Start    time.Time
	Remote   netip.AddrPort
	Local    netip.AddrPort // the original destination where the connection was redirected
	// Restored tells that Local is not this proxy's, but where the client meant to go.
	Restored bool
	// Peer is who made the connection, where that is not Remote: a proxy that told of
	// Remote by the PROXY protocol. Direct is what to ask.
	Peer netip.AddrPort
	// RequestedServerName is the SNI that the client sent, whoever terminates TLS.
	RequestedServerName string
	// TLS is nil for plaintext.
	TLS *TLS
	// HashKey is what a consistent balancer goes by for the connection as a whole; "": nothing.
	HashKey string
	// ForwardTo is the name and port that the connection goes on to; "": what its cluster has.
	ForwardTo string
}

// Direct is the address at the connection's other end.
func (c *Conn) Direct() netip.AddrPort {
	if c.Peer.IsValid() {
		return c.Peer
	}
	return c.Remote
}

// TLS has the facts of a handshake that this proxy terminated.
type TLS struct {
	Version     uint16 // as crypto/tls
	Cipher      uint16
	ServerName  string
	ALPN        string
	PeerURIs    []string // URI SANs of the verified peer, its SPIFFE id first
	PeerDNS     []string
	PeerSubject string
	PeerHash    string              // hex SHA-256 of the peer's certificate
	Peer        []*x509.Certificate // the peer's certificate, then its chain
	LocalURIs   []string
}

// Flags is a set of Envoy's response flags.
type Flags uint32

// The response flags, with Envoy's short names in String.
const (
	NoHealthyUpstream               Flags = 1 << iota // UH
	UpstreamConnectionFailure                         // UF
	UpstreamOverflow                                  // UO
	NoRouteFound                                      // NR
	NoClusterFound                                    // NC
	UpstreamRetryLimitExceeded                        // URX
	UpstreamRequestTimeout                            // UT
	UpstreamConnectionTermination                     // UC
	UpstreamRemoteReset                               // UR
	LocalReset                                        // LR
	DownstreamConnectionTermination                   // DC
	FailedLocalHealthCheck                            // LH
	DelayInjected                                     // DI
	FaultInjected                                     // FI
	RateLimited                                       // RL
	UnauthorizedExternalService                       // UAEX
	RateLimitServiceError                             // RLSE
	InvalidEnvoyHeaders                               // IH
	StreamIdleTimeout                                 // SI
	DownstreamProtocolError                           // DPE
	UpstreamProtocolError                             // UPE
	UpstreamMaxStreamDuration                         // UMSDR
	DurationTimeout                                   // DT
	ResponseFromCache                                 // RFCF
	NoFilterConfig                                    // NFCF
	OverloadManager                                   // OM
	DNSFailure                                        // DF
	DropOverload                                      // DO
	DownstreamRemoteReset                             // DR
)

var flagNames = [...]string{"UH", "UF", "UO", "NR", "NC", "URX", "UT", "UC", "UR", "LR", "DC", "LH", "DI", "FI", "RL",
	"UAEX", "RLSE", "IH", "SI", "DPE", "UPE", "UMSDR", "DT", "RFCF", "NFCF", "OM", "DF", "DO", "DR"}

// Names returns the short names of the flags in the set.
func (f Flags) Names() []string {
	var names []string
	for i, name := range flagNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// String joins the short names with commas; "-" is the empty set, as in access logs.
func (f Flags) String() string {
	if f == 0 {
		return "-"
	}
	return strings.Join(f.Names(), ",")
}

// FlagNamed returns the flag of a short name such as "UO".
func FlagNamed(name string) (Flags, bool) {
	for i, n := range flagNames {
		if n == name {
			return 1 << i, true
		}
	}
	return 0, false
}
