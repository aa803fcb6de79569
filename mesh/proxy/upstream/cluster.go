package upstream

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/secret"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// Cluster is one cluster that is in force. Its hosts, pools, counters, ejections and
// cursors stay when its endpoints change; a change of its own configuration makes another
// Cluster.
type Cluster struct {
	Name  string
	Stats *Stats

	network netx.Network
	secrets secret.Source
	seed    seed.Seed
	onEvent func(Event)

	current    atomic.Pointer[snapshot.Cluster]
	state      atomic.Pointer[view]
	generation atomic.Uint64
	breakers   [2]breaker

	mu         sync.Mutex // guards what follows; never held across I/O
	hosts      map[netip.AddrPort]*Host
	localities []locality
	detector   *detector
	cursors    map[string]*cursor
	resolved   map[string][]netip.Addr
	logical    map[string]*Host       // of LOGICAL_DNS, by name and port
	named      map[nameAndPort]*named // of a cluster by name
	sweeping   bool
	answered   bool // DNS did, or failed, once
	allChecked bool // checkedOnce is closed
	closed     bool

	stop    context.CancelFunc
	ctx     context.Context
	tasks   *sync.WaitGroup
	dialing context.Context // the manager's: a cluster that drains still makes connections
	ready   chan struct{}   // closed when DNS answered first; nil for other discoveries
	names   atomic.Uint64   // generation of the DNS task
	// checkedOnce is closed when the first hosts were checked; nil without health checks.
	checkedOnce chan struct{}
}

// locality is a locality with its hosts.
type locality struct {
	config *snapshot.Locality
	hosts  []*Host
}

// cursor is a round-robin position; it starts at a seeded place.
type cursor struct{ n atomic.Uint64 }

func (c *cursor) next() uint64 { return c.n.Add(1) - 1 }

// cursor returns the position of a group. The lock must be held.
func (c *Cluster) cursor(priority int, locality string) *cursor {
	key := strconv.Itoa(priority) + "/" + locality
	if c.cursors[key] == nil {
		c.cursors[key] = &cursor{}
		c.cursors[key].n.Store(c.seed.Uint64("cursor/"+key) >> 32)
	}
	return c.cursors[key]
}

func (c *Cluster) config() *snapshot.Cluster { return c.current.Load() }

// Config is the configuration in force.
func (c *Cluster) Config() *snapshot.Cluster { return c.current.Load() }

func (c *Cluster) isClosed() bool { return c.ctx.Err() != nil }

// update puts a configuration in force.
func (c *Cluster) update(config *snapshot.Cluster) {
	old := c.current.Swap(config)
	for i := range c.breakers {
		c.breakers[i].limits.Store(&config.Breaker[i])
	}
	renew := old != nil && !sameTransport(old, config)
	if renew {
		c.generation.Add(1)
	}
	if isDNS(config) {
		c.resolve(config)
	}
	c.refresh()
	if renew {
		generation := c.generation.Load()
		c.eachPool(func(p *pool) { p.closeIdle(func(conn *Conn) bool { return conn.generation == generation }) })
	}
}

// refresh computes hosts and view from the configuration and what DNS said.
func (c *Cluster) refresh() {
	config := c.config()
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	if onDemand(config) {
		c.state.Store(&view{config: config})
		c.watchOutliers(config, c.namedHosts())
		c.mu.Unlock()
		return
	}
	kept := map[netip.AddrPort]*Host{}
	before := c.localities
	c.localities = nil
	for _, l := range config.Endpoints {
		c.localities = append(c.localities, locality{l, c.hostsOf(config, l, kept)})
	}
	c.linger(config, before, kept)
	var all []*Host
	for _, l := range c.localities {
		all = append(all, l.hosts...)
	}
	var gone []*Host
	for address, h := range c.hosts {
		if kept[address] != h {
			h.gone.Store(true)
			if h.stopCheck != nil {
				close(h.stopCheck)
			}
			gone = append(gone, h)
			maps.DeleteFunc(c.logical, func(_ string, other *Host) bool { return other == h })
		}
	}
	c.hosts = kept
	c.watchOutliers(config, all)
	c.watchHealth(config, all)
	c.rebuild(config)
	c.mu.Unlock()
	slices.SortFunc(gone, func(a, b *Host) int { return a.Address.Compare(b.Address) })
	for _, h := range gone {
		for i := range h.pools {
			h.pools[i].closeIdle(nil)
		}
	}
}

// hostsOf returns the hosts of a locality; those that were there stay the same.
// The lock must be held.
func (c *Cluster) hostsOf(config *snapshot.Cluster, l *snapshot.Locality, kept map[netip.AddrPort]*Host) []*Host {
	var hosts []*Host
	for _, e := range l.Endpoints {
		if config.Discovery == snapshot.LogicalDNS {
			if h := c.logicalHost(e, c.addresses(config, e)); h != nil && kept[h.Address] == nil {
				kept[h.Address], hosts = h, append(hosts, h)
			}
			continue
		}
		for _, address := range c.addresses(config, e) {
			if kept[address] != nil {
				continue // Envoy too counts an address once
			}
			h := c.hosts[address]
			if h == nil {
				h = newHost(c, e, address)
				if c.state.Load() != nil {
					h.added = time.Now()
				}
			}
			h.endpoint.Store(e)
			kept[address], h.absent = h, false
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// logicalHost is the host behind a name of a LOGICAL_DNS cluster. It stays what it is
// when the name gets another address, or none: that counts for new connections only,
// and those that are there are never drained (Envoy: service discovery, logical DNS).
// The lock must be held.
func (c *Cluster) logicalHost(e *snapshot.Endpoint, found []netip.AddrPort) *Host {
	name := e.Hostname + ":" + strconv.Itoa(int(e.Address.Port()))
	h := c.logical[name]
	if h == nil {
		if len(found) == 0 {
			return nil
		}
		h = newHost(c, e, found[0])
		c.logical[name] = h
	}
	h.endpoint.Store(e)
	if len(found) > 0 {
		h.moved.Store(&found[0])
	}
	return h
}

// rebuild computes the view anew. The lock must be held.
func (c *Cluster) rebuild(config *snapshot.Cluster) {
	c.state.Store(c.newView(config, c.localities))
	total, healthy := 0, 0
	for _, l := range c.localities {
		total += len(l.hosts)
		healthy += countAvailable(l.hosts)
	}
	c.Stats.membership.Set(int64(total))
	c.Stats.healthy.Set(int64(healthy))
}

// Immediate tells whether Choose never waits.
func (c *Cluster) Immediate() bool { return c.ready == nil && c.checkedOnce == nil }

// Choose returns a host for a request, or nil where none can be reached. For a
// cluster by DNS it waits for the first answer.
func (c *Cluster) Choose(ctx context.Context, sel *Selection) *Host {
	if c.ready != nil {
		select {
		case <-c.ready:
		case <-ctx.Done():
			return nil
		}
	}
	if c.checkedOnce != nil {
		select {
		case <-c.checkedOnce:
		case <-ctx.Done():
			return nil
		}
	}
	v := c.state.Load()
	if v.config.Discovery == snapshot.OriginalDst {
		return c.originalDst(sel.OriginalDst)
	}
	if v.config.Discovery == snapshot.ByName {
		return c.byName(sel.Name)
	}
	h := v.choose(c.seed, sel)
	if h == nil {
		c.Stats.noHosts.Inc()
	}
	return h
}

// sortedHosts are all hosts by address. The lock must be held.
func (c *Cluster) sortedHosts() []*Host {
	list := make([]*Host, 0, len(c.hosts))
	for _, h := range c.hosts {
		list = append(list, h)
	}
	slices.SortFunc(list, func(a, b *Host) int { return a.Address.Compare(b.Address) })
	return append(list, c.namedHosts()...)
}

// onDemand tells a cluster whose hosts are those that requests asked for.
func onDemand(c *snapshot.Cluster) bool {
	return c.Discovery == snapshot.OriginalDst || c.Discovery == snapshot.ByName
}

// Hosts is the state of all hosts, in the order of the configuration.
func (c *Cluster) Hosts() []HostStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []HostStatus
	if onDemand(c.config()) {
		for _, h := range c.sortedHosts() {
			list = append(list, h.status(nil))
		}
		return list
	}
	for _, l := range c.localities {
		for _, h := range l.hosts {
			list = append(list, h.status(l.config))
		}
	}
	return list
}

// eachPool calls f for every pool, in the order of addresses.
func (c *Cluster) eachPool(f func(*pool)) {
	c.mu.Lock()
	hosts := c.sortedHosts()
	c.mu.Unlock()
	for _, h := range hosts {
		for i := range h.pools {
			f(&h.pools[i])
		}
	}
}

// close drains the cluster: idle connections go now, others when their request ends.
// Requests that wait for a connection get one, as in Envoy.
func (c *Cluster) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.eachPool(func(p *pool) { p.closeIdle(nil) })
}

// Endpoint is the configuration of the host at an address, or nil.
func (c *Cluster) Endpoint(address netip.AddrPort) *snapshot.Endpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.hosts[address]; h != nil {
		return h.endpoint.Load()
	}
	for _, h := range c.namedHosts() {
		if h.Target() == address {
			return h.endpoint.Load()
		}
	}
	for _, h := range c.logical { // at most one is there
		if h.Target() == address {
			return h.endpoint.Load()
		}
	}
	return nil
}
