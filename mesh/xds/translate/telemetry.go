package translate

import (
	"maps"
	"slices"

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
	if changes := p.metricChanges(inbound); len(changes) > 0 {
		fields["metrics"] = structpb.NewListValue(&structpb.ListValue{Values: changes})
	}
	return typedStruct(statsConfig, fields)
}

// metricNames are Istio's standard metrics as the filter calls them.
var metricNames = []string{"requests_total", "request_duration_milliseconds", "request_bytes", "response_bytes",
	"tcp_connections_opened_total", "tcp_connections_closed_total", "tcp_sent_bytes_total", "tcp_received_bytes_total"}

// metricChanges are the metrics that Telemetry changes, each once: an override of all
// metrics is one of each.
func (p *proxy) metricChanges(inbound bool) (list []*structpb.Value) {
	overrides := p.mesh.Metrics(p.node.Namespace, p.node.Labels, inbound)
	for _, name := range metricNames {
		drop, tags := false, map[string]model.TagOverride{}
		for _, o := range overrides {
			if o.Metric != "" && o.Metric != name {
				continue
			}
			if o.Disabled != nil {
				drop = *o.Disabled
			}
			for _, t := range o.Tags {
				tags[t.Name] = t
			}
		}
		change := map[string]*structpb.Value{"name": structpb.NewStringValue(name)}
		if drop {
			change["drop"] = structpb.NewBoolValue(true)
		}
		set, remove := &structpb.Struct{Fields: map[string]*structpb.Value{}}, &structpb.ListValue{}
		for _, tag := range slices.Sorted(maps.Keys(tags)) {
			if tags[tag].Remove {
				remove.Values = append(remove.Values, structpb.NewStringValue(tag))
			} else {
				set.Fields[tag] = structpb.NewStringValue(tags[tag].Value)
			}
		}
		if len(set.Fields) > 0 {
			change["dimensions"] = structpb.NewStructValue(set)
		}
		if len(remove.Values) > 0 {
			change["tags_to_remove"] = structpb.NewListValue(remove)
		}
		if len(change) > 1 {
			list = append(list, structpb.NewStructValue(&structpb.Struct{Fields: change}))
		}
	}
	return list
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
		if n > 0 && c.Filters[n-1].Name == sniForwardFilter { // belongs to the proxy behind it
			n--
		}
		c.Filters = slices.Insert(slices.Clone(c.Filters), n, networkFilter(statsFilter, p.metricsConfig(inbound)))
	}
	return l
}
