package translate

import (
	"cmp"
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// balance sets the load balancer.
func (p *proxy) balance(c *clusterpb.Cluster, policy *model.TrafficPolicy) {
	b := policy.Balancer
	if c.LbPolicy == clusterpb.Cluster_CLUSTER_PROVIDED || b == nil {
		return
	}
	switch b.Algorithm {
	case model.RoundRobin:
		c.LbPolicy = clusterpb.Cluster_ROUND_ROBIN
	case model.Random:
		c.LbPolicy = clusterpb.Cluster_RANDOM
	case model.RingHash:
		c.LbPolicy = clusterpb.Cluster_RING_HASH
		c.LbConfig = &clusterpb.Cluster_RingHashLbConfig_{RingHashLbConfig: &clusterpb.Cluster_RingHashLbConfig{
			MinimumRingSize: wrapperspb.UInt64(cmp.Or(b.RingMin, 1024))}}
	case model.Maglev:
		c.LbPolicy = clusterpb.Cluster_MAGLEV
		c.LbConfig = &clusterpb.Cluster_MaglevLbConfig_{MaglevLbConfig: &clusterpb.Cluster_MaglevLbConfig{
			TableSize: wrapperspb.UInt64(cmp.Or(b.TableSize, 65537))}}
	}
	if w := b.Warmup; w != nil {
		slow := &clusterpb.Cluster_SlowStartConfig{
			SlowStartWindow:  durationpb.New(w.Duration),
			Aggression:       &corepb.RuntimeDouble{DefaultValue: w.Aggression, RuntimeKey: "windtunnel.aggression"},
			MinWeightPercent: &typepb.Percent{Value: w.MinimumPercent},
		}
		switch c.LbPolicy {
		case clusterpb.Cluster_LEAST_REQUEST:
			c.LbConfig = &clusterpb.Cluster_LeastRequestLbConfig_{LeastRequestLbConfig: &clusterpb.Cluster_LeastRequestLbConfig{SlowStartConfig: slow}}
		case clusterpb.Cluster_ROUND_ROBIN:
			c.LbConfig = &clusterpb.Cluster_RoundRobinLbConfig_{RoundRobinLbConfig: &clusterpb.Cluster_RoundRobinLbConfig{SlowStartConfig: slow}}
		}
	}
}

// limits sets circuit breakers and timeouts. Istio's limits are off unless set, and
// zero is not set.
func (p *proxy) limits(c *clusterpb.Cluster, pool *model.Pool, budget *model.RetryBudget) {
	if pool == nil {
		pool = &model.Pool{}
	}
	t := &clusterpb.CircuitBreakers_Thresholds{
		MaxConnections:     wrapperspb.UInt32(cmp.Or(pool.MaxConnections, unlimited)),
		MaxPendingRequests: wrapperspb.UInt32(cmp.Or(pool.MaxPending, unlimited)),
		MaxRequests:        wrapperspb.UInt32(cmp.Or(pool.MaxRequests, unlimited)),
		MaxRetries:         wrapperspb.UInt32(cmp.Or(pool.MaxRetries, unlimited)),
	}
	if budget != nil {
		t.MaxRetries = nil
		t.RetryBudget = &clusterpb.CircuitBreakers_Thresholds_RetryBudget{
			BudgetPercent: &typepb.Percent{Value: budget.Percent}, MinRetryConcurrency: wrapperspb.UInt32(budget.MinConcurrency)}
	}
	c.CircuitBreakers = &clusterpb.CircuitBreakers{Thresholds: []*clusterpb.CircuitBreakers_Thresholds{t}}
	if pool.ConnectTimeout > 0 {
		c.ConnectTimeout = durationpb.New(pool.ConnectTimeout)
	}
	k := pool.Keepalive
	if k == nil {
		k = p.mesh.Settings.Keepalive
	}
	if k != nil {
		c.UpstreamConnectionOptions = &clusterpb.UpstreamConnectionOptions{TcpKeepalive: tcpKeepalive(k)}
	}
}

func tcpKeepalive(k *model.Keepalive) *corepb.TcpKeepalive {
	m := &corepb.TcpKeepalive{}
	if k.Probes > 0 {
		m.KeepaliveProbes = wrapperspb.UInt32(k.Probes)
	}
	if k.Time > 0 {
		m.KeepaliveTime = wrapperspb.UInt32(uint32(k.Time / time.Second))
	}
	if k.Interval > 0 {
		m.KeepaliveInterval = wrapperspb.UInt32(uint32(k.Interval / time.Second))
	}
	return m
}

// detectOutliers sets passive health checks. Success rates never eject in Istio, and
// what is counted is enforced.
func detectOutliers(c *clusterpb.Cluster, o *model.Outlier) {
	if o == nil {
		return
	}
	d := &clusterpb.OutlierDetection{EnforcingSuccessRate: wrapperspb.UInt32(0), SplitExternalLocalOriginErrors: o.SplitLocal}
	if o.Interval > 0 {
		d.Interval = durationpb.New(o.Interval)
	}
	if o.BaseEjection > 0 {
		d.BaseEjectionTime = durationpb.New(o.BaseEjection)
	}
	if o.MaxEjectionPercent > 0 {
		d.MaxEjectionPercent = wrapperspb.UInt32(o.MaxEjectionPercent)
	}
	enforced := func(n uint32) *wrapperspb.UInt32Value {
		if n > 0 {
			return wrapperspb.UInt32(100)
		}
		return wrapperspb.UInt32(0)
	}
	if v := o.Consecutive5xx; v != nil {
		d.Consecutive_5Xx, d.EnforcingConsecutive_5Xx = wrapperspb.UInt32(*v), enforced(*v)
	}
	if v := o.ConsecutiveGateway; v != nil {
		d.ConsecutiveGatewayFailure, d.EnforcingConsecutiveGatewayFailure = wrapperspb.UInt32(*v), enforced(*v)
	}
	if o.SplitLocal {
		if v := o.ConsecutiveLocal; v != nil {
			d.ConsecutiveLocalOriginFailure, d.EnforcingConsecutiveLocalOriginFailure = wrapperspb.UInt32(*v), enforced(*v)
		}
		d.EnforcingLocalOriginSuccessRate = wrapperspb.UInt32(0)
	}
	c.OutlierDetection = d
	c.CommonLbConfig.HealthyPanicThreshold = &typepb.Percent{Value: float64(o.MinHealthPercent)}
}
