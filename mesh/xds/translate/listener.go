package translate

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	httpinspectorpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/http_inspector/v3"
	originaldstpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	tlsinspectorpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	tcppb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
)

// anyAddress and anyAddress6 are the wildcard addresses that listeners stand for.
const (
	anyAddress  = "0.0.0.0"
	anyAddress6 = "::"
)

var (
	plainHTTP = []string{"http/1.1", "h2c"}
	meshHTTP  = []string{"istio-http/1.0", "istio-http/1.1", "istio-h2"}
	meshTCP   = []string{"istio-peer-exchange", "istio"}
	meshAny   = []string{"istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"}
)

// handshake is how long a chain's transport socket may take.
func handshake() *durationpb.Duration { return durationpb.New(15 * time.Second) }

func listenerFilter(name string, m proto.Message, except *listenerpb.ListenerFilterChainMatchPredicate) *listenerpb.ListenerFilter {
	return &listenerpb.ListenerFilter{Name: name, FilterDisabled: except,
		ConfigType: &listenerpb.ListenerFilter_TypedConfig{TypedConfig: toAny(m)}}
}

func httpInspector(except *listenerpb.ListenerFilterChainMatchPredicate) *listenerpb.ListenerFilter {
	return listenerFilter("envoy.filters.listener.http_inspector", &httpinspectorpb.HttpInspector{}, except)
}

func tlsInspector(except *listenerpb.ListenerFilterChainMatchPredicate) *listenerpb.ListenerFilter {
	return listenerFilter("envoy.filters.listener.tls_inspector",
		&tlsinspectorpb.TlsInspector{InitialReadBufferSize: wrapperspb.UInt32(512)}, except)
}

func originalDst() *listenerpb.ListenerFilter {
	return listenerFilter("envoy.filters.listener.original_dst", &originaldstpb.OriginalDst{}, nil)
}

// inspectors look at a client's first bytes on the ports with chains that ask what these
// are; elsewhere the server may be the first to speak. Port 0 stands for those that no
// chain names.
func inspectors(chains []*listenerpb.FilterChain) []*listenerpb.ListenerFilter {
	type asked struct{ tls, http bool }
	ports := map[uint32]asked{}
	var tls, http bool
	for _, c := range chains {
		m := c.GetFilterChainMatch()
		a := ports[m.GetDestinationPort().GetValue()]
		a.tls = a.tls || m.GetTransportProtocol() == "tls"
		a.http = a.http || slices.ContainsFunc(m.GetApplicationProtocols(), func(p string) bool { return slices.Contains(plainHTTP, p) })
		ports[m.GetDestinationPort().GetValue()] = a
		tls, http = tls || a.tls, http || a.http
	}
	which := func(asks func(asked) bool) *listenerpb.ListenerFilterChainMatchPredicate {
		rest := asks(ports[0])
		var others []uint32
		for port, a := range ports {
			if port != 0 && asks(a) != rest {
				others = append(others, port)
			}
		}
		slices.Sort(others)
		if except := onPorts(others); rest || except == nil {
			return except
		}
		return &listenerpb.ListenerFilterChainMatchPredicate{Rule: &listenerpb.ListenerFilterChainMatchPredicate_NotMatch{NotMatch: onPorts(others)}}
	}
	var list []*listenerpb.ListenerFilter
	if tls {
		list = append(list, tlsInspector(which(func(a asked) bool { return a.tls })))
	}
	if http { // behind the other, as what is TLS is not looked at again
		list = append(list, httpInspector(which(func(a asked) bool { return a.http })))
	}
	return list
}

// onPorts is a predicate that holds on some destination ports; nil: on none.
func onPorts(ports []uint32) *listenerpb.ListenerFilterChainMatchPredicate {
	var rules []*listenerpb.ListenerFilterChainMatchPredicate
	for _, port := range ports {
		rules = append(rules, &listenerpb.ListenerFilterChainMatchPredicate{Rule: &listenerpb.ListenerFilterChainMatchPredicate_DestinationPortRange{
			DestinationPortRange: &typepb.Int32Range{Start: int32(port), End: int32(port) + 1}}})
	}
	switch len(rules) {
	case 0:
		return nil
	case 1:
		return rules[0]
	}
	return &listenerpb.ListenerFilterChainMatchPredicate{Rule: &listenerpb.ListenerFilterChainMatchPredicate_OrMatch{
		OrMatch: &listenerpb.ListenerFilterChainMatchPredicate_MatchSet{Rules: rules}}}
}

// inspected sets how long a listener waits for a client's first bytes.
func (p *proxy) inspected(l *listenerpb.Listener) {
	l.ListenerFiltersTimeout = durationpb.New(p.mesh.Settings.DetectTimeout)
	l.ContinueOnListenerFiltersTimeout = true
}

// tcpProxy forwards to a destination, or to several by weight. Idle timeout and hash
// are those of the first one's policy.
func (p *proxy) tcpProxy(stat string, to []*model.Destination, port uint32) *listenerpb.Filter {
	t := &tcppb.TcpProxy{StatPrefix: stat, AccessLog: p.accessLogs(false)}
	to = weighted(to)
	if s := p.scope.byHost[to[0].Host]; s != nil {
		d := p.scope.policies[s]
		policy := p.policyFor(d, d.Subset(to[0].Subset), p.portOf(to[0], port))
		t.TunnelingConfig = tunneling(d, to)
		if policy.Pool != nil && policy.Pool.TCPIdle != nil {
			t.IdleTimeout = durationpb.New(*policy.Pool.TCPIdle)
		}
		if policy.Balancer != nil && policy.Balancer.Hash != nil && policy.Balancer.Hash.SourceIP {
			t.HashPolicy = []*typepb.HashPolicy{{PolicySpecifier: &typepb.HashPolicy_SourceIp_{SourceIp: &typepb.HashPolicy_SourceIp{}}}}
		}
	}
	if len(to) == 1 {
		t.ClusterSpecifier = &tcppb.TcpProxy_Cluster{Cluster: p.clusterOf(to[0], port)}
		return networkFilter("envoy.filters.network.tcp_proxy", t)
	}
	w := &tcppb.TcpProxy_WeightedCluster{}
	for _, d := range to {
		w.Clusters = append(w.Clusters, &tcppb.TcpProxy_WeightedCluster_ClusterWeight{Name: p.clusterOf(d, port), Weight: d.Weight})
	}
	t.ClusterSpecifier = &tcppb.TcpProxy_WeightedClusters{WeightedClusters: w}
	return networkFilter("envoy.filters.network.tcp_proxy", t)
}

// tunneling is the tunnel of the first destination, since the listener has it and not a
// cluster: that of its subset where it is the only one, else that of its host. As in
// Istio a subset does not inherit its host's.
func tunneling(d *model.DestinationRule, to []*model.Destination) *tcppb.TcpProxy_TunnelingConfig {
	if d == nil {
		return nil
	}
	policy := d.Policy
	if len(to) == 1 && to[0].Subset != "" {
		if policy = nil; d.Subset(to[0].Subset) != nil {
			policy = d.Subset(to[0].Subset).Policy
		}
	}
	if policy == nil || policy.Tunnel == nil {
		return nil
	}
	return &tcppb.TcpProxy_TunnelingConfig{Hostname: policy.Tunnel.Target, UsePost: policy.Tunnel.Post}
}

// toCluster forwards to one cluster.
func (p *proxy) toCluster(name string, inbound bool) *listenerpb.Filter {
	return networkFilter("envoy.filters.network.tcp_proxy", &tcppb.TcpProxy{
		StatPrefix: name, AccessLog: p.accessLogs(inbound), ClusterSpecifier: &tcppb.TcpProxy_Cluster{Cluster: name}})
}

// weighted leaves out destinations of weight 0, where there are several.
func weighted(to []*model.Destination) []*model.Destination {
	if len(to) < 2 {
		return to
	}
	var list []*model.Destination
	for _, d := range to {
		if d.Weight > 0 {
			list = append(list, d)
		}
	}
	if list == nil {
		return to[:1]
	}
	return list
}

// unknown is the cluster of connections that no service matches.
func (s *scope) unknown() string {
	switch {
	case !s.allowAny:
		return names.BlackHole
	case s.sidecar != nil && s.sidecar.EgressProxy != nil:
		to := s.sidecar.EgressProxy
		return names.Outbound(to.Port, to.Subset, to.Host)
	}
	return names.Passthrough
}

// prefixRange is an address or prefix of a filter chain match.
func prefixRange(s string) (*corepb.CidrRange, error) {
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("address %q: %w", s, err)
		}
		prefix = netip.PrefixFrom(a, a.BitLen())
	}
	return &corepb.CidrRange{AddressPrefix: prefix.Addr().String(), PrefixLen: wrapperspb.UInt32(uint32(prefix.Bits()))}, nil
}
