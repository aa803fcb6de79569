package upstream

import (
	"math"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// Outcome is what a host made of one request, for outlier detection.
type Outcome struct {
	// Status is the response's, 0 where the host did not answer.
	Status int
	// Answered is the HTTP status as it was, where Status stands for gRPC's; 0 where
	// there was none.
	Answered int
	// Local is a failure of locally originated kind: connecting, a reset, a timeout.
	Local bool
	// Timeout counts as 504, other local failures as 503, where kinds are not split.
	Timeout bool
}

// monitor is one host's record with the outlier detector.
type monitor struct {
	ejected                   bool
	consecutive5xx            uint32
	consecutiveGateway        uint32
	consecutiveLocal          uint32
	backoff                   int // multiplier of the base ejection time
	ejections                 uint64
	ejectedAt                 time.Time
	jitter                    time.Duration
	intervalOK, intervalTotal uint32 // since the last sweep
}

// detector is Envoy's outlier detection for one cluster as a pure machine: time
// comes in with every call. It is not safe for concurrent use.
type detector struct {
	config *snapshot.Outlier
	seed   seed.Seed
	hosts  map[*Host]*monitor
	order  []*Host // in the order of the configuration
	active int
	draws  uint64

	// changed is told about every ejection and its end.
	changed func(h *Host, ejected bool, reason string)
	// overflow is told where a limit kept a host from being ejected.
	overflow func()
}

func newDetector(c *snapshot.Outlier, s seed.Seed) *detector {
	return &detector{config: c, seed: s, hosts: map[*Host]*monitor{}, changed: func(*Host, bool, string) {}, overflow: func() {}}
}

// update sets the hosts; those that stay keep their record.
func (d *detector) update(c *snapshot.Outlier, hosts []*Host) {
	old := d.hosts
	d.config, d.order, d.hosts, d.active = c, hosts, map[*Host]*monitor{}, 0
	for _, h := range hosts {
		m := old[h]
		if m == nil {
			m = &monitor{}
		}
		d.hosts[h] = m
		if m.ejected {
			d.active++
		}
	}
}

// report takes the outcome of one request.
func (d *detector) report(h *Host, o Outcome, now time.Time) {
	m := d.hosts[h]
	if m == nil {
		return
	}
	if o.Local && d.config.SplitLocalOrigin {
		m.consecutiveLocal++
		if m.consecutiveLocal == d.config.ConsecutiveLocal {
			m.consecutiveLocal = 0
			d.consider(h, m, d.config.EnforceLocal, "consecutive_local_origin_failure", now)
		}
		return
	}
	m.consecutiveLocal = 0
	status := o.Status
	switch {
	case o.Local && o.Timeout:
		status = 504
	case o.Local:
		status = 503
	}
	m.intervalTotal++
	if status < 500 {
		m.intervalOK++
		m.consecutive5xx, m.consecutiveGateway = 0, 0
		return
	}
	d.fail(h, m, status, now)
}

func (d *detector) fail(h *Host, m *monitor, status int, now time.Time) {
	if status >= 502 && status <= 504 {
		m.consecutiveGateway++
		if m.consecutiveGateway == d.config.ConsecutiveGateway {
			m.consecutiveGateway = 0
			d.consider(h, m, d.config.EnforceGateway, "consecutive_gateway_failure", now)
		}
	} else {
		m.consecutiveGateway = 0
	}
	m.consecutive5xx++
	if m.consecutive5xx == d.config.Consecutive5xx {
		m.consecutive5xx = 0
		d.consider(h, m, d.config.EnforceConsecutive5xx, "consecutive_5xx", now)
	}
}

// consider ejects a host, unless it is already, the enforcement's percentage says
// no, or too many are ejected: the share ejected so far must be below the maximum
// (so that the first one always goes where the maximum is above 0).
func (d *detector) consider(h *Host, m *monitor, enforce uint32, reason string, now time.Time) {
	d.draws++
	if m.ejected || d.seed.At(d.draws)%100 >= uint64(enforce) {
		return
	}
	share := 100 * float64(d.active) / float64(len(d.hosts))
	if share >= float64(d.config.MaxEjectionPercent) && (!d.config.AlwaysEjectOne || d.active > 0) {
		d.overflow()
		return
	}
	m.ejected, m.ejectedAt = true, now
	m.ejections++
	d.active++
	if d.config.BaseEjection*time.Duration(m.backoff) < d.config.MaxEjection+d.config.BaseEjection {
		m.backoff++
	}
	m.jitter = 0
	if j := d.config.MaxEjectionJitter; j > 0 {
		m.jitter = time.Duration(d.seed.At(d.draws^1<<63) % uint64(j+1))
	}
	d.changed(h, true, reason)
}

// sweep is what happens every interval: hosts whose time is over come back, the
// multiplier of those that behaved shrinks by one, and success rates are looked at.
func (d *detector) sweep(now time.Time) {
	for _, h := range d.order {
		m := d.hosts[h]
		if !m.ejected {
			m.backoff = max(m.backoff-1, 0)
			continue
		}
		limit := max(d.config.BaseEjection, d.config.MaxEjection)
		if now.Before(m.ejectedAt.Add(min(d.config.BaseEjection*time.Duration(m.backoff), limit) + m.jitter)) {
			continue
		}
		m.ejected = false
		m.consecutive5xx, m.consecutiveGateway, m.consecutiveLocal = 0, 0, 0
		d.active--
		d.changed(h, false, "")
	}
	d.rates(now)
}

// uneject ends an ejection before its time.
func (d *detector) uneject(h *Host) {
	m := d.hosts[h]
	if m == nil || !m.ejected {
		return
	}
	m.ejected = false
	m.consecutive5xx, m.consecutiveGateway, m.consecutiveLocal = 0, 0, 0
	d.active--
	d.changed(h, false, "")
}

// rates ejects hosts by their share of successes in the interval that ends.
func (d *detector) rates(now time.Time) {
	c := d.config
	if c.EnforceSuccessRate > 0 {
		hosts, mean, deviation := d.volume(c.SuccessRateVolume)
		if len(hosts) > 0 && len(hosts) >= int(c.SuccessRateMinHosts) {
			threshold := mean - deviation*float64(c.SuccessRateStdevFactor)/1000
			for _, h := range hosts {
				if m := d.hosts[h]; m.rate() < threshold {
					d.consider(h, m, c.EnforceSuccessRate, "success_rate", now)
				}
			}
		}
	}
	if c.EnforceFailurePercent > 0 {
		hosts, _, _ := d.volume(c.FailurePercentVolume)
		if len(hosts) >= int(c.FailurePercentMinHosts) {
			for _, h := range hosts {
				if m := d.hosts[h]; 100-m.rate() >= float64(c.FailurePercentThreshold) {
					d.consider(h, m, c.EnforceFailurePercent, "failure_percentage", now)
				}
			}
		}
	}
	for _, m := range d.hosts {
		m.intervalOK, m.intervalTotal = 0, 0
	}
}

func (m *monitor) rate() float64 { return 100 * float64(m.intervalOK) / float64(m.intervalTotal) }

// volume returns the hosts that had enough requests, with the mean and the standard
// deviation of their success rates in percent.
func (d *detector) volume(least uint32) (hosts []*Host, mean, deviation float64) {
	for _, h := range d.order {
		if m := d.hosts[h]; m.intervalTotal > 0 && m.intervalTotal >= least {
			hosts = append(hosts, h)
			mean += m.rate()
		}
	}
	if len(hosts) == 0 {
		return nil, 0, 0
	}
	mean /= float64(len(hosts))
	for _, h := range hosts {
		deviation += (d.hosts[h].rate() - mean) * (d.hosts[h].rate() - mean)
	}
	return hosts, mean, math.Sqrt(deviation / float64(len(hosts)))
}
