package translate

import (
	"strconv"

	matcherpb "github.com/envoyproxy/go-control-plane/envoy/config/common/matcher/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	httppb "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typematcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// protocolOptions gathers HttpProtocolOptions, which need one of three protocols.
type protocolOptions struct {
	httppb.HttpProtocolOptions
	set bool
}

func (o *protocolOptions) common() *corepb.HttpProtocolOptions {
	if o.CommonHttpProtocolOptions == nil {
		o.CommonHttpProtocolOptions = &corepb.HttpProtocolOptions{}
	}
	o.set = true
	return o.CommonHttpProtocolOptions
}

func (o *protocolOptions) pack() map[string]*anypb.Any {
	if o.UpstreamProtocolOptions == nil {
		o.UpstreamProtocolOptions = explicitHTTP1()
	}
	return map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": toAny(&o.HttpProtocolOptions)}
}

func explicitHTTP1() *httppb.HttpProtocolOptions_ExplicitHttpConfig_ {
	return &httppb.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &httppb.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &httppb.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{HttpProtocolOptions: &corepb.Http1ProtocolOptions{}}}}
}

func useDownstream() *httppb.HttpProtocolOptions_UseDownstreamProtocolConfig {
	return &httppb.HttpProtocolOptions_UseDownstreamProtocolConfig{UseDownstreamProtocolConfig: &httppb.HttpProtocolOptions_UseDownstreamHttpConfig{
		HttpProtocolOptions: &corepb.Http1ProtocolOptions{}, Http2ProtocolOptions: &corepb.Http2ProtocolOptions{}}}
}

// httpOptions sets the upstream's protocol, and the pool's per-connection limits.
func (p *proxy) httpOptions(port *model.Port, policy *model.TrafficPolicy) *protocolOptions {
	o := &protocolOptions{}
	pool := policy.Pool
	if pool == nil {
		pool = &model.Pool{}
	}
	upgrade := pool.Upgrade == model.UpgradeAlways || pool.Upgrade == model.UpgradeDefault && p.mesh.Settings.UpgradeH2
	switch {
	case pool.UseClientProtocol || port.Protocol == model.Auto:
		o.UpstreamProtocolOptions, o.set = useDownstream(), true
	case port.Protocol.IsHTTP2() || upgrade && port.Protocol == model.HTTP:
		h2 := &corepb.Http2ProtocolOptions{}
		if pool.MaxStreams > 0 {
			h2.MaxConcurrentStreams = wrapperspb.UInt32(pool.MaxStreams)
		}
		o.set = true
		o.UpstreamProtocolOptions = &httppb.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &httppb.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &httppb.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: h2}}}
	}
	if pool.MaxRequestsPerConn > 0 {
		o.common().MaxRequestsPerConnection = wrapperspb.UInt32(pool.MaxRequestsPerConn)
	}
	if pool.HTTPIdle != nil {
		o.common().IdleTimeout = durationpb.New(*pool.HTTPIdle)
	}
	if policy.Outlier != nil && len(policy.Outlier.ErrorStatuses) > 0 {
		o.set = true
		o.OutlierDetection = &httppb.HttpProtocolOptions_OutlierDetection{ErrorMatcher: statusMatcher(policy.Outlier.ErrorStatuses)}
	}
	if pool.MaxConnectionDuration > 0 {
		o.common().MaxConnectionDuration = durationpb.New(pool.MaxConnectionDuration)
	}
	return o
}

// statusMatcher matches responses with one of the statuses.
func statusMatcher(statuses []uint32) *matcherpb.MatchPredicate {
	var rules []*matcherpb.MatchPredicate
	for _, s := range statuses {
		exact := &typematcherpb.StringMatcher{MatchPattern: &typematcherpb.StringMatcher_Exact{Exact: strconv.FormatUint(uint64(s), 10)}}
		rules = append(rules, &matcherpb.MatchPredicate{Rule: &matcherpb.MatchPredicate_HttpResponseHeadersMatch{
			HttpResponseHeadersMatch: &matcherpb.HttpHeadersMatch{Headers: []*routepb.HeaderMatcher{{
				Name: ":status", HeaderMatchSpecifier: &routepb.HeaderMatcher_StringMatch{StringMatch: exact}}}}}})
	}
	if len(rules) == 1 { // a set needs two
		return rules[0]
	}
	return &matcherpb.MatchPredicate{Rule: &matcherpb.MatchPredicate_OrMatch{OrMatch: &matcherpb.MatchPredicate_MatchSet{Rules: rules}}}
}
