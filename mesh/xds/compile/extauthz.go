package compile

//lint:file-ignore SA1019 Envoy still takes what is deprecated, and control planes still send it.

import (
	"net/http"
	"time"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extauthzpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	tcpauthzpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/ext_authz/v3"
	matcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// extAuthz compiles the filter that asks a service. Over gRPC a check may take 200 ms
// where nothing else is written; over HTTP the time is always written.
func extAuthz(at place, m *extauthzpb.ExtAuthz) *snapshot.ExtAuthz {
	f := &snapshot.ExtAuthz{
		FailOpen:      m.GetFailureModeAllow(),
		StatusOnError: http.StatusForbidden,
		Headers:       listMatches(at.field("allowedHeaders"), m.GetAllowedHeaders()),
		StatPrefix:    m.GetStatPrefix(),
	}
	if s := m.GetStatusOnError(); s != nil {
		f.StatusOnError = int(s.GetCode())
	}
	if b := m.GetWithRequestBody(); b != nil {
		f.Body = &snapshot.ExtAuthzBody{Max: int(b.GetMaxRequestBytes()), Partial: b.GetAllowPartialMessage(), Bytes: b.GetPackAsBytes()}
	}
	if e := m.GetFilterEnabledMetadata(); e != nil {
		f.Enabled = metadataMatch(at.field("filterEnabledMetadata"), e)
	}
	if v := m.GetTransportApiVersion(); v == corepb.ApiVersion_V2 {
		at.field("transportApiVersion").errorf("%v: only V3 is supported", v)
	}
	switch s := m.GetServices().(type) {
	case *extauthzpb.ExtAuthz_GrpcService:
		at := at.field("grpcService")
		f.GRPC = new(grpcService(at, s.GrpcService))
		f.Timeout = duration(at.field("timeout"), s.GrpcService.GetTimeout(), 200*time.Millisecond)
	case *extauthzpb.ExtAuthz_HttpService:
		at, h := at.field("httpService"), s.HttpService
		f.Timeout = duration(at.field("serverUri").field("timeout"), h.GetServerUri().GetTimeout(), 0)
		f.HTTP = extAuthzHTTP(at, h)
		f.Headers = append(f.Headers, listMatches(at.field("authorizationRequest").field("allowedHeaders"), h.GetAuthorizationRequest().GetAllowedHeaders())...)
	default:
		at.errorf("no service: one of grpcService and httpService is needed")
	}
	return f
}

// tcpExtAuthz compiles the network filter that asks a service: over gRPC, in 200 ms
// where nothing else is written.
func tcpExtAuthz(at place, m *tcpauthzpb.ExtAuthz) *snapshot.ExtAuthz {
	f := &snapshot.ExtAuthz{FailOpen: m.GetFailureModeAllow(), StatPrefix: m.GetStatPrefix()}
	if e := m.GetFilterEnabledMetadata(); e != nil {
		f.Enabled = metadataMatch(at.field("filterEnabledMetadata"), e)
	}
	if v := m.GetTransportApiVersion(); v == corepb.ApiVersion_V2 {
		at.field("transportApiVersion").errorf("%v: only V3 is supported", v)
	}
	at = at.field("grpcService")
	f.GRPC = new(grpcService(at, m.GetGrpcService()))
	f.Timeout = duration(at.field("timeout"), m.GetGrpcService().GetTimeout(), 200*time.Millisecond)
	return f
}

func extAuthzHTTP(at place, m *extauthzpb.HttpService) *snapshot.ExtAuthzHTTP {
	response, in := m.GetAuthorizationResponse(), at.field("authorizationResponse")
	h := &snapshot.ExtAuthzHTTP{
		Cluster:        m.GetServerUri().GetCluster(),
		PathPrefix:     m.GetPathPrefix(),
		Upstream:       listMatches(in.field("allowedUpstreamHeaders"), response.GetAllowedUpstreamHeaders()),
		UpstreamAppend: listMatches(in.field("allowedUpstreamHeadersToAppend"), response.GetAllowedUpstreamHeadersToAppend()),
		ClientOK:       listMatches(in.field("allowedClientHeadersOnSuccess"), response.GetAllowedClientHeadersOnSuccess()),
		Client:         listMatches(in.field("allowedClientHeaders"), response.GetAllowedClientHeaders()),
	}
	for _, v := range m.GetAuthorizationRequest().GetHeadersToAdd() {
		h.Add = append(h.Add, snapshot.DescriptorEntry{Key: v.GetKey(), Value: v.GetValue()})
	}
	return h
}

func listMatches(at place, m *matcherpb.ListStringMatcher) []snapshot.StringMatch {
	return stringMatches(at.field("patterns"), m.GetPatterns())
}
