package snapshot

import (
	"net/netip"
	"time"
)

// Discovery is how a cluster finds its endpoints.
type Discovery uint8

// The kinds of discovery.
const (
	Static Discovery = iota
	EDS
	StrictDNS
	LogicalDNS
	OriginalDst
	ByName // the name of each request is resolved: Envoy's dynamic forward proxy
)

// DNSCache keeps the addresses of the names that requests were for; the cluster that uses
// it and the filters that fill it have it by one name. Everything is defaulted.
type DNSCache struct {
	Name     string
	Family   DNSFamily
	Refresh  time.Duration // of a name, also after a failure
	HostTTL  time.Duration // how long a name that nobody asks for is kept
	Timeout  time.Duration // of one look-up
	MaxHosts int
}

// DNSFamily is which of a name's addresses count (dns_lookup_family).
type DNSFamily uint8

// The families. DNSAuto is IPv6's addresses, or IPv4's where there are none;
// DNSPreferV4 the other way round.
const (
	DNSAuto DNSFamily = iota
	DNSOnlyV4
	DNSOnlyV6
	DNSPreferV4
	DNSAll
)

// Balancer is a load-balancing policy.
type Balancer uint8

// The policies, as Envoy names them.
const (
	RoundRobin Balancer = iota
	LeastRequest
	Random
	RingHash
	Maglev
	ClusterProvided // for OriginalDst and ByName
)

// Cluster is a group of like endpoints with one way to reach them.
type Cluster struct {
	Name             string
	StatName         string
	Discovery        Discovery
	ConnectTimeout   time.Duration // default 5 s
	Balancer         Balancer
	ChoiceCount      int     // least request; default 2
	RequestBias      float64 // least request, of hosts with different weights; default 1
	RingMin, RingMax uint64
	MaglevSize       uint64
	SlowStart        *SlowStart
	// PanicThreshold in percent; Envoy's default is 50, Istio sends 0.
	PanicThreshold   float64
	LocalityWeighted bool

	Endpoints  []*Locality // EDS, STATIC; DNS names for the DNS kinds
	DNSRefresh time.Duration
	DNSFamily  DNSFamily
	Cache      *DNSCache // of ByName
	// DNSFailureBase and DNSFailureMax are the back-off after a failed look-up; 0: DNSRefresh.
	DNSFailureBase, DNSFailureMax time.Duration

	Breaker [2]Breaker // by priority: default, high
	Outlier *Outlier
	// HealthCheck is active health checking; nil: none.
	HealthCheck *HealthCheck

	// Transports are tried in order against endpoint metadata; the last may match all.
	Transports []Transport

	// BindSource is upstream_bind_config's address (127.0.0.6 inbound).
	BindSource netip.Addr
	// BindExtra are its extra_source_addresses, for peers of another family.
	BindExtra []netip.Addr

	HTTP                  HTTPOptions
	TCPKeepalive          bool
	MaxConnectionDuration time.Duration
	UseTCPIdleTimeout     time.Duration
	CleanupInterval       time.Duration

	// Service is the FQDN that istio metadata names, Source the file:line behind the policy.
	Service string
	Source  string
	// ServiceName and ServiceNamespace are the service's in istio metadata.
	ServiceName, ServiceNamespace string
}

// HTTPOptions are the upstream protocol's.
type HTTPOptions struct {
	HTTP2                bool
	UseDownstream        bool
	IdleTimeout          time.Duration // default 1 h; 0 none
	MaxRequestsPerConn   int           // 0: no limit
	MaxConcurrentStreams uint32
	Settings             HTTP2Options
	AutoSNI              bool
	AutoSANValidation    bool
	// ErrorStatuses are the statuses that outlier detection takes for errors, in place of
	// 5xx; nil: 5xx.
	ErrorStatuses []int
}

// SlowStart warms new hosts up.
type SlowStart struct {
	Window     time.Duration
	MinPercent float64
	Aggression float64
}

// Locality is a group of endpoints with one priority and weight.
type Locality struct {
	Region, Zone, SubZone string
	Priority              uint32
	Weight                uint32
	Endpoints             []*Endpoint // in the order received
}

// Same tells whether two stand for one place of one priority.
func (l *Locality) Same(other *Locality) bool {
	return l.Region == other.Region && l.Zone == other.Zone && l.SubZone == other.SubZone && l.Priority == other.Priority
}

// Endpoint is one host.
type Endpoint struct {
	Address  netip.AddrPort
	Hostname string // for DNS clusters, with Address's port
	Weight   uint32
	Health   Health
	// Check says how this endpoint is checked other than the cluster's health check says.
	Check EndpointCheck
	// TransportMatch is filter_metadata "envoy.transport_socket_match".
	TransportMatch map[string]string
	// Workload is istio's "name;namespace;service;revision;cluster".
	Workload string
}

// EndpointCheck is Envoy's health_check_config of an endpoint; zero fields change nothing.
type EndpointCheck struct {
	Port     uint16
	Address  netip.Addr // checked in place of the endpoint's
	Hostname string     // authority of HTTP and gRPC checks
	Disabled bool       // the endpoint is healthy without checks
}

// Health is an endpoint's health as the control plane sees it.
type Health uint8

// The states of health.
const (
	Healthy Health = iota
	Unhealthy
	Draining
	Degraded
)

// Breaker has the limits of one priority. Envoy's defaults are 1024, 1024, 1024, 3.
type Breaker struct {
	MaxConnections uint32
	MaxPending     uint32
	MaxRequests    uint32
	MaxRetries     uint32
	Budget         *RetryBudget
}

// RetryBudget replaces MaxRetries.
type RetryBudget struct {
	Percent        float64
	MinConcurrency uint32
}

// Outlier is passive health checking; durations and counts are defaulted.
type Outlier struct {
	Consecutive5xx          uint32
	ConsecutiveGateway      uint32
	ConsecutiveLocal        uint32
	EnforceConsecutive5xx   uint32 // percent
	EnforceGateway          uint32
	EnforceLocal            uint32
	Interval                time.Duration
	BaseEjection            time.Duration
	MaxEjection             time.Duration
	MaxEjectionJitter       time.Duration
	MaxEjectionPercent      uint32
	SplitLocalOrigin        bool
	EnforceSuccessRate      uint32
	SuccessRateMinHosts     uint32
	SuccessRateVolume       uint32
	SuccessRateStdevFactor  uint32
	EnforceFailurePercent   uint32
	FailurePercentThreshold uint32
	FailurePercentMinHosts  uint32
	FailurePercentVolume    uint32
	AlwaysEjectOne          bool
	// KeepEjected: an active health check that passes does not end an ejection.
	KeepEjected bool
}

// Transport is one transport socket with the endpoint metadata it is for.
type Transport struct {
	Name  string
	Match map[string]string // empty: any
	TLS   *ClientTLS        // nil: plaintext
	// ProxyProtocol is the version of its header that connections begin with, ahead of
	// TLS; 0: none. Each then belongs to one downstream connection.
	ProxyProtocol uint8
}

// SourceTo is the address that connections to a peer come from; the zero address is any. As
// in Envoy it is the first whose family is the peer's, else the first of all.
func (c *Cluster) SourceTo(peer netip.Addr) netip.Addr {
	if !c.BindSource.IsValid() || c.BindSource.Is4() == peer.Unmap().Is4() {
		return c.BindSource
	}
	for _, a := range c.BindExtra {
		if a.Is4() == peer.Unmap().Is4() {
			return a
		}
	}
	return c.BindSource
}
