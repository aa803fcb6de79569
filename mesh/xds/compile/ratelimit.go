package compile

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	ratelimitcommonpb "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	locallimitpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	ratelimitpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ratelimit/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// localRateLimit compiles a limit. Percentages that are absent are 0, as in Envoy: a
// filter that nobody enabled does nothing.
func localRateLimit(at place, m *locallimitpb.LocalRateLimit) *snapshot.LocalRateLimit {
	l := &snapshot.LocalRateLimit{
		StatPrefix:        m.GetStatPrefix(),
		Status:            limitStatus(m.GetStatus()),
		Enabled:           percent(m.GetFilterEnabled().GetDefaultValue()),
		Enforced:          percent(m.GetFilterEnforced().GetDefaultValue()),
		RequestHeaders:    literalOps(at, "request", "requestHeadersToAddWhenNotEnforced", m.GetRequestHeadersToAddWhenNotEnforced()),
		ResponseHeaders:   literalOps(at, "response", "responseHeadersToAdd", m.GetResponseHeadersToAdd()),
		Stage:             m.GetStage(),
		Spare:             !boolean(m.GetAlwaysConsumeDefaultTokenBucket(), true),
		ResourceExhausted: m.GetRateLimitedAsResourceExhausted(),
		TellQuota:         m.GetEnableXRatelimitHeaders() == ratelimitcommonpb.XRateLimitHeadersRFCVersion_DRAFT_VERSION_03,
		Limits:            rateLimits(at.field("rateLimits"), m.GetRateLimits()),
		VirtualHost: map[ratelimitcommonpb.VhRateLimitsOptions]snapshot.VirtualHostLimits{
			ratelimitcommonpb.VhRateLimitsOptions_INCLUDE: snapshot.LimitsInclude,
			ratelimitcommonpb.VhRateLimitsOptions_IGNORE:  snapshot.LimitsIgnore,
		}[m.GetVhRateLimits()],
	}
	if b := m.GetTokenBucket(); b != nil {
		l.Bucket = new(tokenBucket(at.field("tokenBucket"), b))
	}
	for i, d := range m.GetDescriptors() {
		at := at.field("descriptors").index(i)
		own := snapshot.LocalDescriptor{Bucket: tokenBucket(at.field("tokenBucket"), d.GetTokenBucket())}
		for j, e := range d.GetEntries() {
			if e.GetValue() == "" {
				at.field("entries").index(j).errorf("without a value, for any: not supported")
			}
			own.Entries = append(own.Entries, snapshot.DescriptorEntry{Key: e.GetKey(), Value: e.GetValue()})
		}
		if slices.ContainsFunc(l.Descriptors, func(o snapshot.LocalDescriptor) bool { return slices.Equal(o.Entries, own.Entries) }) {
			at.errorf("another descriptor has these entries")
		}
		l.Descriptors = append(l.Descriptors, own)
	}
	return l
}

// tokenBucket fills in what Envoy does: one token each time. Envoy takes no interval
// below 50 ms.
func tokenBucket(at place, m *typepb.TokenBucket) snapshot.TokenBucket {
	b := snapshot.TokenBucket{Max: m.GetMaxTokens(), PerFill: number(m.GetTokensPerFill(), 1),
		Interval: duration(at.field("fillInterval"), m.GetFillInterval(), 0)}
	if b.Interval < 50*time.Millisecond {
		at.field("fillInterval").errorf("%v is too short; 50ms is the least", b.Interval)
	}
	return b
}

// limitStatus is 429 where a status is none that turns away.
func limitStatus(m *typepb.HttpStatus) int {
	if code := int(m.GetCode()); code >= 400 {
		return code
	}
	return http.StatusTooManyRequests
}

// literalOps are header changes without command operators.
func literalOps(at place, side, field string, add []*corepb.HeaderValueOption) snapshot.HeaderOps {
	ops := headerOps(at, side, add, nil)
	for i := range ops.Set {
		if text := strings.ReplaceAll(ops.Set[i].Value, "%%", ""); strings.Contains(text, "%") {
			at.field(field).index(i).errorf("command operators in values: not supported")
		}
		ops.Set[i].Value = strings.ReplaceAll(ops.Set[i].Value, "%%", "%")
	}
	return ops
}

func rateLimits(at place, ms []*routepb.RateLimit) []snapshot.RateLimit {
	var list []snapshot.RateLimit
	for i, m := range ms {
		l := snapshot.RateLimit{Stage: m.GetStage().GetValue()}
		for j, a := range m.GetActions() {
			l.Actions = append(l.Actions, rateLimitAction(at.index(i).field("actions").index(j), a))
		}
		list = append(list, l)
	}
	return list
}

func rateLimitAction(at place, m *routepb.RateLimit_Action) (a snapshot.RateLimitAction) {
	switch s := m.GetActionSpecifier().(type) {
	case *routepb.RateLimit_Action_DestinationCluster_:
		a.Key, a.DestinationCluster = "destination_cluster", true
	case *routepb.RateLimit_Action_RemoteAddress_:
		a.Key, a.RemoteAddress = "remote_address", true
	case *routepb.RateLimit_Action_GenericKey_:
		a.Key, a.Value, a.Generic = cmp.Or(s.GenericKey.GetDescriptorKey(), "generic_key"), s.GenericKey.GetDescriptorValue(), true
	case *routepb.RateLimit_Action_RequestHeaders_:
		a.Key, a.Header, a.SkipAbsent = s.RequestHeaders.GetDescriptorKey(), strings.ToLower(s.RequestHeaders.GetHeaderName()), s.RequestHeaders.GetSkipIfAbsent()
	case *routepb.RateLimit_Action_QueryParameters_:
		a.Key, a.Query, a.SkipAbsent = s.QueryParameters.GetDescriptorKey(), s.QueryParameters.GetQueryParameterName(), s.QueryParameters.GetSkipIfAbsent()
	case *routepb.RateLimit_Action_HeaderValueMatch_:
		h := s.HeaderValueMatch
		a.Key, a.Value = cmp.Or(h.GetDescriptorKey(), "header_match"), h.GetDescriptorValue()
		a.Headers, a.ExpectMatch = headerMatches(at.field("headerValueMatch").field("headers"), h.GetHeaders()), boolean(h.GetExpectMatch(), true)
	}
	return a
}

// globalRateLimit compiles the filter that asks a service. The timeout is 20 ms where
// none is written; limits hold for all requests where no percentage is.
func globalRateLimit(at place, m *ratelimitpb.RateLimit) *snapshot.GlobalRateLimit {
	f := &snapshot.GlobalRateLimit{
		Domain:          m.GetDomain(),
		Stage:           m.GetStage(),
		RequestType:     m.GetRequestType(),
		Service:         grpcService(at.field("rateLimitService").field("grpcService"), m.GetRateLimitService().GetGrpcService()),
		Timeout:         duration(at.field("timeout"), m.GetTimeout(), 20*time.Millisecond),
		Deny:            m.GetFailureModeDeny(),
		Status:          limitStatus(m.GetRateLimitedStatus()),
		StatusOnError:   http.StatusInternalServerError,
		StatPrefix:      m.GetStatPrefix(),
		Exhausted:       m.GetRateLimitedAsResourceExhausted(),
		NoHeader:        m.GetDisableXEnvoyRatelimitedHeader(),
		TellQuota:       m.GetEnableXRatelimitHeaders() == ratelimitpb.RateLimit_DRAFT_VERSION_03,
		ResponseHeaders: literalOps(at, "response", "responseHeadersToAdd", m.GetResponseHeadersToAdd()),
		Limits:          rateLimits(at.field("rateLimits"), m.GetRateLimits()),
		Enabled:         100,
		Enforce:         100,
	}
	if e := m.GetStatusOnError(); e != nil {
		f.StatusOnError = int(e.GetCode())
	}
	if e := m.GetFilterEnabled(); e != nil {
		f.Enabled = percent(e.GetDefaultValue())
	}
	if e := m.GetFilterEnforced(); e != nil {
		f.Enforce = percent(e.GetDefaultValue())
	}
	if v := m.GetRateLimitService().GetTransportApiVersion(); v != corepb.ApiVersion_V3 {
		at.field("rateLimitService").field("transportApiVersion").errorf("%v: only V3 is supported", v)
	}
	return f
}

func globalRateLimitRoute(m *ratelimitpb.RateLimitPerRoute) *snapshot.GlobalRateLimitRoute {
	return &snapshot.GlobalRateLimitRoute{Domain: m.GetDomain(),
		VirtualHost: map[ratelimitpb.RateLimitPerRoute_VhRateLimitsOptions]snapshot.VirtualHostLimits{
			ratelimitpb.RateLimitPerRoute_INCLUDE: snapshot.LimitsInclude,
			ratelimitpb.RateLimitPerRoute_IGNORE:  snapshot.LimitsIgnore,
		}[m.GetVhRateLimits()]}
}

// grpcService compiles who the proxy itself calls.
func grpcService(at place, m *corepb.GrpcService) snapshot.GRPCService {
	s := snapshot.GRPCService{Cluster: m.GetEnvoyGrpc().GetClusterName(), Authority: m.GetEnvoyGrpc().GetAuthority()}
	if s.Cluster == "" {
		at.errorf("only envoyGrpc with a cluster is supported")
	}
	for _, h := range m.GetInitialMetadata() {
		s.Metadata = append(s.Metadata, snapshot.DescriptorEntry{Key: strings.ToLower(h.GetKey()), Value: h.GetValue()})
	}
	return s
}
