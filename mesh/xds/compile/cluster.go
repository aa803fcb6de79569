package compile

//lint:file-ignore SA1019 Envoy still takes what is deprecated, and control planes still send it.

import (
	"net/netip"
	"strconv"
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	matcherpb "github.com/envoyproxy/go-control-plane/envoy/config/common/matcher/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	proxyprotocolpb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"
	upstreampb "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

const upstreamOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

func (b *build) compileCluster(at place, m *clusterpb.Cluster) *snapshot.Cluster {
	c := &snapshot.Cluster{
		Name:           m.GetName(),
		StatName:       m.GetAltStatName(),
		ConnectTimeout: duration(at.field("connectTimeout"), m.GetConnectTimeout(), 5*time.Second),
		DNSRefresh:     duration(at.field("dnsRefreshRate"), m.GetDnsRefreshRate(), 5*time.Second),
		DNSFamily:      dnsFamily(m.GetDnsLookupFamily()),
		TCPKeepalive:   m.GetUpstreamConnectionOptions().GetTcpKeepalive() != nil,
		// Only original-destination clusters forget hosts by time.
		CleanupInterval: duration(at.field("cleanupInterval"), m.GetCleanupInterval(), 5*time.Second),
		Source:          source(m.GetMetadata()),
	}
	if c.StatName == "" {
		c.StatName = c.Name
	}
	if services := m.GetMetadata().GetFilterMetadata()["istio"].GetFields()["services"].GetListValue().GetValues(); len(services) > 0 {
		service := services[0].GetStructValue().GetFields()
		c.Service, c.ServiceName = service["host"].GetStringValue(), service["name"].GetStringValue()
		c.ServiceNamespace = service["namespace"].GetStringValue()
	}
	if f := m.GetDnsFailureRefreshRate(); f != nil {
		at := at.field("dnsFailureRefreshRate")
		c.DNSFailureBase = duration(at.field("baseInterval"), f.GetBaseInterval(), 0)
		c.DNSFailureMax = duration(at.field("maxInterval"), f.GetMaxInterval(), 10*c.DNSFailureBase)
		if c.DNSFailureMax < c.DNSFailureBase {
			at.errorf("maxInterval (%v) is below baseInterval (%v)", c.DNSFailureMax, c.DNSFailureBase)
		}
	}
	b.discovery(at, m, c)
	balancer(at, m, c)
	breakers(m.GetCircuitBreakers(), c)
	c.Outlier = outlier(at.field("outlierDetection"), m.GetOutlierDetection())
	c.HealthCheck = healthCheck(at.field("healthChecks"), m)
	b.transports(at, m, c)
	c.BindSource, c.BindExtra = bindSources(at.field("upstreamBindConfig"), m.GetUpstreamBindConfig())
	b.upstreamHTTP(at, m, c)
	return c
}

// discovery compiles how endpoints are found, and those that are there.
func (b *build) discovery(at place, m *clusterpb.Cluster, c *snapshot.Cluster) {
	inline, inlineAt := m.GetLoadAssignment(), at.field("loadAssignment")
	if custom := m.GetClusterType(); custom != nil {
		customCluster(at, custom, c)
		if inline != nil {
			inlineAt.errorf("a cluster by name cannot have it")
		}
		return
	}
	switch m.GetType() {
	case clusterpb.Cluster_STATIC:
		c.Discovery = snapshot.Static
	case clusterpb.Cluster_STRICT_DNS:
		c.Discovery = snapshot.StrictDNS
	case clusterpb.Cluster_LOGICAL_DNS:
		c.Discovery = snapshot.LogicalDNS
	case clusterpb.Cluster_ORIGINAL_DST:
		c.Discovery = snapshot.OriginalDst
	case clusterpb.Cluster_EDS:
		c.Discovery = snapshot.EDS
		if !resource.OverADS(m.GetEdsClusterConfig().GetEdsConfig()) {
			at.field("edsClusterConfig").field("edsConfig").errorf("only ads: not supported otherwise")
		}
		if inline != nil {
			inlineAt.errorf("an EDS cluster cannot have it")
		}
		inline, inlineAt = b.assignment(at.field("endpoints"), resource.EndpointName(m)), at.field("endpoints")
	}
	if c.Discovery == snapshot.OriginalDst && len(inline.GetEndpoints()) > 0 {
		inlineAt.errorf("an ORIGINAL_DST cluster cannot have it")
	}
	c.Endpoints = localities(inlineAt.field("endpoints"), inline.GetEndpoints(), c.Discovery)
	if c.Discovery == snapshot.LogicalDNS && (len(c.Endpoints) != 1 || len(c.Endpoints[0].Endpoints) != 1) {
		inlineAt.errorf("a LOGICAL_DNS cluster needs exactly one endpoint")
	}
}

func dnsFamily(f clusterpb.Cluster_DnsLookupFamily) snapshot.DNSFamily {
	switch f {
	case clusterpb.Cluster_V4_ONLY:
		return snapshot.DNSOnlyV4
	case clusterpb.Cluster_V6_ONLY:
		return snapshot.DNSOnlyV6
	case clusterpb.Cluster_V4_PREFERRED:
		return snapshot.DNSPreferV4
	case clusterpb.Cluster_ALL:
		return snapshot.DNSAll
	default:
		return snapshot.DNSAuto
	}
}

func localities(at place, ms []*endpointpb.LocalityLbEndpoints, d snapshot.Discovery) []*snapshot.Locality {
	var out []*snapshot.Locality
	for i, m := range ms {
		l := &snapshot.Locality{
			Region: m.GetLocality().GetRegion(), Zone: m.GetLocality().GetZone(), SubZone: m.GetLocality().GetSubZone(),
			Priority: m.GetPriority(), Weight: m.GetLoadBalancingWeight().GetValue(),
		}
		for j, e := range m.GetLbEndpoints() {
			l.Endpoints = append(l.Endpoints, endpoint(at.index(i).field("lbEndpoints").index(j), e, d))
		}
		out = append(out, l)
	}
	return out
}

func endpoint(at place, m *endpointpb.LbEndpoint, d snapshot.Discovery) *snapshot.Endpoint {
	e := &snapshot.Endpoint{
		Hostname:       m.GetEndpoint().GetHostname(),
		Weight:         number(m.GetLoadBalancingWeight(), 1),
		Health:         health(m.GetHealthStatus()),
		TransportMatch: stringsOf(at.field("metadata"), m.GetMetadata().GetFilterMetadata()["envoy.transport_socket_match"]),
		Workload:       metadataString(m.GetMetadata(), "istio", "workload"),
	}
	at = at.field("endpoint")
	e.Check = endpointCheck(at.field("healthCheckConfig"), m.GetEndpoint().GetHealthCheckConfig())
	at = at.field("address")
	if s := m.GetEndpoint().GetAddress().GetSocketAddress(); d == snapshot.StrictDNS || d == snapshot.LogicalDNS {
		ip, _ := netip.ParseAddr(s.GetAddress()) // a name as a rule
		e.Address = netip.AddrPortFrom(ip, port(at.field("socketAddress").field("portValue"), s.GetPortValue()))
		e.Hostname = s.GetAddress()
		return e
	}
	e.Address = address(at, m.GetEndpoint().GetAddress())
	return e
}

func health(h corepb.HealthStatus) snapshot.Health {
	switch h {
	case corepb.HealthStatus_UNHEALTHY, corepb.HealthStatus_TIMEOUT:
		return snapshot.Unhealthy
	case corepb.HealthStatus_DRAINING:
		return snapshot.Draining
	case corepb.HealthStatus_DEGRADED:
		return snapshot.Degraded
	default:
		return snapshot.Healthy
	}
}

// balancer compiles the policy with Envoy's defaults: two choices, rings of 1024
// to 8M entries, tables of 65537.
func balancer(at place, m *clusterpb.Cluster, c *snapshot.Cluster) {
	const ringMin, ringMax, tableSize = 1024, 8 << 20, 65537
	c.ChoiceCount, c.RingMin, c.RingMax, c.MaglevSize = 2, ringMin, ringMax, tableSize
	switch m.GetLbPolicy() {
	case clusterpb.Cluster_ROUND_ROBIN:
		c.Balancer = snapshot.RoundRobin
		c.SlowStart = slowStart(at.field("roundRobinLbConfig").field("slowStartConfig"), m.GetRoundRobinLbConfig().GetSlowStartConfig())
	case clusterpb.Cluster_LEAST_REQUEST:
		c.Balancer = snapshot.LeastRequest
		c.ChoiceCount, c.RequestBias = int(number(m.GetLeastRequestLbConfig().GetChoiceCount(), 2)), 1
		if b := m.GetLeastRequestLbConfig().GetActiveRequestBias(); b != nil {
			c.RequestBias = b.GetDefaultValue()
		}
		c.SlowStart = slowStart(at.field("leastRequestLbConfig").field("slowStartConfig"), m.GetLeastRequestLbConfig().GetSlowStartConfig())
	case clusterpb.Cluster_RANDOM:
		c.Balancer = snapshot.Random
	case clusterpb.Cluster_RING_HASH:
		c.Balancer = snapshot.RingHash
		c.RingMin = number64(m.GetRingHashLbConfig().GetMinimumRingSize(), ringMin)
		c.RingMax = number64(m.GetRingHashLbConfig().GetMaximumRingSize(), ringMax)
		if c.RingMin > c.RingMax {
			at.field("ringHashLbConfig").errorf("minimumRingSize (%d) is above maximumRingSize (%d)", c.RingMin, c.RingMax)
		}
	case clusterpb.Cluster_MAGLEV:
		c.Balancer = snapshot.Maglev
		c.MaglevSize = number64(m.GetMaglevLbConfig().GetTableSize(), tableSize)
	case clusterpb.Cluster_CLUSTER_PROVIDED:
		c.Balancer = snapshot.ClusterProvided
	default:
		at.field("lbPolicy").errorf("%s: not supported", m.GetLbPolicy())
	}
	if provided := c.Balancer == snapshot.ClusterProvided; provided != (c.Discovery == snapshot.OriginalDst || c.Discovery == snapshot.ByName) {
		at.field("lbPolicy").errorf("CLUSTER_PROVIDED and the types ORIGINAL_DST and dynamic_forward_proxy need each other")
	}
	common := m.GetCommonLbConfig()
	c.PanicThreshold = 50
	if p := common.GetHealthyPanicThreshold(); p != nil {
		c.PanicThreshold = p.GetValue()
	}
	c.LocalityWeighted = common.GetLocalityWeightedLbConfig() != nil
}

func number64(v *wrapperspb.UInt64Value, absent uint64) uint64 {
	if v == nil {
		return absent
	}
	return v.GetValue()
}

func slowStart(at place, m *clusterpb.Cluster_SlowStartConfig) *snapshot.SlowStart {
	if m == nil {
		return nil
	}
	s := &snapshot.SlowStart{Window: duration(at.field("slowStartWindow"), m.GetSlowStartWindow(), 0), MinPercent: 10, Aggression: 1}
	if p := m.GetMinWeightPercent(); p != nil {
		s.MinPercent = p.GetValue()
	}
	if a := m.GetAggression(); a != nil {
		s.Aggression = a.GetDefaultValue()
	}
	return s
}

// breakers fills in 1024 connections, pending requests and requests, and 3 retries.
func breakers(m *clusterpb.CircuitBreakers, c *snapshot.Cluster) {
	for i := range c.Breaker {
		c.Breaker[i] = snapshot.Breaker{MaxConnections: 1024, MaxPending: 1024, MaxRequests: 1024, MaxRetries: 3}
	}
	seen := [2]bool{}
	for _, t := range m.GetThresholds() {
		i := 0
		if t.GetPriority() == corepb.RoutingPriority_HIGH {
			i = 1
		}
		if seen[i] {
			continue // of several for one priority the first counts
		}
		seen[i] = true
		c.Breaker[i] = snapshot.Breaker{
			MaxConnections: number(t.GetMaxConnections(), 1024),
			MaxPending:     number(t.GetMaxPendingRequests(), 1024),
			MaxRequests:    number(t.GetMaxRequests(), 1024),
			MaxRetries:     number(t.GetMaxRetries(), 3),
		}
		if r := t.GetRetryBudget(); r != nil {
			budget := &snapshot.RetryBudget{Percent: 20, MinConcurrency: number(r.GetMinRetryConcurrency(), 3)}
			if p := r.GetBudgetPercent(); p != nil {
				budget.Percent = p.GetValue()
			}
			c.Breaker[i].Budget = budget
		}
	}
}

// outlier fills in the defaults of Envoy's outlier detection.
func outlier(at place, m *clusterpb.OutlierDetection) *snapshot.Outlier {
	if m == nil {
		return nil
	}
	o := &snapshot.Outlier{
		Consecutive5xx:          number(m.GetConsecutive_5Xx(), 5),
		ConsecutiveGateway:      number(m.GetConsecutiveGatewayFailure(), 5),
		ConsecutiveLocal:        number(m.GetConsecutiveLocalOriginFailure(), 5),
		EnforceConsecutive5xx:   number(m.GetEnforcingConsecutive_5Xx(), 100),
		EnforceGateway:          number(m.GetEnforcingConsecutiveGatewayFailure(), 0),
		EnforceLocal:            number(m.GetEnforcingConsecutiveLocalOriginFailure(), 100),
		Interval:                duration(at.field("interval"), m.GetInterval(), 10*time.Second),
		BaseEjection:            duration(at.field("baseEjectionTime"), m.GetBaseEjectionTime(), 30*time.Second),
		MaxEjectionJitter:       duration(at.field("maxEjectionTimeJitter"), m.GetMaxEjectionTimeJitter(), 0),
		MaxEjectionPercent:      number(m.GetMaxEjectionPercent(), 10),
		SplitLocalOrigin:        m.GetSplitExternalLocalOriginErrors(),
		EnforceSuccessRate:      number(m.GetEnforcingSuccessRate(), 100),
		SuccessRateMinHosts:     number(m.GetSuccessRateMinimumHosts(), 5),
		SuccessRateVolume:       number(m.GetSuccessRateRequestVolume(), 100),
		SuccessRateStdevFactor:  number(m.GetSuccessRateStdevFactor(), 1900),
		EnforceFailurePercent:   number(m.GetEnforcingFailurePercentage(), 0),
		FailurePercentThreshold: number(m.GetFailurePercentageThreshold(), 85),
		FailurePercentMinHosts:  number(m.GetFailurePercentageMinimumHosts(), 5),
		FailurePercentVolume:    number(m.GetFailurePercentageRequestVolume(), 50),
		AlwaysEjectOne:          m.GetAlwaysEjectOneHost().GetValue(),
		KeepEjected:             !boolean(m.GetSuccessfulActiveHealthCheckUnejectHost(), true),
	}
	// The longest ejection is five minutes, or the base time where that is longer.
	o.MaxEjection = duration(at.field("maxEjectionTime"), m.GetMaxEjectionTime(), max(300*time.Second, o.BaseEjection))
	return o
}

// errorStatuses are the statuses that a matcher of responses names. It may name
// statuses only, which is all that Istio sends.
func errorStatuses(at place, m *matcherpb.MatchPredicate) []int {
	if m == nil {
		return nil
	}
	var all []int
	if set := m.GetOrMatch(); set != nil {
		for i, r := range set.GetRules() {
			all = append(all, errorStatuses(at.field("orMatch").field("rules").index(i), r)...)
		}
		return all
	}
	for _, h := range m.GetHttpResponseHeadersMatch().GetHeaders() {
		status, err := strconv.Atoi(h.GetStringMatch().GetExact())
		if err != nil || h.GetName() != ":status" || h.GetInvertMatch() || len(m.GetHttpResponseHeadersMatch().GetHeaders()) != 1 {
			at.field("httpResponseHeadersMatch").errorf("anything but one exact :status: not supported")
			return nil
		}
		all = append(all, status)
	}
	return all
}

// transports lists the sockets in the order in which they are tried: those with a
// match, then the cluster's own.
func (b *build) transports(at place, m *clusterpb.Cluster, c *snapshot.Cluster) {
	for i, t := range m.GetTransportSocketMatches() {
		at := at.field("transportSocketMatches").index(i)
		transport := b.transport(at.field("transportSocket"), t.GetTransportSocket())
		transport.Name, transport.Match = t.GetName(), stringsOf(at.field("match"), t.GetMatch())
		c.Transports = append(c.Transports, transport)
	}
	transport := b.transport(at.field("transportSocket"), m.GetTransportSocket())
	transport.Name = "default"
	c.Transports = append(c.Transports, transport)
}

// transport compiles an upstream transport socket, with or without the PROXY protocol
// around it.
func (b *build) transport(at place, s *corepb.TransportSocket) snapshot.Transport {
	outer, err := unpack(s.GetTypedConfig())
	p, ok := outer.(*proxyprotocolpb.ProxyProtocolUpstreamTransport)
	if s == nil || err != nil || !ok {
		return snapshot.Transport{TLS: b.clientTLS(at, s)}
	}
	at = at.field("typedConfig").field("transportSocket")
	if inner, err := unpack(p.GetTransportSocket().GetTypedConfig()); err == nil {
		if _, twice := inner.(*proxyprotocolpb.ProxyProtocolUpstreamTransport); twice {
			at.errorf("a header of the PROXY protocol after another: not supported")
			return snapshot.Transport{}
		}
	}
	return snapshot.Transport{TLS: b.clientTLS(at, p.GetTransportSocket()), ProxyProtocol: uint8(p.GetConfig().GetVersion()) + 1}
}

// bindSources are the address that connections come from, and others for peers of another
// family.
func bindSources(at place, m *corepb.BindConfig) (first netip.Addr, extra []netip.Addr) {
	first = bindSource(at.field("sourceAddress"), m.GetSourceAddress())
	for i, e := range m.GetExtraSourceAddresses() {
		at := at.field("extraSourceAddresses").index(i)
		if m.GetSourceAddress() == nil {
			at.errorf("there is no sourceAddress")
		}
		extra = append(extra, bindSource(at.field("address"), e.GetAddress()))
	}
	return first, extra
}

func bindSource(at place, s *corepb.SocketAddress) netip.Addr {
	if s == nil {
		return netip.Addr{}
	}
	ip, err := netip.ParseAddr(s.GetAddress())
	if err != nil {
		at.field("address").errorf("%q is not an IP address", s.GetAddress())
	}
	if s.GetPortValue() != 0 {
		at.field("portValue").errorf("a fixed source port: not supported")
	}
	return ip
}

// upstreamHTTP compiles the protocol options, in their extension or, as older
// configurations have it, in the cluster itself.
func (b *build) upstreamHTTP(at place, m *clusterpb.Cluster, c *snapshot.Cluster) {
	common, commonAt := m.GetCommonHttpProtocolOptions(), at.field("commonHttpProtocolOptions")
	upstream := m.GetUpstreamHttpProtocolOptions()
	h := &c.HTTP
	h.HTTP2 = m.GetHttp2ProtocolOptions() != nil
	h2, h2At := m.GetHttp2ProtocolOptions(), at.field("http2ProtocolOptions")
	h.MaxRequestsPerConn = int(m.GetMaxRequestsPerConnection().GetValue())
	for name, body := range m.GetTypedExtensionProtocolOptions() {
		at := at.field("typedExtensionProtocolOptions").key(name)
		options, err := unpack(body)
		if err != nil {
			continue
		}
		o, ok := options.(*upstreampb.HttpProtocolOptions)
		if !ok || name != upstreamOptions {
			at.errorf("%s: not supported", bare(body.GetTypeUrl()))
			continue
		}
		common, commonAt, upstream = o.GetCommonHttpProtocolOptions(), at.field("commonHttpProtocolOptions"), o.GetUpstreamHttpProtocolOptions()
		h.UseDownstream = o.GetUseDownstreamProtocolConfig() != nil
		h.ErrorStatuses = errorStatuses(at.field("outlierDetection").field("errorMatcher"), o.GetOutlierDetection().GetErrorMatcher())
		h2, h2At = o.GetExplicitHttpConfig().GetHttp2ProtocolOptions(), at.field("explicitHttpConfig").field("http2ProtocolOptions")
		if h.HTTP2 = h2 != nil; h.UseDownstream {
			h2, h2At = o.GetUseDownstreamProtocolConfig().GetHttp2ProtocolOptions(), at.field("useDownstreamProtocolConfig").field("http2ProtocolOptions")
		}
	}
	h.Settings = http2Options(h2At, h2)
	h.MaxConcurrentStreams = h.Settings.MaxConcurrentStreams
	for _, f := range []struct {
		name string
		set  bool
	}{{"maxHeadersCount", common.GetMaxHeadersCount() != nil}, {"maxStreamDuration", common.GetMaxStreamDuration() != nil}} {
		if f.set {
			commonAt.field(f.name).errorf("not supported for upstreams")
		}
	}
	h.IdleTimeout = duration(commonAt.field("idleTimeout"), common.GetIdleTimeout(), time.Hour)
	c.MaxConnectionDuration = duration(commonAt.field("maxConnectionDuration"), common.GetMaxConnectionDuration(), 0)
	if n := common.GetMaxRequestsPerConnection(); n != nil {
		h.MaxRequestsPerConn = int(n.GetValue())
	}
	h.AutoSNI, h.AutoSANValidation = upstream.GetAutoSni(), upstream.GetAutoSanValidation()
}
