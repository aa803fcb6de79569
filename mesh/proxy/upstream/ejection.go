package upstream

import (
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// watchOutliers brings the detector up to date. The lock must be held.
func (c *Cluster) watchOutliers(config *snapshot.Cluster, hosts []*Host) {
	if config.Outlier == nil {
		if c.detector != nil {
			for _, h := range c.hosts {
				h.ejected.Store(false)
			}
			c.Stats.ejectionsActive.Set(0)
		}
		c.detector = nil
		return
	}
	if c.detector == nil {
		c.detector = newDetector(config.Outlier, c.seed.Sub("outlier"))
		c.detector.changed = c.ejection
		c.detector.overflow = c.Stats.ejectionsOverflow.Inc
	}
	c.detector.update(config.Outlier, hosts)
	c.Stats.ejectionsActive.Set(int64(c.detector.active))
	if !c.sweeping {
		c.sweeping = true
		c.tasks.Go(c.sweep)
	}
}

// sweep runs the detector's interval, phased by the seed so that proxies differ.
func (c *Cluster) sweep() {
	timer := time.NewTimer(c.config().Outlier.Interval + c.seed.Duration("sweep", 7*time.Millisecond))
	defer timer.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case now := <-timer.C:
			c.mu.Lock()
			if c.detector == nil {
				c.sweeping = false
				c.mu.Unlock()
				return
			}
			c.detector.sweep(now)
			interval := c.detector.config.Interval
			c.mu.Unlock()
			timer.Reset(interval)
		}
	}
}

// report feeds the outlier detector.
func (c *Cluster) report(h *Host, o Outcome) {
	if c.config().Outlier == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.detector != nil {
		c.detector.report(h, o, time.Now())
	}
}

// ejection is told by the detector, with the lock held.
func (c *Cluster) ejection(h *Host, ejected bool, reason string) {
	h.ejected.Store(ejected)
	if ejected {
		c.Stats.ejections.Inc()
		c.Stats.scope.Counter("outlier_detection.ejections_enforced_" + reason).Inc()
	}
	c.Stats.ejectionsActive.Set(int64(c.detector.active))
	if config := c.config(); !onDemand(config) {
		c.rebuild(config)
	}
	c.onEvent(Event{Time: time.Now(), Cluster: c.Name, Host: h.Address, Ejected: ejected, Reason: reason})
}
