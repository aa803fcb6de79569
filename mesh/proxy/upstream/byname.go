package upstream

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// nameAndPort is where a request is to go.
type nameAndPort struct {
	host string
	port uint16
}

func (t nameAndPort) String() string { return net.JoinHostPort(t.host, strconv.Itoa(int(t.port))) }

// named is a name of a cluster whose hosts are the names of requests, with the port. The
// lock of the cluster guards it.
type named struct {
	answered chan struct{} // closed when the first look-up is over
	host     *Host         // nil: the name never had an address
	problem  error         // of the last look-up
	used     time.Time     // asked for last
}

// Resolve has the name of a request (its Host header, or a server name) resolved, where it
// goes to a cluster by name with that cache: such a cluster sends to names that are known
// only. It waits for the first look-up of a name. The error is a *reply.Reply, in Envoy's
// words for its dynamic forward proxy: 503 with the flag DF where the name has no address,
// and without a flag where the cache has no room.
func (m *Manager) Resolve(ctx context.Context, cluster, cache, authority string) error {
	c := m.Cluster(cluster)
	if c == nil || c.config().Discovery != snapshot.ByName || c.config().Cache.Name != cache {
		return nil
	}
	n := c.ask(target(c.config(), authority))
	if n == nil {
		return &reply.Reply{Status: 503, Details: "dns_cache_overflow", Body: "DNS cache overflow"}
	}
	select {
	case <-n.answered:
	case <-ctx.Done():
		return &reply.Reply{Flag: message.DownstreamConnectionTermination, Details: "downstream_remote_disconnect", Reset: true}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.host != nil {
		return nil
	}
	return &reply.Reply{Status: 503, Flag: message.DNSFailure, Body: "DNS resolution failure",
		Details: "dns_resolution_failure{" + strings.ReplaceAll(n.problem.Error(), " ", "_") + "}"}
}

// target is the host and port that an authority means: without a port, what the cluster
// speaks decides.
func target(c *snapshot.Cluster, authority string) nameAndPort {
	host, text, err := net.SplitHostPort(authority)
	if number, wrong := strconv.ParseUint(text, 10, 16); err == nil && wrong == nil && number > 0 {
		return nameAndPort{strings.ToLower(host), uint16(number)}
	}
	t := nameAndPort{strings.ToLower(strings.Trim(authority, "[]")), 80}
	if slices.ContainsFunc(c.Transports, func(t snapshot.Transport) bool { return t.TLS != nil }) {
		t.port = 443
	}
	return t
}

// Target is where a cluster by name sends a request for an authority.
func Target(c *snapshot.Cluster, authority string) (host string, port uint16) {
	t := target(c, authority)
	return t.host, t.port
}

// ask returns what is known of a name, and has it resolved from now on; nil: there is no room.
func (c *Cluster) ask(t nameAndPort) *named {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.named[t]
	if n == nil {
		if len(c.named) >= c.config().Cache.MaxHosts || c.closed {
			return nil
		}
		n = &named{answered: make(chan struct{})}
		c.named[t] = n
		c.tasks.Go(func() { c.keep(t, n) })
	}
	n.used = time.Now()
	return n
}

// keep resolves a name again and again, until nobody has asked for it for a while.
func (c *Cluster) keep(t nameAndPort, n *named) {
	cache := c.config().Cache
	timer := time.NewTimer(cache.Refresh + c.seed.Duration("dns/"+t.String(), time.Millisecond))
	defer timer.Stop()
	for first := true; ; first = false {
		ctx, cancel := context.WithTimeout(c.ctx, cache.Timeout)
		found, err := c.network.LookupHost(ctx, t.host)
		cancel()
		if found = family(cache.Family, found); err == nil && len(found) == 0 {
			err = errors.New("no address of the wanted family")
		}
		c.mu.Lock()
		if n.problem = err; err == nil {
			c.settle(t, n, netip.AddrPortFrom(found[0].Unmap(), t.port))
		}
		c.mu.Unlock()
		if first {
			close(n.answered)
		}
		select {
		case <-c.ctx.Done():
			return
		case <-timer.C:
		}
		if c.forget(t, n, cache.HostTTL) {
			return
		}
		timer.Reset(cache.Refresh)
	}
}

// settle gives a name its address. The host stays what it is: connections that are there
// go on. The lock must be held.
func (c *Cluster) settle(t nameAndPort, n *named, address netip.AddrPort) {
	if n.host == nil {
		n.host = newHost(c, &snapshot.Endpoint{Address: address, Hostname: t.host, Weight: 1}, address)
		n.host.name = t.String()
		c.Stats.membership.Add(1)
		c.Stats.healthy.Add(1)
		if c.detector != nil {
			c.detector.update(c.detector.config, c.sortedHosts())
		}
	}
	n.host.moved.Store(&address)
}

// forget drops a name that nobody has asked for, and whose requests are over.
func (c *Cluster) forget(t nameAndPort, n *named, after time.Duration) bool {
	c.mu.Lock()
	if time.Since(n.used) < after || n.host != nil && n.host.active.Load() > 0 {
		c.mu.Unlock()
		return false
	}
	delete(c.named, t)
	if n.host != nil {
		n.host.gone.Store(true)
		c.Stats.membership.Add(-1)
		c.Stats.healthy.Add(-1)
	}
	c.mu.Unlock()
	if n.host != nil {
		for i := range n.host.pools {
			n.host.pools[i].closeIdle(nil)
		}
	}
	return true
}

// byName returns the host of a name that was resolved before; nil: there is none, or it is
// ejected.
func (c *Cluster) byName(authority string) *Host {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.named[target(c.config(), authority)]
	if n == nil || n.host == nil || n.host.ejected.Load() {
		c.Stats.noHosts.Inc()
		return nil
	}
	return n.host
}

// namedHosts are the hosts of names, in their order. The lock must be held.
func (c *Cluster) namedHosts() []*Host {
	var list []*Host
	for _, n := range c.named {
		if n.host != nil {
			list = append(list, n.host)
		}
	}
	slices.SortFunc(list, func(a, b *Host) int { return cmp.Compare(a.name, b.name) })
	return list
}
