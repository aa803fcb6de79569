package translate

import (
	"slices"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	dfpclusterpb "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dynamic_forward_proxy/v3"
	dnscachepb "github.com/envoyproxy/go-control-plane/envoy/extensions/common/dynamic_forward_proxy/v3"
	httpdfppb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_forward_proxy/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	snidfppb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/sni_dynamic_forward_proxy/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
)

const sniForwardFilter = "envoy.filters.network.sni_dynamic_forward_proxy"

// dnsCache keeps what the names of a service by name resolve to, for its cluster and the
// filters that fill it.
func (p *proxy) dnsCache(host string) *dnscachepb.DnsCacheConfig {
	return &dnscachepb.DnsCacheConfig{Name: host + "_dfp_dns_cache", DnsLookupFamily: p.families.lookup()}
}

// byName makes a cluster one whose hosts are the names of requests.
func (p *proxy) byName(c *clusterpb.Cluster, s *model.Service) {
	c.LbPolicy = clusterpb.Cluster_CLUSTER_PROVIDED
	c.ClusterDiscoveryType = &clusterpb.Cluster_ClusterType{ClusterType: &clusterpb.Cluster_CustomClusterType{
		Name: "envoy.clusters.dynamic_forward_proxy",
		TypedConfig: toAny(&dfpclusterpb.ClusterConfig{
			ClusterImplementationSpecifier: &dfpclusterpb.ClusterConfig_DnsCacheConfig{DnsCacheConfig: p.dnsCache(s.Host)}}),
	}}
}

// trustsAnySNI lets a cluster by name have TLS whose server name, or whose check of the
// server's names, is not that of the request: Envoy wants that said.
func (p *proxy) trustsAnySNI(c *clusterpb.Cluster, s *model.Service) {
	if s.Resolution == model.ByName {
		c.GetClusterType().TypedConfig = toAny(&dfpclusterpb.ClusterConfig{AllowInsecureClusterOptions: true,
			ClusterImplementationSpecifier: &dfpclusterpb.ClusterConfig_DnsCacheConfig{DnsCacheConfig: p.dnsCache(s.Host)}})
	}
}

// resolveHosts adds to a connection manager the filters that resolve the Host headers of
// requests for services by name.
func (p *proxy) resolveHosts(m *hcmpb.HttpConnectionManager, hosts []string) {
	for _, h := range slices.Compact(slices.Sorted(slices.Values(hosts))) {
		m.HttpFilters = slices.Insert(m.HttpFilters, len(m.HttpFilters)-1, httpFilter("envoy.filters.http.dynamic_forward_proxy",
			&httpdfppb.FilterConfig{ImplementationSpecifier: &httpdfppb.FilterConfig_DnsCacheConfig{DnsCacheConfig: p.dnsCache(h)}}))
	}
}

// anyNames is the cache of the cluster for HTTP that nothing matches.
func (p *proxy) anyNames() *dnscachepb.DnsCacheConfig {
	return &dnscachepb.DnsCacheConfig{Name: "allow_any_dfp_dns_cache", DnsLookupFamily: p.families.lookup(), MaxHosts: wrapperspb.UInt32(1024)}
}

// anyByName is that cluster: as the one that passes through, but that it resolves names.
func (p *proxy) anyByName() *clusterpb.Cluster {
	c := p.passthrough(names.AnyByName)
	c.ClusterDiscoveryType = &clusterpb.Cluster_ClusterType{ClusterType: &clusterpb.Cluster_CustomClusterType{
		Name: "envoy.clusters.dynamic_forward_proxy",
		TypedConfig: toAny(&dfpclusterpb.ClusterConfig{AllowInsecureClusterOptions: true,
			ClusterImplementationSpecifier: &dfpclusterpb.ClusterConfig_DnsCacheConfig{DnsCacheConfig: p.anyNames()}}),
	}}
	return c
}

// resolveAny adds the filter that resolves the Hosts of requests that nothing matches.
func (p *proxy) resolveAny(m *hcmpb.HttpConnectionManager) {
	if p.scope.anyByName {
		m.HttpFilters = slices.Insert(m.HttpFilters, len(m.HttpFilters)-1, httpFilter("envoy.filters.http.dynamic_forward_proxy",
			&httpdfppb.FilterConfig{ImplementationSpecifier: &httpdfppb.FilterConfig_DnsCacheConfig{DnsCacheConfig: p.anyNames()}}))
	}
}

// anyHTTP is the chain for HTTP on ports that no service has.
func (p *proxy) anyHTTP() *listenerpb.FilterChain {
	table := routeTable("allow_any_dynamic_dns")
	table.VirtualHosts = []*routepb.VirtualHost{p.scope.catchAll()}
	m := p.manager("outbound_"+names.VirtualOutbound+"_allow_any_dynamic_dns;", false)
	m.RouteSpecifier = &hcmpb.HttpConnectionManager_RouteConfig{RouteConfig: table}
	p.resolveAny(m)
	return &listenerpb.FilterChain{Name: "virtualOutbound-catchall-tcp-http",
		FilterChainMatch: &listenerpb.FilterChainMatch{ApplicationProtocols: plainHTTP}, Filters: []*listenerpb.Filter{managerFilter(m)}}
}

// resolveSNI is the filters before a TCP proxy that resolve the server name of a handshake,
// where all goes to one service by name.
func (p *proxy) resolveSNI(to []*model.Destination, port uint32) []*listenerpb.Filter {
	if len(to) != 1 {
		return nil
	}
	s := p.scope.byHost[to[0].Host]
	if s == nil || s.Resolution != model.ByName || p.scope.router {
		return nil
	}
	return []*listenerpb.Filter{networkFilter(sniForwardFilter, &snidfppb.FilterConfig{
		DnsCacheConfig: p.dnsCache(s.Host), PortSpecifier: &snidfppb.FilterConfig_PortValue{PortValue: port}})}
}
