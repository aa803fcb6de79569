package translate

import (
	"fmt"

	accesslogpb "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filelogpb "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	corspb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	faultpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	grpcstatspb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/grpc_stats/v3"
	routerpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	uuidpb "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	alpnpb "istio.io/api/envoy/config/filter/http/alpn/v2alpha1"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// The text format of Istio's access log, and the same as JSON.
const textFormat = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% " +
	"%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% " +
	"%DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" " +
	"\"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% " +
	"%DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"

var jsonFormat = map[string]string{
	"start_time": "%START_TIME%", "route_name": "%ROUTE_NAME%", "method": "%REQ(:METHOD)%",
	"path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "protocol": "%PROTOCOL%", "response_code": "%RESPONSE_CODE%",
	"response_flags": "%RESPONSE_FLAGS%", "response_code_details": "%RESPONSE_CODE_DETAILS%",
	"connection_termination_details":    "%CONNECTION_TERMINATION_DETAILS%",
	"bytes_received":                    "%BYTES_RECEIVED%",
	"bytes_sent":                        "%BYTES_SENT%",
	"duration":                          "%DURATION%",
	"upstream_service_time":             "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
	"x_forwarded_for":                   "%REQ(X-FORWARDED-FOR)%",
	"user_agent":                        "%REQ(USER-AGENT)%",
	"request_id":                        "%REQ(X-REQUEST-ID)%",
	"authority":                         "%REQ(:AUTHORITY)%",
	"upstream_host":                     "%UPSTREAM_HOST%",
	"upstream_cluster":                  "%UPSTREAM_CLUSTER_RAW%",
	"upstream_local_address":            "%UPSTREAM_LOCAL_ADDRESS%",
	"downstream_local_address":          "%DOWNSTREAM_LOCAL_ADDRESS%",
	"downstream_remote_address":         "%DOWNSTREAM_REMOTE_ADDRESS%",
	"requested_server_name":             "%REQUESTED_SERVER_NAME%",
	"upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
}

// accessLogs are those of the proxy's inbound or outbound side.
func (p *proxy) accessLogs(inbound bool) []*accesslogpb.AccessLog {
	l := p.mesh.AccessLog(p.node.Namespace, p.node.Labels, inbound)
	if l == nil {
		return nil
	}
	format := &corepb.SubstitutionFormatString{}
	switch {
	case l.EncodeJSON:
		fields := l.JSON
		if len(fields) == 0 {
			fields = jsonFormat
		}
		format.Format = &corepb.SubstitutionFormatString_JsonFormat{JsonFormat: stringsStruct(fields)}
	default:
		text := l.Format
		if text == "" {
			text = textFormat
		}
		format.Format = &corepb.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corepb.DataSource{
			Specifier: &corepb.DataSource_InlineString{InlineString: text}}}
	}
	return []*accesslogpb.AccessLog{{Name: "envoy.access_loggers.file", ConfigType: &accesslogpb.AccessLog_TypedConfig{
		TypedConfig: toAny(&filelogpb.FileAccessLog{Path: l.Path, AccessLogFormat: &filelogpb.FileAccessLog_LogFormat{LogFormat: format}})}}}
}

// logKey stands for the access log in keys.
func (p *proxy) logKey(inbound bool) string {
	if l := p.mesh.AccessLog(p.node.Namespace, p.node.Labels, inbound); l != nil {
		return fmt.Sprintf("%v", *l)
	}
	return ""
}

// httpFilters are in istiod's order: metadata exchange, services that authorize, tokens and authorization where
// the workload is the server (a gateway is one too), gRPC statistics, ALPN towards
// upstreams, fault, CORS, Istio's metrics, router.
func (p *proxy) httpFilters(inbound bool) []*hcmpb.HttpFilter {
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
		httpFilter("envoy.filters.http.router", &routerpb.Router{}),
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
	m := &hcmpb.HttpConnectionManager{
		StatPrefix: stat, HttpFilters: p.httpFilters(inbound), AccessLog: p.accessLogs(inbound),
		StreamIdleTimeout: durationpb.New(0), UseRemoteAddress: wrapperspb.Bool(false), Proxy_100Continue: true,
		UpgradeConfigs: []*hcmpb.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},
		NormalizePath:  wrapperspb.Bool(p.mesh.Settings.Normalization != model.NormalizeNone),
		RequestIdExtension: &hcmpb.RequestIDExtension{TypedConfig: toAny(&uuidpb.UuidRequestIdConfig{
			UseRequestIdForTraceSampling: wrapperspb.Bool(true)})},
		PathWithEscapedSlashesAction: hcmpb.HttpConnectionManager_KEEP_UNCHANGED,
	}
	if p.mesh.Settings.Normalization >= model.NormalizeMergeSlashes {
		m.MergeSlashes = true
	}
	if p.mesh.Settings.Normalization == model.NormalizeDecodeAndMergeSlashes {
		m.PathWithEscapedSlashesAction = hcmpb.HttpConnectionManager_UNESCAPE_AND_FORWARD
	}
	if p.mesh.Settings.Tracing {
		m.Tracing = &hcmpb.HttpConnectionManager_Tracing{
			ClientSampling:  &typepb.Percent{Value: 100},
			RandomSampling:  &typepb.Percent{Value: p.mesh.Settings.Sampling},
			OverallSampling: &typepb.Percent{Value: 100},
		}
	}
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
