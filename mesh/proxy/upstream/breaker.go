package upstream

import (
	"sync/atomic"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
)

// breaker counts what one priority of a cluster uses. Counters live as long as the
// cluster, limits change with its configuration.
type breaker struct {
	limits                                  atomic.Pointer[snapshot.Breaker]
	connections, pending, requests, retries atomic.Int64
}

// take adds one where the limit allows it.
func take(counter *atomic.Int64, limit uint32) bool {
	if counter.Add(1) > int64(limit) {
		counter.Add(-1)
		return false
	}
	return true
}

// retryLimit is max_retries, or with a budget that share of the requests that are
// active or pending, but at least the budget's floor (Envoy: circuit_breaker.proto).
func (b *breaker) retryLimit() uint32 {
	l := b.limits.Load()
	if l.Budget == nil {
		return l.MaxRetries
	}
	active := float64(b.requests.Load() + b.pending.Load())
	return max(uint32(active*l.Budget.Percent/100), l.Budget.MinConcurrency)
}

// TakeRetry reserves one concurrent retry of a priority. It is given back with GiveRetry.
func (c *Cluster) TakeRetry(priority int) bool {
	b := &c.breakers[priority]
	return take(&b.retries, b.retryLimit())
}

// GiveRetry ends a retry that TakeRetry reserved.
func (c *Cluster) GiveRetry(priority int) { c.breakers[priority].retries.Add(-1) }

// Stats are a cluster's metrics under Envoy's names.
type Stats struct {
	Requests        *stats.Counter // upstream_rq_total
	RequestsActive  *stats.Gauge
	PendingTotal    *stats.Counter
	PendingActive   *stats.Gauge
	PendingOverflow *stats.Counter
	PendingFailure  *stats.Counter
	RqTimeout       *stats.Counter
	PerTryTimeout   *stats.Counter
	// PerTryIdleTimeout is upstream_rq_per_try_idle_timeout.
	PerTryIdleTimeout *stats.Counter
	RxReset           *stats.Counter
	TxReset           *stats.Counter
	Retry             *stats.Counter
	RetrySuccess      *stats.Counter
	RetryOverflow     *stats.Counter
	RetryLimit        *stats.Counter
	Codes             *stats.Codes
	Time              *stats.Histogram // milliseconds

	cxTotal, cxConnectFail, cxConnectTimeout, cxOverflow              *stats.Counter
	cxDestroy, cxDestroyRemote, cxIdleTimeout, cxMaxRequests, noHosts *stats.Counter
	cxActive, membership, healthy                                     *stats.Gauge
	ejections, ejectionsOverflow                                      *stats.Counter
	ejectionsActive                                                   *stats.Gauge
	checkAttempts, checkSuccess, checkFailure, checkNetwork           *stats.Counter
	scope                                                             stats.Scope
}

func newStats(r *stats.Registry, name string) *Stats {
	s := r.Cluster(name)
	return &Stats{
		scope:    s,
		Requests: s.Counter("upstream_rq_total"), RequestsActive: s.Gauge("upstream_rq_active"),
		PendingTotal: s.Counter("upstream_rq_pending_total"), PendingActive: s.Gauge("upstream_rq_pending_active"),
		PendingOverflow: s.Counter("upstream_rq_pending_overflow"), PendingFailure: s.Counter("upstream_rq_pending_failure_eject"),
		RqTimeout: s.Counter("upstream_rq_timeout"), PerTryTimeout: s.Counter("upstream_rq_per_try_timeout"),
		PerTryIdleTimeout: s.Counter("upstream_rq_per_try_idle_timeout"),
		RxReset:           s.Counter("upstream_rq_rx_reset"), TxReset: s.Counter("upstream_rq_tx_reset"),
		Retry: s.Counter("upstream_rq_retry"), RetrySuccess: s.Counter("upstream_rq_retry_success"),
		RetryOverflow: s.Counter("upstream_rq_retry_overflow"), RetryLimit: s.Counter("upstream_rq_retry_limit_exceeded"),
		Codes: s.Codes("upstream_rq"), Time: s.Histogram("upstream_rq_time"),
		cxTotal: s.Counter("upstream_cx_total"), cxActive: s.Gauge("upstream_cx_active"), cxConnectFail: s.Counter("upstream_cx_connect_fail"),
		cxConnectTimeout: s.Counter("upstream_cx_connect_timeout"), cxOverflow: s.Counter("upstream_cx_overflow"),
		cxDestroy: s.Counter("upstream_cx_destroy"), cxDestroyRemote: s.Counter("upstream_cx_destroy_remote"),
		cxIdleTimeout: s.Counter("upstream_cx_idle_timeout"), cxMaxRequests: s.Counter("upstream_cx_max_requests"),
		noHosts: s.Counter("upstream_cx_none_healthy"), membership: s.Gauge("membership_total"), healthy: s.Gauge("membership_healthy"),
		ejections: s.Counter("outlier_detection.ejections_enforced_total"), ejectionsOverflow: s.Counter("outlier_detection.ejections_overflow"),
		ejectionsActive: s.Gauge("outlier_detection.ejections_active"),
		checkAttempts:   s.Counter("health_check.attempt"), checkSuccess: s.Counter("health_check.success"),
		checkFailure: s.Counter("health_check.failure"), checkNetwork: s.Counter("health_check.network_failure"),
	}
}
