package upstream

import (
	"net/netip"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// originalDst returns the host that the client meant. Hosts that were not used for
// the cleanup interval are dropped when a new one comes.
func (c *Cluster) originalDst(dst netip.AddrPort) *Host {
	if !dst.IsValid() {
		c.Stats.noHosts.Inc()
		return nil
	}
	now := time.Now()
	c.mu.Lock()
	h := c.hosts[dst]
	var stale []*Host
	if h == nil {
		stale = c.dropUnused(now)
		h = newHost(c, &snapshot.Endpoint{Address: dst}, dst)
		c.hosts[dst] = h
		if c.detector != nil {
			c.detector.update(c.detector.config, c.sortedHosts())
		}
	}
	h.lastUsed.Store(now.UnixNano())
	c.mu.Unlock()
	for _, s := range stale {
		for i := range s.pools {
			s.pools[i].closeIdle(nil)
		}
	}
	return h
}

// dropUnused takes unused hosts out. The lock must be held.
func (c *Cluster) dropUnused(now time.Time) []*Host {
	interval := c.config().CleanupInterval
	if interval <= 0 {
		interval = 5 * time.Second
	}
	var stale []*Host
	for _, h := range c.sortedHosts() {
		if h.active.Load() == 0 && now.UnixNano()-h.lastUsed.Load() > int64(interval) {
			delete(c.hosts, h.Address)
			h.gone.Store(true)
			stale = append(stale, h)
		}
	}
	return stale
}

// OriginalDst is where the client of a downstream connection meant to go; invalid where
// that is this proxy, to whom nobody redirected it: a way on would lead back here.
func OriginalDst(d *message.Conn) netip.AddrPort {
	if d == nil || !d.Restored {
		return netip.AddrPort{}
	}
	return d.Local
}
