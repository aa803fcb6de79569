package translate

import (
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corspb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	faultpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	grpcstatspb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/grpc_stats/v3"
	routerpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	uuidpb "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	alpnpb "istio.io/api/envoy/config/filter/http/alpn/v2alpha1"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// httpFilters are in istiod's order: metadata exchange, tokens and authorization where
// the workload is the server (a gateway is one too), gRPC statistics, ALPN towards
// upstreams, fault, CORS, Istio's metrics, router.
//
// The router makes spans of its own for SkyWalking, whose context tells of these only.
func (p *proxy) httpFilters(inbound bool, spec *model.TraceSpec) []*hcmpb.HttpFilter {
	children := spec != nil && spec.Provider != nil && spec.Provider.Kind == model.SkyWalking
	list := []*hcmpb.HttpFilter{metadataFilter(inbound)}
	if inbound || p.node.Type == model.Router {
		list = append(list, p.customFilters()...)
		list = append(list, p.tokenFilters()...)
		list = append(list, p.authorizationFilters()...)
	}
	list = append(list, httpFilter("envoy.filters.http.grpc_stats", &grpcstatspb.FilterConfig{
		EmitFilterState:        true,
		PerMethodStatSpecifier: &grpcstatspb.FilterConfig_StatsForAllMethods{StatsForAllMethods: wrapperspb.Bool(false)}}))
	if !inbound {
		list = append(list, httpFilter("istio.alpn", alpnFilter()))
	}
	return append(list,
		httpFilter("envoy.filters.http.fault", &faultpb.HTTPFault{}),
		httpFilter("envoy.filters.http.cors", &corspb.Cors{}),
		httpFilter(statsFilter, p.metricsConfig(inbound)),
		//lint:ignore SA1019 as istiod sends it
		httpFilter("envoy.filters.http.router", &routerpb.Router{StartChildSpan: children}),
	)
}

func httpFilter(name string, m proto.Message) *hcmpb.HttpFilter {
	return &hcmpb.HttpFilter{Name: name, ConfigType: &hcmpb.HttpFilter_TypedConfig{TypedConfig: toAny(m)}}
}

// alpnFilter tells a sidecar upstream that HTTP is spoken, and which.
func alpnFilter() *alpnpb.FilterConfig {
	return &alpnpb.FilterConfig{AlpnOverride: []*alpnpb.FilterConfig_AlpnOverride{
		{UpstreamProtocol: alpnpb.FilterConfig_HTTP10, AlpnOverride: []string{"istio-http/1.0", "istio", "http/1.0"}},
		{UpstreamProtocol: alpnpb.FilterConfig_HTTP11, AlpnOverride: []string{"istio-http/1.1", "istio", "http/1.1"}},
		{UpstreamProtocol: alpnpb.FilterConfig_HTTP2, AlpnOverride: []string{"istio-h2", "istio", "h2"}},
	}}
}

// manager is what all connection managers have in common.
func (p *proxy) manager(stat string, inbound bool) *hcmpb.HttpConnectionManager {
	spec := p.mesh.Tracing(p.node.Namespace, p.node.Labels, inbound)
	m := &hcmpb.HttpConnectionManager{
		StatPrefix: stat, HttpFilters: p.httpFilters(inbound, spec), AccessLog: p.accessLogs(inbound),
		StreamIdleTimeout: durationpb.New(0), UseRemoteAddress: wrapperspb.Bool(false), Proxy_100Continue: true,
		UpgradeConfigs: []*hcmpb.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},
		NormalizePath:  wrapperspb.Bool(p.mesh.Settings.Normalization != model.NormalizeNone),
		RequestIdExtension: &hcmpb.RequestIDExtension{TypedConfig: toAny(&uuidpb.UuidRequestIdConfig{
			UseRequestIdForTraceSampling: wrapperspb.Bool(spec == nil || !spec.IgnoreRequestID)})},
		PathWithEscapedSlashesAction: hcmpb.HttpConnectionManager_KEEP_UNCHANGED,
	}
	if p.mesh.Settings.Normalization >= model.NormalizeMergeSlashes {
		m.MergeSlashes = true
	}
	if p.mesh.Settings.Normalization == model.NormalizeDecodeAndMergeSlashes {
		m.PathWithEscapedSlashesAction = hcmpb.HttpConnectionManager_UNESCAPE_AND_FORWARD
	}
	m.Tracing = p.tracing(spec)
	return m
}

func clientCertificates(m *hcmpb.HttpConnectionManager, mode hcmpb.HttpConnectionManager_ForwardClientCertDetails, cert bool) {
	m.ForwardClientCertDetails = mode
	m.SetCurrentClientCertDetails = &hcmpb.HttpConnectionManager_SetCurrentClientCertDetails{
		Subject: wrapperspb.Bool(true), Cert: cert, Dns: true, Uri: true}
}

func rds(name string) *hcmpb.HttpConnectionManager_Rds {
	return &hcmpb.HttpConnectionManager_Rds{Rds: &hcmpb.Rds{ConfigSource: adsSource(), RouteConfigName: name}}
}

func inlineRoutes(r *routepb.RouteConfiguration) *hcmpb.HttpConnectionManager_RouteConfig {
	return &hcmpb.HttpConnectionManager_RouteConfig{RouteConfig: r}
}

func networkFilter(name string, m proto.Message) *listenerpb.Filter {
	return &listenerpb.Filter{Name: name, ConfigType: &listenerpb.Filter_TypedConfig{TypedConfig: toAny(m)}}
}

func managerFilter(m *hcmpb.HttpConnectionManager) *listenerpb.Filter {
	return networkFilter("envoy.filters.network.http_connection_manager", m)
}
