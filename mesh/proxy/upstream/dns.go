package upstream

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

func isDNS(c *snapshot.Cluster) bool {
	return c.Discovery == snapshot.StrictDNS || c.Discovery == snapshot.LogicalDNS
}

// defaultDNSRefresh is Envoy's dns_refresh_rate.
const defaultDNSRefresh = 5 * time.Second

// resolve starts the task that keeps the names of a configuration resolved, in place
// of the one before.
func (c *Cluster) resolve(config *snapshot.Cluster) {
	generation := c.names.Add(1)
	c.tasks.Go(func() {
		refresh := config.DNSRefresh
		if refresh <= 0 {
			refresh = defaultDNSRefresh
		}
		timer := time.NewTimer(refresh + c.seed.Duration("dns", time.Millisecond))
		defer timer.Stop()
		failures := 0
		for {
			if c.lookup(config) {
				failures = 0
			} else if config.DNSFailureBase > 0 {
				failures++
				timer.Reset(c.dnsBackOff(config, failures))
			}
			select {
			case <-c.ctx.Done():
				return
			case <-timer.C:
			}
			if c.names.Load() != generation {
				return
			}
			timer.Reset(refresh)
		}
	})
}

// dnsBackOff is the time to the next look-up after so many that failed in a row: a draw
// from an interval that doubles up to the most (Envoy: dns_failure_refresh_rate).
func (c *Cluster) dnsBackOff(config *snapshot.Cluster, failures int) time.Duration {
	most := config.DNSFailureBase
	for range failures - 1 {
		if most *= 2; most >= config.DNSFailureMax {
			most = config.DNSFailureMax
			break
		}
	}
	return max(c.seed.Duration("dns-failure/"+strconv.Itoa(failures), most), time.Millisecond)
}

// family leaves those of a name's addresses that count.
func family(f snapshot.DNSFamily, found []netip.Addr) []netip.Addr {
	if f == snapshot.DNSAll {
		return found
	}
	var v4, v6 []netip.Addr
	for _, a := range found {
		if a = a.Unmap(); a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	switch {
	case f == snapshot.DNSOnlyV4, f == snapshot.DNSPreferV4 && len(v4) > 0, f == snapshot.DNSAuto && len(v6) == 0:
		return v4
	default:
		return v6
	}
}

// lookup resolves all names once, and tells whether all could be. A name that fails
// keeps its last addresses.
func (c *Cluster) lookup(config *snapshot.Cluster) (ok bool) {
	changed := false
	ok = true
	for _, name := range hostnames(config) {
		found, err := c.network.LookupHost(c.ctx, name)
		if err != nil {
			ok = false
			continue
		}
		found = family(config.DNSFamily, found)
		c.mu.Lock()
		if !slices.Equal(c.resolved[name], found) {
			c.resolved[name], changed = found, true
		}
		c.mu.Unlock()
	}
	if changed {
		c.refresh()
	}
	c.mu.Lock()
	first := !c.answered
	c.answered = true
	c.mu.Unlock()
	if first {
		close(c.ready)
	}
	return ok
}

func hostnames(config *snapshot.Cluster) []string {
	var names []string
	for _, l := range config.Endpoints {
		for _, e := range l.Endpoints {
			if _, err := netip.ParseAddr(e.Hostname); e.Hostname != "" && err != nil && !slices.Contains(names, e.Hostname) {
				names = append(names, e.Hostname)
			}
		}
	}
	return names
}

// addresses are what an endpoint stands for: itself, all addresses of its name
// (STRICT_DNS) or the first (LOGICAL_DNS). The lock must be held.
func (c *Cluster) addresses(config *snapshot.Cluster, e *snapshot.Endpoint) []netip.AddrPort {
	if !isDNS(config) || e.Hostname == "" {
		return []netip.AddrPort{e.Address}
	}
	found := c.resolved[e.Hostname]
	if literal, err := netip.ParseAddr(e.Hostname); err == nil {
		found = []netip.Addr{literal}
	}
	if config.Discovery == snapshot.LogicalDNS && len(found) > 1 {
		found = found[:1]
	}
	list := make([]netip.AddrPort, len(found))
	for i, a := range found {
		list[i] = netip.AddrPortFrom(a.Unmap(), e.Address.Port())
	}
	return list
}
