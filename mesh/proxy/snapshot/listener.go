package snapshot

import (
	"net/netip"
	"time"
)

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

// Addresses are all that a listener has, its own first.
func (l *Listener) Addresses() []netip.AddrPort {
	return append([]netip.AddrPort{l.Address}, l.Also...)
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
