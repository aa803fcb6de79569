package translate

import (
	udpapb "github.com/cncf/xds/go/udpa/type/v1"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// Istio's own filters for telemetry, as istiod sends them: their configuration is a
// TypedStruct, because its protos are the proxy's own.
const (
	typePrefix       = "type.googleapis.com/"
	statsConfig      = typePrefix + "stats.PluginConfig"
	peerConfig       = typePrefix + "io.istio.http.peer_metadata.Config"
	statsFilter      = "istio.stats"
	metadataExchange = "istio.metadata_exchange"
	tcpProxyFilter   = "envoy.filters.network.tcp_proxy"
)

func typedStruct(typeURL string, fields map[string]*structpb.Value) *udpapb.TypedStruct {
	return &udpapb.TypedStruct{TypeUrl: typeURL, Value: &structpb.Struct{Fields: fields}}
}

// metricsConfig: only the sidecar of a client may take the name of a service from the
// request's authority, which anybody can write.
func (p *proxy) metricsConfig(inbound bool) *udpapb.TypedStruct {
	fields := map[string]*structpb.Value{}
	if inbound || p.node.Type == model.Router {
		fields["disable_host_header_fallback"] = structpb.NewBoolValue(true)
	}
	return typedStruct(statsConfig, fields)
}

// metadataFilter has proxies tell each other their workloads in header fields.
func metadataFilter(inbound bool) *hcmpb.HttpFilter {
	methods := func(names ...string) *structpb.Value {
		list := &structpb.ListValue{}
		for _, n := range names {
			none := structpb.NewStructValue(&structpb.Struct{})
			list.Values = append(list.Values, structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{n: none}}))
		}
		return structpb.NewListValue(list)
	}
	side := "upstream"
	if inbound {
		side = "downstream"
	}
	return httpFilter(metadataExchange, typedStruct(peerConfig, map[string]*structpb.Value{
		side + "_discovery":   methods("istio_headers", "workload_discovery"),
		side + "_propagation": methods("istio_headers"),
	}))
}

// withTCPMetrics puts the metrics in front of the TCP proxies of a listener.
func (p *proxy) withTCPMetrics(l *listenerpb.Listener, inbound bool) *listenerpb.Listener {
	chains := l.FilterChains
	if l.DefaultFilterChain != nil {
		chains = append(chains[:len(chains):len(chains)], l.DefaultFilterChain)
	}
	for _, c := range chains {
		n := len(c.Filters) - 1
		if n < 0 || c.Filters[n].Name != tcpProxyFilter || n > 0 && c.Filters[n-1].Name == statsFilter {
			continue
		}
		last := c.Filters[n]
		c.Filters = append(c.Filters[:n:n], networkFilter(statsFilter, p.metricsConfig(inbound)), last)
	}
	return l
}
