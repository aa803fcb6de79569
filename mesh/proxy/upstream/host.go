package upstream

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// Host is one address of a cluster, with all that must outlive a change of
// configuration: its pools, its requests in flight, its counts.
type Host struct {
	Address netip.AddrPort

	cluster  *Cluster
	name     string // "10.0.0.9:9080", what consistent hashing hashes
	added    time.Time
	endpoint atomic.Pointer[snapshot.Endpoint]
	ejected  atomic.Bool
	gone     atomic.Bool // no longer in the configuration
	// Active health checking: the host fails it, its first check is not over, and what
	// ends its checks (nil: there are none).
	checkFailed, unchecked atomic.Bool
	stopCheck              chan struct{}
	absent                 bool // discovery no longer has it, and it passes its checks
	// moved is where new connections go, where that is no longer Address: LOGICAL_DNS.
	moved atomic.Pointer[netip.AddrPort]

	active                     atomic.Int64
	requests, success, failure atomic.Uint64
	connections                atomic.Int64
	lastUsed                   atomic.Int64 // Unix nanoseconds; original-destination hosts only
	pools                      [2]pool
}

func newHost(c *Cluster, e *snapshot.Endpoint, address netip.AddrPort) *Host {
	h := &Host{Address: address, cluster: c, name: address.String()}
	h.endpoint.Store(e)
	for i := range h.pools {
		h.pools[i].host, h.pools[i].breaker = h, &c.breakers[i]
	}
	return h
}

// Endpoint is the host's configuration.
func (h *Host) Endpoint() *snapshot.Endpoint { return h.endpoint.Load() }

// Target is where new connections go.
func (h *Host) Target() netip.AddrPort {
	if a := h.moved.Load(); a != nil {
		return *a
	}
	return h.Address
}

// Cluster is the cluster that the host belongs to.
func (h *Host) Cluster() *Cluster { return h.cluster }

func (h *Host) weight() uint32 { return max(h.endpoint.Load().Weight, 1) }

// Report tells the cluster what came of a request that was sent to the host.
func (h *Host) Report(o Outcome) {
	if o.Local || o.Status >= 500 {
		h.failure.Add(1)
	} else {
		h.success.Add(1)
	}
	if codes := h.cluster.config().HTTP.ErrorStatuses; len(codes) > 0 && o.Answered != 0 {
		// Envoy tells the detector of two outcomes only: what matches is an error, the rest is none.
		if o.Status = 200; slices.Contains(codes, o.Answered) {
			o.Status = 500
		}
	}
	h.cluster.report(h, o)
}

// Failure is why there is no connection for a request.
type Failure struct {
	Kind FailureKind
	// Reason is what the transport said, as Envoy's UPSTREAM_TRANSPORT_FAILURE_REASON.
	Reason string
}

// FailureKind is a kind of failure, as Envoy's connection pools tell them apart.
type FailureKind uint8

// The kinds.
const (
	Overflow          FailureKind = iota // a breaker is open
	ConnectionFailure                    // refused, reset, or the handshake failed
	ConnectionTimeout                    // connect_timeout passed
	DeadlineExceeded                     // the caller's deadline passed, or its context ended
)

// Error implements error.
func (f *Failure) Error() string {
	return [...]string{"overflow", "remote connection failure", "connection timeout", "deadline exceeded"}[f.Kind] + ": " + f.Reason
}

// pool has the connections to one host for one priority.
type pool struct {
	host    *Host
	breaker *breaker

	mu      sync.Mutex
	idle    []*Conn // last in, first out
	open    int     // connections that are up or being made
	waiting []*waiter
	shared  []*shared     // the HTTP/2 ones, in the order in which they were made
	freed   chan struct{} // closed when there may be room on those; nil: nobody waits
}

// waiter is a request that waits for a connection. It gets exactly one grant.
type waiter struct {
	key   string
	grant chan grant // 1 slot
}

// grant is a connection, leave to make one, or a failure.
type grant struct {
	conn    *Conn
	failure *Failure
}

// removeIdle takes a connection out of the idle ones, and tells whether it was there.
func (p *pool) removeIdle(c *Conn) bool {
	for i, other := range p.idle {
		if other == c {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			return true
		}
	}
	return false
}

// takeIdle returns the connection that was used last, of those that fit.
func (p *pool) takeIdle(key string, generation uint64) *Conn {
	for i := len(p.idle) - 1; i >= 0; i-- {
		if c := p.idle[i]; c.key == key && c.generation == generation {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			return c
		}
	}
	return nil
}

// closed accounts for a connection that ended, and lets the first that waits make a new one.
func (p *pool) closed() {
	p.host.connections.Add(-1)
	p.host.cluster.Stats.cxActive.Add(-1)
	p.host.cluster.Stats.cxDestroy.Inc()
	p.unreserve()
}

// unreserve gives back what reserve counted.
func (p *pool) unreserve() {
	p.mu.Lock()
	p.open--
	p.breaker.connections.Add(-1)
	w := p.nextToDial()
	p.wakeWaiting()
	p.mu.Unlock()
	if w != nil {
		w.grant <- grant{}
	}
}

// nextToDial reserves a connection for the first that waits.
func (p *pool) nextToDial() *waiter {
	if len(p.waiting) == 0 || !p.reserve() {
		return nil
	}
	w := p.waiting[0]
	p.waiting = p.waiting[1:]
	return w
}

// reserve counts one connection in, where the breaker allows it. A host that was
// chosen may always have one: Envoy's documentation of max_connections.
func (p *pool) reserve() bool {
	if p.breaker.connections.Add(1) > int64(p.breaker.limits.Load().MaxConnections) && p.open > 0 {
		p.breaker.connections.Add(-1)
		p.host.cluster.Stats.cxOverflow.Inc()
		return false
	}
	p.open++
	return true
}

// failWaiting ends the wait of all requests when a connection could not be made:
// Envoy purges what is pending in that pool.
func (p *pool) failWaiting(f *Failure) {
	p.mu.Lock()
	waiting := p.waiting
	p.waiting = nil
	p.mu.Unlock()
	for _, w := range waiting {
		w.grant <- grant{failure: f}
	}
}

// closeIdle closes the idle connections that keep does not want.
func (p *pool) closeIdle(keep func(*Conn) bool) {
	p.mu.Lock()
	var closing []*Conn
	kept := p.idle[:0]
	for _, c := range p.idle {
		if keep != nil && keep(c) {
			kept = append(kept, c)
		} else {
			closing = append(closing, c)
		}
	}
	p.idle = kept
	p.mu.Unlock()
	for _, c := range closing {
		c.end()
	}
	p.retireShared(keep)
}

// HostStatus is the state of one host, for admin ports and worlds.
type HostStatus struct {
	Address     netip.AddrPort
	Hostname    string
	Workload    string
	Locality    string // "region/zone/subzone"
	Priority    uint32
	Weight      uint32
	Healthy     bool
	Ejected     bool
	CheckFailed bool // by active health checks
	Unchecked   bool // the first active health check is not over
	Health      snapshot.Health
	Active      int64 // requests in flight
	Connections int64
	Requests    uint64
	Success     uint64
	Failure     uint64
}

func (h *Host) status(l *snapshot.Locality) HostStatus {
	e := h.endpoint.Load()
	s := HostStatus{Address: h.Target(), Hostname: e.Hostname, Workload: e.Workload, Weight: h.weight(), Health: e.Health,
		Healthy: h.available(), Ejected: h.ejected.Load(), CheckFailed: h.checkFailed.Load(), Unchecked: h.unchecked.Load(), Active: h.active.Load(), Connections: h.connections.Load(),
		Requests: h.requests.Load(), Success: h.success.Load(), Failure: h.failure.Load()}
	if l != nil {
		s.Priority = l.Priority
		if l.Region != "" || l.Zone != "" || l.SubZone != "" {
			s.Locality = l.Region + "/" + l.Zone + "/" + l.SubZone
		}
	}
	return s
}
