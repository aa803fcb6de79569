package compile

import (
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	dfpclusterpb "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dynamic_forward_proxy/v3"
	dnscachepb "github.com/envoyproxy/go-control-plane/envoy/extensions/common/dynamic_forward_proxy/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// customCluster compiles a cluster of another type than Envoy's own ones: that by name.
func customCluster(at place, m *clusterpb.Cluster_CustomClusterType, c *snapshot.Cluster) {
	at = at.field("clusterType").field("typedConfig")
	c.Discovery = snapshot.ByName
	config, err := unpack(m.GetTypedConfig())
	own, ok := config.(*dfpclusterpb.ClusterConfig)
	switch {
	case err != nil: // told already
	case !ok:
		at.errorf("%s: not supported as a cluster", config.ProtoReflect().Descriptor().FullName())
	case own.GetDnsCacheConfig() == nil:
		at.field("dnsCacheConfig").errorf("is missing")
	default:
		c.Cache = dnsCache(at.field("dnsCacheConfig"), own.GetDnsCacheConfig())
	}
	if c.Cache == nil {
		c.Cache = new(snapshot.DNSCache)
	}
}

// dnsCache compiles a cache with Envoy's defaults.
func dnsCache(at place, m *dnscachepb.DnsCacheConfig) *snapshot.DNSCache {
	d := &snapshot.DNSCache{
		Name:     m.GetName(),
		Family:   dnsFamily(m.GetDnsLookupFamily()),
		Refresh:  duration(at.field("dnsRefreshRate"), m.GetDnsRefreshRate(), time.Minute),
		HostTTL:  duration(at.field("hostTtl"), m.GetHostTtl(), 5*time.Minute),
		Timeout:  duration(at.field("dnsQueryTimeout"), m.GetDnsQueryTimeout(), 5*time.Second),
		MaxHosts: int(number(m.GetMaxHosts(), 1024)),
	}
	if d.Name == "" {
		at.field("name").errorf("is missing")
	}
	return d
}
