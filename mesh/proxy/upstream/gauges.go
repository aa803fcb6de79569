package upstream

import "sync/atomic"

// breakerGauges adds what Envoy tells of circuit breakers: 1 where one is at its limit
// and admits no more, else 0 (cluster.NAME.circuit_breakers.PRIORITY.*). They are read
// from the counters when somebody asks.
func (c *Cluster) breakerGauges(s interface {
	GaugeFunc(name string, read func() int64)
}) {
	for priority, name := range []string{"default", "high"} {
		b := &c.breakers[priority]
		open := func(counter *atomic.Int64, limit func() uint32) func() int64 {
			return func() int64 {
				if counter.Load() >= int64(limit()) {
					return 1
				}
				return 0
			}
		}
		prefix := "circuit_breakers." + name + "."
		s.GaugeFunc(prefix+"cx_open", open(&b.connections, func() uint32 { return b.limits.Load().MaxConnections }))
		s.GaugeFunc(prefix+"rq_pending_open", open(&b.pending, func() uint32 { return b.limits.Load().MaxPending }))
		s.GaugeFunc(prefix+"rq_open", open(&b.requests, func() uint32 { return b.limits.Load().MaxRequests }))
		s.GaugeFunc(prefix+"rq_retry_open", open(&b.retries, b.retryLimit))
	}
}
