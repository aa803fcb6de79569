package model

import "time"

// Protocol is what is spoken on a port.
type Protocol string

// The protocols that make a difference. Auto is sniffed.
const (
	Auto    Protocol = "auto"
	HTTP    Protocol = "http"
	HTTP2   Protocol = "http2"
	GRPC    Protocol = "grpc"
	GRPCWeb Protocol = "grpc-web"
	HTTPS   Protocol = "https"
	TLS     Protocol = "tls"
	TCP     Protocol = "tcp"
	Mongo   Protocol = "mongo"
	Redis   Protocol = "redis"
	MySQL   Protocol = "mysql"
	UDP     Protocol = "udp"
)

// IsHTTP reports whether requests on the port are routed as HTTP without sniffing.
func (p Protocol) IsHTTP() bool { return p == HTTP || p == HTTP2 || p == GRPC || p == GRPCWeb }

// IsHTTP2 reports whether HTTP/2 is spoken to the endpoints.
func (p Protocol) IsHTTP2() bool { return p == HTTP2 || p == GRPC || p == GRPCWeb }

// Resolution is how a service's endpoints are found.
type Resolution uint8

// The kinds of resolution.
const (
	// ByEndpoints: the control plane knows them.
	ByEndpoints Resolution = iota
	// ByDNS: the proxy resolves all names, and uses all addresses.
	ByDNS
	// ByDNSRoundRobin: the proxy resolves one name and uses its first address.
	ByDNSRoundRobin
	// ByName: the proxy resolves the name that a request, or a TLS handshake, is for.
	ByName
	// ByClient: the client has chosen an address already.
	ByClient
)

// Service is a name that requests are sent to.
type Service struct {
	Host      string // "reviews.default.svc.cluster.local"
	Name      string // "reviews"; of a ServiceEntry its host
	Namespace string
	Addresses []string // virtual ones; addresses or prefixes
	// Allocated are virtual addresses for the proxies that answer DNS: one of IPv4, one of
	// IPv6. Only what has no other has them.
	Allocated []string
	// NoAllocation keeps a ServiceEntry without them.
	NoAllocation bool
	Ports        []*Port // as declared
	Headless     bool
	// External services are outside of the mesh: no mTLS is tried.
	External        bool
	Resolution      Resolution
	Export          Visibility
	Kubernetes      bool
	Selector        map[string]string // of the workloads behind it; nil: none
	SubjectAltNames []string          // required of its endpoints, in addition
	Distribution    Distribution
	// NodeLocal services are reached on the client's own Kubernetes node only.
	NodeLocal bool
	Created   time.Time
	Source    Source

	// Endpoints is never nil. It is apart because it changes on its own.
	Endpoints *Endpoints
}

// Port is one port of a service.
type Port struct {
	Number   uint32
	Target   uint32 // at the workloads; 0 where they differ or are unknown
	Name     string
	Protocol Protocol
}

// Port returns the port of that number, or nil.
func (s *Service) Port(number uint32) *Port {
	for _, p := range s.Ports {
		if p.Number == number {
			return p
		}
	}
	return nil
}

// Endpoints are the workloads behind a service.
type Endpoints struct {
	ByPort map[uint32][]*Endpoint // service port; sorted by address and port
	// Accounts are the service accounts that they run as, sorted.
	Accounts []string
}

// On returns the endpoints of a port.
func (e *Endpoints) On(p *Port) []*Endpoint { return e.ByPort[p.Number] }

// Endpoint is one address and port.
type Endpoint struct {
	Address   string // IP address, or a host name for services found by DNS
	Port      uint32
	Labels    map[string]string
	Workload  string // of the controller
	Namespace string
	Account   string
	Hostname  string // its own, below its headless Service's; empty: it has none
	Locality  Locality
	Host      string // the Kubernetes node; empty: unknown
	Weight    uint32 // at least 1
	// TLSMode is the label security.istio.io/tlsMode: "istio" where a sidecar terminates mTLS.
	TLSMode  string
	Health   Health
	Cluster  string // "Kubernetes"
	App      string // canonical service
	Revision string // canonical revision
}

// Health is an endpoint's.
type Health uint8

// The states of health.
const (
	Healthy Health = iota
	Unhealthy
	Draining
)
