package compile

//lint:file-ignore SA1019 Envoy still takes what is deprecated, and control planes still send it.

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	accesslogpb "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	filelogpb "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	streamlogpb "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	httpinspectorpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/http_inspector/v3"
	originaldstpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	proxyprotocolpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	tlsinspectorpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	tcpauthzpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/ext_authz/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcprbacpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	snidfppb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/sni_dynamic_forward_proxy/v3"
	tcppb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

func (b *build) compileListener(at place, m *listenerpb.Listener, done *compiled) *snapshot.Listener {
	l := &snapshot.Listener{
		Name:           m.GetName(),
		Address:        address(at.field("address"), m.GetAddress()),
		BindToPort:     boolean(m.GetBindToPort(), true),
		UseOriginalDst: m.GetUseOriginalDst().GetValue(),
		Inbound:        m.GetTrafficDirection() == corepb.TrafficDirection_INBOUND,
		// Absent is 15 s, zero is none.
		InspectTimeout:    duration(at.field("listenerFiltersTimeout"), m.GetListenerFiltersTimeout(), 15*time.Second),
		ContinueOnTimeout: m.GetContinueOnListenerFiltersTimeout(),
		AccessLogs:        accessLogs(at.field("accessLog"), m.GetAccessLog()),
	}
	for i, a := range m.GetAdditionalAddresses() {
		at := at.field("additionalAddresses").index(i).field("address")
		also := address(at, a.GetAddress())
		if also == l.Address || slices.Contains(l.Also, also) {
			at.errorf("%v is there already", also)
		}
		l.Also = append(l.Also, also)
	}
	for i, f := range m.GetListenerFilters() {
		listenerFilter(at.field("listenerFilters").index(i), f, l)
	}
	seen := map[string]int{}
	for i, c := range m.GetFilterChains() {
		at := at.field("filterChains").index(i)
		chain := b.chain(at, c, done)
		key := fmt.Sprintf("%+v", chain.Match)
		if first, taken := seen[key]; taken {
			at.field("filterChainMatch").errorf("the same as that of filterChains[%d]", first)
		}
		seen[key] = i
		l.Chains = append(l.Chains, chain)
	}
	if c := m.GetDefaultFilterChain(); c != nil {
		l.Default = b.chain(at.field("defaultFilterChain"), c, done)
	}
	if len(l.Chains) == 0 && l.Default == nil {
		at.errorf("no filter chains")
	}
	return l
}

func listenerFilter(at place, f *listenerpb.ListenerFilter, l *snapshot.Listener) {
	m, err := unpack(f.GetTypedConfig())
	if err != nil {
		if f.GetTypedConfig() == nil {
			at.errorf("has no typedConfig")
		}
		return
	}
	inspector := &snapshot.Inspector{DisabledPorts: disabledPorts(at.field("filterDisabled"), f.GetFilterDisabled())}
	always := func() {
		if len(inspector.DisabledPorts) > 0 {
			at.field("filterDisabled").errorf("not supported for this filter")
		}
	}
	switch m := m.(type) {
	case *originaldstpb.OriginalDst:
		l.OriginalDst = true
		always()
	case *proxyprotocolpb.ProxyProtocol:
		l.ProxyProtocol, l.ProxyProtocolOptional = true, m.GetAllowRequestsWithoutProxyProtocol()
		if l.TLSInspector != nil || l.HTTPInspector != nil {
			at.errorf("has to come before the filters that look at the first bytes")
		}
		always()
	case *tlsinspectorpb.TlsInspector:
		l.TLSInspector = inspector
	case *httpinspectorpb.HttpInspector:
		l.HTTPInspector = inspector
	default:
		at.field("typedConfig").errorf("%s is no listener filter", m.ProtoReflect().Descriptor().FullName())
	}
}

func disabledPorts(at place, p *listenerpb.ListenerFilterChainMatchPredicate) []snapshot.PortRange {
	switch r := p.GetRule().(type) {
	case *listenerpb.ListenerFilterChainMatchPredicate_DestinationPortRange:
		start, end := r.DestinationPortRange.GetStart(), r.DestinationPortRange.GetEnd()
		if start < 0 || end > allPorts || start >= end {
			at.field("destinationPortRange").errorf("[%d, %d) is no range of ports", start, end)
		}
		return []snapshot.PortRange{{Start: uint32(start), End: uint32(end)}}
	case *listenerpb.ListenerFilterChainMatchPredicate_OrMatch:
		var all []snapshot.PortRange
		for i, rule := range r.OrMatch.GetRules() {
			all = append(all, disabledPorts(at.field("orMatch").field("rules").index(i), rule)...)
		}
		return all
	case *listenerpb.ListenerFilterChainMatchPredicate_NotMatch:
		return otherPorts(disabledPorts(at.field("notMatch"), r.NotMatch))
	case *listenerpb.ListenerFilterChainMatchPredicate_AnyMatch:
		return []snapshot.PortRange{{Start: 0, End: allPorts}}
	case nil:
		return nil
	default:
		at.errorf("only destinationPortRange, orMatch, notMatch and anyMatch are supported")
		return nil
	}
}

// allPorts is how many ports there are.
const allPorts = 1 << 16

// otherPorts are those that are in none of the ranges.
func otherPorts(ranges []snapshot.PortRange) []snapshot.PortRange {
	slices.SortFunc(ranges, func(a, b snapshot.PortRange) int { return cmp.Compare(a.Start, b.Start) })
	var rest []snapshot.PortRange
	next := uint32(0)
	for _, r := range ranges {
		if r.Start > next {
			rest = append(rest, snapshot.PortRange{Start: next, End: r.Start})
		}
		next = max(next, r.End)
	}
	if next < allPorts {
		rest = append(rest, snapshot.PortRange{Start: next, End: allPorts})
	}
	return rest
}

func (b *build) chain(at place, m *listenerpb.FilterChain, done *compiled) *snapshot.FilterChain {
	c := &snapshot.FilterChain{
		Name:             m.GetName(),
		Match:            chainMatch(at.field("filterChainMatch"), m.GetFilterChainMatch()),
		TLS:              b.serverTLS(at.field("transportSocket"), m.GetTransportSocket()),
		HandshakeTimeout: duration(at.field("transportSocketConnectTimeout"), m.GetTransportSocketConnectTimeout(), 0),
		Source:           source(m.GetMetadata()),
	}
	var metrics *snapshot.IstioStats
	var byName *snapshot.SNIForward
	for i, f := range m.GetFilters() {
		at := at.field("filters").index(i)
		if c.HTTP != nil || c.TCP != nil {
			at.errorf("comes after the filter that ends the chain")
		}
		config, err := unpack(f.GetTypedConfig())
		if err != nil {
			if f.GetTypedConfig() == nil {
				at.errorf("has no typedConfig")
			}
			continue
		}
		switch config := config.(type) {
		case *hcmpb.HttpConnectionManager:
			c.HTTP = b.manager(at.field("typedConfig"), config, done)
		case *tcprbacpb.RBAC:
			r := rbac(at.field("typedConfig").field("rules"), config.GetRules())
			if shadow := config.GetShadowRules(); shadow != nil {
				r.Shadow, r.ShadowPrefix = new(rbac(at.field("typedConfig").field("shadowRules"), shadow)), config.GetShadowRulesStatPrefix()
			}
			c.Guards = append(c.Guards, snapshot.Guard{RBAC: &r})
		case *tcpauthzpb.ExtAuthz:
			c.Guards = append(c.Guards, snapshot.Guard{ExtAuthz: tcpExtAuthz(at.field("typedConfig"), config)})
		case *snidfppb.FilterConfig:
			byName = &snapshot.SNIForward{Cache: dnsCache(at.field("typedConfig").field("dnsCacheConfig"), config.GetDnsCacheConfig()).Name,
				Port: port(at.field("typedConfig").field("portValue"), cmp.Or(config.GetPortValue(), 443))}
		case *tcppb.TcpProxy:
			c.TCP = tcpProxy(at.field("typedConfig"), config)
			c.TCP.ByName = byName
			c.TCP.Tunnel = tunnel(at.field("typedConfig").field("tunnelingConfig"), config.GetTunnelingConfig())
			c.TCP.IstioStats = metrics
		case typedStruct:
			// Metadata exchange over TCP tells the peers' names for telemetry, and only
			// between proxies that both negotiate it; without it they are unknown.
			switch valued, ok := config.(interface{ GetValue() *structpb.Struct }); {
			case config.GetTypeUrl() == istioStats && ok:
				s := istioStatsOf(at.field("typedConfig"), valued.GetValue())
				metrics = &s
			case config.GetTypeUrl() != metadataExchange:
				at.field("typedConfig").errorf("%s is no network filter", bare(config.GetTypeUrl()))
			}
		default:
			at.field("typedConfig").errorf("%s is no network filter", config.ProtoReflect().Descriptor().FullName())
		}
	}
	if c.HTTP == nil && c.TCP == nil {
		at.field("filters").errorf("no filter ends the chain: one of the HTTP connection manager and the TCP proxy is needed")
	}
	if c.HTTP != nil && len(c.Guards) > 0 {
		at.field("filters").errorf("network RBAC or ext_authz before the HTTP connection manager: not supported")
	}
	return c
}

func chainMatch(at place, m *listenerpb.FilterChainMatch) snapshot.ChainMatch {
	c := snapshot.ChainMatch{
		DestinationPort:      port(at.field("destinationPort"), m.GetDestinationPort().GetValue()),
		DestinationPrefixes:  prefixes(at.field("prefixRanges"), m.GetPrefixRanges()),
		TransportProtocol:    m.GetTransportProtocol(),
		ApplicationProtocols: m.GetApplicationProtocols(),
		SourcePrefixes:       prefixes(at.field("sourcePrefixRanges"), m.GetSourcePrefixRanges()),
	}
	for i, name := range m.GetServerNames() {
		if star := strings.LastIndexByte(name, '*'); star > 0 || star == 0 && !strings.HasPrefix(name, "*.") {
			at.field("serverNames").index(i).errorf("%q: a wildcard is only allowed as the first label", name)
		}
		c.ServerNames = append(c.ServerNames, strings.ToLower(name))
	}
	for i, p := range m.GetSourcePorts() {
		c.SourcePorts = append(c.SourcePorts, port(at.field("sourcePorts").index(i), p))
	}
	return c
}

func tcpProxy(at place, m *tcppb.TcpProxy) *snapshot.TCPProxy {
	t := &snapshot.TCPProxy{
		StatPrefix:         m.GetStatPrefix(),
		IdleTimeout:        duration(at.field("idleTimeout"), m.GetIdleTimeout(), time.Hour),
		MaxConnectAttempts: int(number(m.GetMaxConnectAttempts(), 1)),
		AccessLogs:         accessLogs(at.field("accessLog"), m.GetAccessLog()),
		HashSourceIP:       len(m.GetHashPolicy()) > 0, // there is no other kind
	}
	if name := m.GetCluster(); name != "" {
		t.Clusters = []snapshot.WeightedCluster{{Name: name, Weight: 1}}
	}
	for _, w := range m.GetWeightedClusters().GetClusters() {
		t.Clusters = append(t.Clusters, snapshot.WeightedCluster{Name: w.GetName(), Weight: w.GetWeight()})
	}
	return t
}

func tunnel(at place, m *tcppb.TcpProxy_TunnelingConfig) *snapshot.Tunnel {
	if m == nil {
		return nil
	}
	if m.GetPostPath() != "" && !m.GetUsePost() {
		at.field("postPath").errorf("without usePost it says nothing")
	}
	return &snapshot.Tunnel{Hostname: m.GetHostname(), Post: m.GetUsePost(), PostPath: m.GetPostPath(),
		Headers: headerOps(at, "", m.GetHeadersToAdd(), nil)}
}

func accessLogs(at place, ms []*accesslogpb.AccessLog) []snapshot.AccessLog {
	var out []snapshot.AccessLog
	for i, m := range ms {
		at := at.index(i)
		config, err := unpack(m.GetTypedConfig())
		if err != nil {
			if m.GetTypedConfig() == nil {
				at.errorf("has no typedConfig")
			}
			continue
		}
		var l snapshot.AccessLog
		if f := m.GetFilter(); f != nil {
			l.Filter = new(logFilter(at.field("filter"), f))
		}
		at = at.field("typedConfig")
		switch config := config.(type) {
		case *filelogpb.FileAccessLog:
			fileLog(at, config, &l)
		case *streamlogpb.StdoutAccessLog:
			l.Path = "/dev/stdout"
			format(at.field("logFormat"), config.GetLogFormat(), &l)
		case *streamlogpb.StderrAccessLog:
			l.Path = "/dev/stderr"
			format(at.field("logFormat"), config.GetLogFormat(), &l)
		default:
			at.errorf("%s is no access log", config.ProtoReflect().Descriptor().FullName())
		}
		out = append(out, l)
	}
	return out
}

func fileLog(at place, m *filelogpb.FileAccessLog, l *snapshot.AccessLog) {
	l.Path = m.GetPath()
	switch f := m.GetAccessLogFormat().(type) {
	case *filelogpb.FileAccessLog_Format:
		l.Format = f.Format
	case *filelogpb.FileAccessLog_JsonFormat:
		l.JSON = f.JsonFormat.AsMap()
	case *filelogpb.FileAccessLog_TypedJsonFormat:
		l.JSON = f.TypedJsonFormat.AsMap()
	case *filelogpb.FileAccessLog_LogFormat:
		format(at.field("logFormat"), f.LogFormat, l)
	}
}

func format(at place, m *corepb.SubstitutionFormatString, l *snapshot.AccessLog) {
	l.OmitEmpty = m.GetOmitEmptyValues()
	switch f := m.GetFormat().(type) {
	case *corepb.SubstitutionFormatString_TextFormat:
		l.Format = f.TextFormat
	case *corepb.SubstitutionFormatString_TextFormatSource:
		switch s := f.TextFormatSource.GetSpecifier().(type) {
		case *corepb.DataSource_InlineString:
			l.Format = s.InlineString
		case *corepb.DataSource_InlineBytes:
			l.Format = string(s.InlineBytes)
		default:
			at.field("textFormatSource").errorf("only inline: not supported otherwise")
		}
	case *corepb.SubstitutionFormatString_JsonFormat:
		l.JSON = f.JsonFormat.AsMap()
	}
}
