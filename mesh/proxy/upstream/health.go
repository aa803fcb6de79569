package upstream

import (
	"net/netip"
	"slices"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// checkResult is what came of one active health check.
type checkResult uint8

const (
	passed      checkResult = iota
	failed                  // the host answered that it is not healthy
	unreachable             // no answer, or one that may be retried
)

// checked is one host's record with an active health check, as a pure machine (Envoy:
// health checking). A host fails until its first check.
type checked struct {
	config   *snapshot.HealthCheck
	failing  bool
	begun    bool // there was a result
	inARow   uint32
	wasGood  bool
	changing bool // results differ from the health, but not often enough yet
}

func newChecked(c *snapshot.HealthCheck) *checked { return &checked{config: c, failing: true} }

// report takes a result, and tells whether the host's health changed. The first result
// decides at once; an answer that says unhealthy does so always.
func (c *checked) report(r checkResult) bool {
	first, good := !c.begun, r == passed
	if first || good != c.wasGood {
		c.inARow = 0
	}
	c.begun, c.wasGood, c.changing = true, good, false
	c.inARow++
	if good != c.failing { // it is as it was
		return false
	}
	enough := first || r == failed || good && c.inARow >= c.config.Healthy || !good && c.inARow >= c.config.Unhealthy
	c.changing = !enough
	if enough {
		c.failing = !good
	}
	return enough
}

// next is the time to the next check, before jitter. used tells whether the cluster ever
// had a connection.
func (c *checked) next(used bool) time.Duration {
	switch o := c.config; {
	case !used && c.wasGood:
		return o.NoTrafficHealthy
	case !used:
		return o.NoTraffic
	case c.wasGood && c.changing:
		return o.HealthyEdge
	case c.wasGood:
		return o.Interval
	case c.changing:
		return o.UnhealthyEdge
	default:
		return o.UnhealthyInterval
	}
}

// jitter lengthens an interval by a draw in [0,1) per kind of jitter.
func jitter(o *snapshot.HealthCheck, interval time.Duration, a, b float64) time.Duration {
	interval += time.Duration(a * float64(interval) * float64(o.JitterPercent) / 100)
	return max(interval+time.Duration(b*float64(o.IntervalJitter)), time.Millisecond)
}

// watchHealth starts the checks of hosts that have none. The lock must be held.
func (c *Cluster) watchHealth(config *snapshot.Cluster, hosts []*Host) {
	if config.HealthCheck == nil {
		return
	}
	for _, h := range hosts {
		if h.stopCheck != nil || h.Endpoint().Check.Disabled {
			continue
		}
		h.stopCheck = make(chan struct{})
		h.unchecked.Store(true)
		h.checkFailed.Store(true)
		c.tasks.Go(func() { c.checkHealth(config.HealthCheck, h) })
	}
	c.settleHealth(hosts)
}

// settleHealth lets requests in once all hosts have been checked once: Envoy does not put a
// cluster in force before. The lock must be held.
func (c *Cluster) settleHealth(hosts []*Host) {
	if c.checkedOnce == nil || c.allChecked {
		return
	}
	for _, h := range hosts {
		if h.unchecked.Load() {
			return
		}
	}
	c.allChecked = true
	close(c.checkedOnce)
}

// checkHealth checks one host until it or the cluster is gone.
func (c *Cluster) checkHealth(o *snapshot.HealthCheck, h *Host) {
	draws := c.seed.Sub("health/" + h.name)
	state, probe := newChecked(o), newProber(c, o, h)
	defer probe.close()
	timer := time.NewTimer(draws.Duration("initial", o.InitialJitter+time.Microsecond))
	defer timer.Stop()
	for n := 0; ; n += 2 {
		select {
		case <-c.ctx.Done():
			return
		case <-h.stopCheck:
			return
		case <-timer.C:
		}
		result := probe.check(c.ctx)
		if c.ctx.Err() != nil {
			return
		}
		c.healthResult(h, state, result)
		share := func(i int) float64 { return float64(draws.At(uint64(n+i))>>11) / (1 << 53) }
		timer.Reset(jitter(o, state.next(c.Stats.cxTotal.Value() > 0), share(0), share(1)))
	}
}

// healthResult counts a result, and puts a change in force. A host that passes is not
// ejected any longer, unless that is switched off (Envoy: outlier detection, ejection
// algorithm).
func (c *Cluster) healthResult(h *Host, state *checked, r checkResult) {
	s := c.Stats
	s.checkAttempts.Inc()
	switch r {
	case passed:
		s.checkSuccess.Inc()
	case unreachable:
		s.checkNetwork.Inc()
		fallthrough
	case failed:
		s.checkFailure.Inc()
	}
	changed := state.report(r)
	c.mu.Lock()
	if changed {
		h.checkFailed.Store(state.failing)
	}
	if r == passed && c.detector != nil && !c.config().Outlier.KeepEjected {
		c.detector.uneject(h)
	}
	if h.unchecked.Swap(false) || changed {
		c.rebuild(c.config())
		c.settleHealth(c.sortedHosts())
	}
	leaves := changed && state.failing && h.absent
	c.mu.Unlock()
	if leaves {
		c.refresh()
	}
}

// lingers tells whether a host that discovery no longer has stays: with active checks a
// host goes only when it also fails them, because discovery may be wrong for a while
// (Envoy: service discovery, eventually consistent). The lock must be held.
func (h *Host) lingers(config *snapshot.Cluster) bool {
	return config.HealthCheck != nil && config.HealthCheck.KeepPassing &&
		h.stopCheck != nil && !h.checkFailed.Load() && h.Endpoint().Health != snapshot.Unhealthy
}

// linger puts the hosts that stay although discovery no longer has them where they were.
// The lock must be held.
func (c *Cluster) linger(config *snapshot.Cluster, before []locality, kept map[netip.AddrPort]*Host) {
	for _, l := range before {
		for _, h := range l.hosts {
			if kept[h.Address] != nil || !h.lingers(config) {
				continue
			}
			kept[h.Address], h.absent = h, true
			i := slices.IndexFunc(c.localities, func(now locality) bool { return now.config.Same(l.config) })
			if i < 0 {
				i = len(c.localities)
				c.localities = append(c.localities, locality{config: l.config})
			}
			c.localities[i].hosts = append(c.localities[i].hosts, h)
		}
	}
}
