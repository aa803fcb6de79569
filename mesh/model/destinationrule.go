package model

import "time"

// DestinationRule says how a host is reached. Several of one namespace and host
// with one selector are merged: subsets are concatenated, the oldest one's policy holds.
type DestinationRule struct {
	Name, Namespace, Host string
	Export                Visibility
	Selector              map[string]string // of the clients in its own namespace; nil: all clients
	Policy                *TrafficPolicy    // nil: defaults
	Subsets               []*Subset
	Created               time.Time
	Source                Source
}

// Subset is a part of a service's endpoints.
type Subset struct {
	Name   string
	Labels map[string]string
	Policy *TrafficPolicy // overrides the rule's, block by block
	Source Source
}

// Subset returns the subset of that name, or nil.
func (d *DestinationRule) Subset(name string) *Subset {
	if d == nil {
		return nil
	}
	for _, s := range d.Subsets {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// TrafficPolicy has four blocks; nil blocks have their defaults.
type TrafficPolicy struct {
	Balancer *Balancer
	Pool     *Pool
	Outlier  *Outlier
	TLS      *ClientTLS
	Budget   *RetryBudget
	// Tunnel has connections that are not HTTP go inside of requests; it is not inherited.
	Tunnel *Tunnel
	// ProxyProtocol is the version of its header that connections begin with; 0: none. Ports
	// have the policy's.
	ProxyProtocol uint8
	// Ports replace the policy wholesale on a port.
	Ports map[uint32]*TrafficPolicy
}

// Tunnel is a request that carries a connection to a target through the destination,
// which is a proxy.
type Tunnel struct {
	Post   bool   // by POST instead of CONNECT
	Target string // host:port
}

// Over lays a policy over another, block by block. Either may be nil. A policy for
// a port is taken from above only if it is there, else from below.
func (p *TrafficPolicy) Over(below *TrafficPolicy) *TrafficPolicy {
	if p == nil {
		return below
	}
	if below == nil {
		return p
	}
	merged := *below
	if p.Balancer != nil {
		merged.Balancer = p.Balancer
	}
	if p.Pool != nil {
		merged.Pool = p.Pool
	}
	if p.Outlier != nil {
		merged.Outlier = p.Outlier
	}
	if p.TLS != nil {
		merged.TLS = p.TLS
	}
	if p.Budget != nil {
		merged.Budget = p.Budget
	}
	if p.ProxyProtocol != 0 {
		merged.ProxyProtocol = p.ProxyProtocol
	}
	if len(p.Ports) > 0 {
		merged.Ports = p.Ports
	}
	return &merged
}

// For is the policy on a port: its own settings replace the others, they are not merged.
func (p *TrafficPolicy) For(port uint32) *TrafficPolicy {
	if p == nil {
		return nil
	}
	if own := p.Ports[port]; own != nil {
		return own
	}
	return p
}

// PoolOrNil is the policy's pool; the policy may be nil.
func (p *TrafficPolicy) PoolOrNil() *Pool {
	if p == nil {
		return nil
	}
	return p.Pool
}

// Algorithm of a balancer.
type Algorithm uint8

// The algorithms. LeastRequest is Istio's default.
const (
	LeastRequest Algorithm = iota
	RoundRobin
	Random
	Passthrough
	RingHash
	Maglev
)

// Balancer picks endpoints.
type Balancer struct {
	Algorithm Algorithm
	RingMin   uint64 // ring hash; 0: 1024
	TableSize uint64 // maglev; 0: 65537
	Hash      *HashKey
	Warmup    *Warmup
	// Locality overrides the mesh's locality balancing, and the service's, where it is
	// set; LocalityOff switches them off.
	Locality    *LocalityBalancing
	LocalityOff bool
}

// HashKey is what is hashed. Exactly one is set.
type HashKey struct {
	Header   string
	Cookie   *HashCookie
	SourceIP bool
	Query    string
}

// HashCookie keeps a client at one endpoint.
type HashCookie struct {
	Name, Path string
	TTL        *time.Duration
	Attributes []HeaderOp
}

// Warmup sends new endpoints less at first.
type Warmup struct {
	Duration       time.Duration
	MinimumPercent float64 // default 10
	Aggression     float64 // default 1
}

// Pool limits connections and requests; zeros are "no limit" and defaults.
type Pool struct {
	MaxConnections        uint32
	ConnectTimeout        time.Duration
	Keepalive             *Keepalive
	MaxConnectionDuration time.Duration
	TCPIdle               *time.Duration
	MaxPending            uint32
	MaxRequests           uint32
	MaxRequestsPerConn    uint32
	MaxRetries            uint32
	HTTPIdle              *time.Duration
	UseClientProtocol     bool
	Upgrade               Upgrade
	MaxStreams            uint32
}

// Upgrade is h2UpgradePolicy.
type Upgrade uint8

// The policies.
const (
	UpgradeDefault Upgrade = iota
	UpgradeNever
	UpgradeAlways
)

// Keepalive of TCP; zeros leave the system's values.
type Keepalive struct {
	Probes         uint32
	Time, Interval time.Duration
}

// RetryBudget bounds retries by a share of the active requests.
type RetryBudget struct {
	Percent        float64
	MinConcurrency uint32
}

// Outlier is passive health checking; nil pointers and zeros leave Envoy's defaults.
type Outlier struct {
	Consecutive5xx, ConsecutiveGateway, ConsecutiveLocal *uint32
	Interval, BaseEjection                               time.Duration
	MaxEjectionPercent                                   uint32
	MinHealthPercent                                     uint32
	SplitLocal                                           bool
	// ErrorStatuses count as errors in place of all 5xx; nil: 5xx.
	ErrorStatuses []uint32
}

// TLSMode is how a client speaks to a destination.
type TLSMode uint8

// The modes.
const (
	TLSDisable TLSMode = iota
	TLSSimple
	TLSMutual
	TLSIstio
)

// ClientTLS overrides automatic mTLS.
type ClientTLS struct {
	Mode                 TLSMode
	Certificate, Key, CA string // files
	// Credential names a Secret in the proxy's namespace, in place of the files. Gateways
	// take it, and sidecars that the rule selects; for others it is as if it was not there.
	Credential         string
	SubjectAltNames    []string
	SNI                string
	InsecureSkipVerify bool
}
