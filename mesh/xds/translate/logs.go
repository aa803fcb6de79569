package translate

import (
	"fmt"

	accesslogpb "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	filelogpb "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	celpb "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	"google.golang.org/protobuf/types/known/structpb"

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
	var list []*accesslogpb.AccessLog
	for _, l := range p.mesh.AccessLogs(p.node.Namespace, p.node.Labels, inbound) {
		log := &accesslogpb.AccessLog{Name: "envoy.access_loggers.file", ConfigType: &accesslogpb.AccessLog_TypedConfig{
			TypedConfig: toAny(&filelogpb.FileAccessLog{Path: l.Path, AccessLogFormat: &filelogpb.FileAccessLog_LogFormat{LogFormat: logFormat(l.AccessLog)}})}}
		if l.Filter != "" {
			log.Filter = &accesslogpb.AccessLogFilter{FilterSpecifier: &accesslogpb.AccessLogFilter_ExtensionFilter{
				ExtensionFilter: &accesslogpb.ExtensionFilter{Name: "envoy.access_loggers.extension_filters.cel",
					ConfigType: &accesslogpb.ExtensionFilter_TypedConfig{TypedConfig: toAny(&celpb.ExpressionFilter{Expression: l.Filter})}}}}
		}
		list = append(list, log)
	}
	return list
}

// withLog has a listener tell of the connections that no filter chain takes (NR), in the
// logs of its side. As in istiod the captured connections' listeners and a gateway's do.
func (p *proxy) withLog(l *listenerpb.Listener, inbound bool) *listenerpb.Listener {
	if p.mesh.Settings.NoListenerLog {
		return l
	}
	unmatched := &accesslogpb.AccessLogFilter{FilterSpecifier: &accesslogpb.AccessLogFilter_ResponseFlagFilter{
		ResponseFlagFilter: &accesslogpb.ResponseFlagFilter{Flags: []string{"NR"}}}}
	for _, log := range p.accessLogs(inbound) {
		if log.Filter == nil {
			log.Filter = unmatched
		} else {
			log.Filter = &accesslogpb.AccessLogFilter{FilterSpecifier: &accesslogpb.AccessLogFilter_AndFilter{
				AndFilter: &accesslogpb.AndFilter{Filters: []*accesslogpb.AccessLogFilter{unmatched, log.Filter}}}}
		}
		l.AccessLog = append(l.AccessLog, log)
	}
	return l
}

func logFormat(l *model.AccessLog) *corepb.SubstitutionFormatString {
	if l.EncodeJSON {
		format := stringsStruct(jsonFormat)
		if len(l.JSON) > 0 {
			var err error
			if format, err = structpb.NewStruct(l.JSON); err != nil {
				panic("translate: " + err.Error()) // it came out of JSON
			}
		}
		return &corepb.SubstitutionFormatString{OmitEmptyValues: l.OmitEmpty, Format: &corepb.SubstitutionFormatString_JsonFormat{JsonFormat: format}}
	}
	text := l.Format
	if text == "" {
		text = textFormat
	}
	return &corepb.SubstitutionFormatString{OmitEmptyValues: l.OmitEmpty, Format: &corepb.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corepb.DataSource{
		Specifier: &corepb.DataSource_InlineString{InlineString: text}}}}
}

// telemetryKey stands in keys for all telemetry of one side of the proxy.
func (p *proxy) telemetryKey(inbound bool) string {
	key := fmt.Sprintf("%+v", p.mesh.Metrics(p.node.Namespace, p.node.Labels, inbound))
	for _, l := range p.mesh.AccessLogs(p.node.Namespace, p.node.Labels, inbound) {
		key += fmt.Sprintf("|%+v %s", *l.AccessLog, l.Filter)
	}
	spec := p.mesh.Tracing(p.node.Namespace, p.node.Labels, inbound)
	if spec == nil || spec.Provider == nil {
		return key
	}
	plain := *spec
	plain.Provider = nil
	return key + fmt.Sprintf("|%+v %+v %s %v", plain, *spec.Provider, p.serviceName(), p.istioTags())
}
