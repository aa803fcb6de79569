package compile

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	corspb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	httpdfppb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_forward_proxy/v3"
	extauthzpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	faultpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	grpcstatspb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/grpc_stats/v3"
	jwtpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	locallimitpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	ratelimitpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ratelimit/v3"
	httprbacpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	routerpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	alpnpb "istio.io/api/envoy/config/filter/http/alpn/v2alpha1"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

func (b *build) manager(at place, m *hcmpb.HttpConnectionManager, done *compiled) *snapshot.HTTPManager {
	common, commonAt := m.GetCommonHttpProtocolOptions(), at.field("commonHttpProtocolOptions")
	h := &snapshot.HTTPManager{
		StatPrefix:                m.GetStatPrefix(),
		ServerName:                m.GetServerName(),
		UseRemoteAddress:          m.GetUseRemoteAddress().GetValue(),
		XFFTrustedHops:            int(m.GetXffNumTrustedHops()),
		ForwardClientCert:         snapshot.ForwardClientCert(m.GetForwardClientCertDetails()),
		NormalizePath:             m.GetNormalizePath().GetValue(),
		MergeSlashes:              m.GetMergeSlashes(),
		EscapedSlashes:            escapedSlashes(m.GetPathWithEscapedSlashesAction()),
		Proxy100Continue:          m.GetProxy_100Continue(),
		StreamIdleTimeout:         duration(at.field("streamIdleTimeout"), m.GetStreamIdleTimeout(), 5*time.Minute),
		RequestTimeout:            duration(at.field("requestTimeout"), m.GetRequestTimeout(), 0),
		RequestHeadersTimeout:     duration(at.field("requestHeadersTimeout"), m.GetRequestHeadersTimeout(), 0),
		IdleTimeout:               duration(commonAt.field("idleTimeout"), common.GetIdleTimeout(), time.Hour),
		MaxConnectionDuration:     duration(commonAt.field("maxConnectionDuration"), common.GetMaxConnectionDuration(), 0),
		MaxStreamDuration:         duration(commonAt.field("maxStreamDuration"), common.GetMaxStreamDuration(), 0),
		DrainTimeout:              duration(at.field("drainTimeout"), m.GetDrainTimeout(), 5*time.Second),
		MaxRequestHeaderBytes:     int(number(m.GetMaxRequestHeadersKb(), 60)) << 10,
		MaxRequestHeaders:         int(number(common.GetMaxHeadersCount(), 100)),
		MaxRequestsPerConnection:  int(common.GetMaxRequestsPerConnection().GetValue()),
		PreserveExternalRequestID: m.GetPreserveExternalRequestId(),
		AlwaysSetRequestID:        m.GetAlwaysSetRequestIdInResponse(),
		GenerateRequestID:         boolean(m.GetGenerateRequestId(), true),
		Tracing:                   tracing(at, m, done),
		AccessLogs:                accessLogs(at.field("accessLog"), m.GetAccessLog()),
	}
	if d := m.GetSetCurrentClientCertDetails(); d != nil {
		h.SetCurrentCertDetails = snapshot.CertDetails{Subject: d.GetSubject().GetValue(), Cert: d.GetCert(), Chain: d.GetChain(), DNS: d.GetDns(), URI: d.GetUri()}
	}
	h.HTTP2 = http2Options(at.field("http2ProtocolOptions"), m.GetHttp2ProtocolOptions())
	h.DelayedClose = optional(at.field("delayedCloseTimeout"), m.GetDelayedCloseTimeout())
	switch m.GetCodecType() {
	case hcmpb.HttpConnectionManager_HTTP1:
		h.Codec = snapshot.CodecHTTP1
	case hcmpb.HttpConnectionManager_HTTP2:
		h.Codec = snapshot.CodecHTTP2
	case hcmpb.HttpConnectionManager_HTTP3:
		at.field("codecType").errorf("HTTP3: not supported")
	}
	upgrades(at, m, h)
	b.routesOf(at, m, h, done)
	h.Filters = httpFilters(at.field("httpFilters"), m.GetHttpFilters())
	childSpans(at, h)
	return h
}

// childSpans: only SkyWalking's tracer has spans for each try.
func childSpans(at place, h *snapshot.HTTPManager) {
	for i, f := range h.Filters {
		r, router := f.(snapshot.Router)
		if !router || !r.ChildSpans || h.Tracing == nil || h.Tracing.Provider == nil {
			continue
		}
		if h.Tracing.Provider.Protocol != snapshot.SkyWalking {
			at.field("httpFilters").index(i).field("typedConfig").field("startChildSpan").errorf("true: only supported with the tracer of SkyWalking")
		}
		h.Tracing.ChildSpans = true
	}
}

func upgrades(at place, m *hcmpb.HttpConnectionManager, h *snapshot.HTTPManager) {
	for i, u := range m.GetUpgradeConfigs() {
		name := strings.ToLower(u.GetUpgradeType())
		if name == "connect-udp" {
			at.field("upgradeConfigs").index(i).field("upgradeType").errorf("%q: not supported", u.GetUpgradeType())
		}
		if boolean(u.GetEnabled(), true) {
			h.Upgrades = append(h.Upgrades, name)
		}
	}
}

// routesOf compiles the table that is inline, or notes the name of one that comes over ADS.
func (b *build) routesOf(at place, m *hcmpb.HttpConnectionManager, h *snapshot.HTTPManager, done *compiled) {
	switch r := m.GetRouteSpecifier().(type) {
	case *hcmpb.HttpConnectionManager_Rds:
		h.RouteConfig = r.Rds.GetRouteConfigName()
		if !resource.OverADS(r.Rds.GetConfigSource()) {
			at.field("rds").field("configSource").errorf("only ads: not supported otherwise")
		}
	case *hcmpb.HttpConnectionManager_RouteConfig:
		h.Routes = b.compileRoutes(at.field("routeConfig"), r.RouteConfig)
		if boolean(r.RouteConfig.GetValidateClusters(), true) {
			done.clusters = append(done.clusters, clustersOf(h.Routes)...)
		}
	default:
		at.errorf("no routes: one of rds and routeConfig is needed")
	}
}

func clustersOf(r *snapshot.RouteConfig) []string {
	var names []string
	for _, vh := range r.VirtualHosts {
		for _, route := range vh.Routes {
			if route.Forward == nil {
				continue
			}
			for _, c := range route.Forward.Clusters {
				names = append(names, c.Name)
			}
			for _, mirror := range route.Forward.Mirrors {
				names = append(names, mirror.Cluster)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func escapedSlashes(a hcmpb.HttpConnectionManager_PathWithEscapedSlashesAction) snapshot.EscapedSlashes {
	switch a {
	case hcmpb.HttpConnectionManager_REJECT_REQUEST:
		return snapshot.RejectRequest
	case hcmpb.HttpConnectionManager_UNESCAPE_AND_REDIRECT:
		return snapshot.UnescapeAndRedirect
	case hcmpb.HttpConnectionManager_UNESCAPE_AND_FORWARD:
		return snapshot.UnescapeAndForward
	default:
		return snapshot.KeepUnchanged
	}
}

func httpFilters(at place, ms []*hcmpb.HttpFilter) []snapshot.Filter {
	var out []snapshot.Filter
	for i, m := range ms {
		at := at.index(i)
		if m.GetTypedConfig() == nil {
			at.errorf("has no typedConfig")
			continue
		}
		if m.GetIsOptional() && !understood(m.GetTypedConfig()) {
			continue
		}
		if f := httpFilter(at.field("typedConfig"), m.GetTypedConfig()); f != nil {
			out = append(out, f)
		}
	}
	for i, f := range out {
		if _, router := f.(snapshot.Router); router != (i == len(out)-1) {
			at.errorf("the router has to be there once, and last")
			break
		}
	}
	if len(out) == 0 {
		at.errorf("the router is missing")
	}
	return out
}

// httpFilter compiles an entry of the chain; nil where strict has refused it.
func httpFilter(at place, body *anypb.Any) snapshot.Filter {
	m, err := unpack(body)
	if err != nil {
		return nil
	}
	switch m := m.(type) {
	case *routerpb.Router:
		//lint:ignore SA1019 Envoy still takes it, and Istio sends it
		return snapshot.Router{SuppressEnvoyHeaders: m.GetSuppressEnvoyHeaders(), ChildSpans: m.GetStartChildSpan()}
	case *faultpb.HTTPFault:
		return fault(at, m)
	case *jwtpb.JwtAuthentication:
		return jwtFilter(at, m)
	case *httprbacpb.RBAC:
		r := rbac(at.field("rules"), m.GetRules())
		if shadow := m.GetShadowRules(); shadow != nil {
			r.Shadow, r.ShadowPrefix = new(rbac(at.field("shadowRules"), shadow)), m.GetShadowRulesStatPrefix()
		}
		return r
	case *extauthzpb.ExtAuthz:
		return extAuthz(at, m)
	case *httpdfppb.FilterConfig:
		if m.GetDnsCacheConfig() == nil {
			at.field("dnsCacheConfig").errorf("is missing")
		}
		return snapshot.HostForward{Cache: m.GetDnsCacheConfig().GetName()}
	case *corspb.Cors:
		return snapshot.CORS{}
	case *grpcstatspb.FilterConfig:
		return snapshot.GRPCStats{}
	case *alpnpb.FilterConfig:
		return alpn(m)
	case *locallimitpb.LocalRateLimit:
		return localRateLimit(at, m)
	case *ratelimitpb.RateLimit:
		return globalRateLimit(at, m)
	case typedStruct:
		return structFilter(at, m)
	default:
		at.errorf("%s is no HTTP filter", m.ProtoReflect().Descriptor().FullName())
		return nil
	}
}

// structFilter compiles Istio's own filters.
func structFilter(at place, m typedStruct) snapshot.Filter {
	valued, ok := m.(interface{ GetValue() *structpb.Struct })
	if !ok {
		return nil
	}
	switch m.GetTypeUrl() {
	case peerMetadata:
		return snapshot.PeerMetadata{Downstream: valued.GetValue().GetFields()["downstream_discovery"] != nil}
	case istioStats:
		return istioStatsOf(at, valued.GetValue())
	default:
		at.errorf("%s is no HTTP filter", bare(m.GetTypeUrl()))
		return nil
	}
}

func alpn(m *alpnpb.FilterConfig) snapshot.ALPN {
	var a snapshot.ALPN
	for _, o := range m.GetAlpnOverride() {
		switch o.GetUpstreamProtocol() {
		case alpnpb.FilterConfig_HTTP10:
			a.HTTP10 = o.GetAlpnOverride()
		case alpnpb.FilterConfig_HTTP11:
			a.HTTP11 = o.GetAlpnOverride()
		case alpnpb.FilterConfig_HTTP2:
			a.HTTP2 = o.GetAlpnOverride()
		}
	}
	return a
}

// fault compiles delays and aborts. Percentages that are absent are 0, as in Envoy.
func fault(at place, m *faultpb.HTTPFault) snapshot.Fault {
	f := snapshot.Fault{AbortGRPC: -1, Headers: headerMatches(at.field("headers"), m.GetHeaders()),
		MaxActive: int(m.GetMaxActiveFaults().GetValue())}
	if d := m.GetDelay(); d != nil {
		f.Delay = duration(at.field("delay").field("fixedDelay"), d.GetFixedDelay(), 0)
		f.DelayPercent, f.HeaderDelay = percent(d.GetPercentage()), d.GetHeaderDelay() != nil
	}
	if a := m.GetAbort(); a != nil {
		f.AbortPercent = percent(a.GetPercentage())
		switch e := a.GetErrorType().(type) {
		case *faultpb.FaultAbort_HeaderAbort_:
			f.HeaderAbort = true
		case *faultpb.FaultAbort_HttpStatus:
			f.AbortStatus = int(e.HttpStatus)
		case *faultpb.FaultAbort_GrpcStatus:
			f.AbortGRPC = int(e.GrpcStatus)
		}
	}
	return f
}

// perFilter compiles overrides of filters for a part of the routes, by the name of
// the filter that they are for.
func perFilter(at place, configs map[string]*anypb.Any) map[string]snapshot.Filter {
	if len(configs) == 0 {
		return nil
	}
	out := map[string]snapshot.Filter{}
	for name, body := range configs {
		at := at.key(name)
		m, err := unpack(body)
		if err != nil {
			continue
		}
		switch m := m.(type) {
		case *faultpb.HTTPFault:
			f := fault(at, m)
			out[f.FilterName()] = f
		case *corspb.CorsPolicy:
			if f, on := cors(at, m); on {
				out[f.FilterName()] = f
			}
		case *locallimitpb.LocalRateLimit:
			f := localRateLimit(at, m)
			out[f.FilterName()] = f
		case *ratelimitpb.RateLimitPerRoute:
			f := globalRateLimitRoute(m)
			out[f.FilterName()] = f
		default:
			at.errorf("%s is no configuration for a route", m.ProtoReflect().Descriptor().FullName())
		}
	}
	return out
}

// cors compiles a policy and tells whether it is in force.
func cors(at place, m *corspb.CorsPolicy) (snapshot.CORS, bool) {
	c := snapshot.CORS{
		AllowOrigins:     stringMatches(at.field("allowOriginStringMatch"), m.GetAllowOriginStringMatch()),
		AllowMethods:     m.GetAllowMethods(),
		AllowHeaders:     m.GetAllowHeaders(),
		ExposeHeaders:    m.GetExposeHeaders(),
		MaxAge:           m.GetMaxAge(),
		AllowCredentials: m.GetAllowCredentials().GetValue(),
		ForwardUnmatched: boolean(m.GetForwardNotMatchingPreflights(), true),
	}
	enabled := m.GetFilterEnabled()
	if enabled == nil {
		return c, true
	}
	p := percent(enabled.GetDefaultValue())
	if cmp.Compare(p, 0) != 0 && cmp.Compare(p, 100) != 0 {
		at.field("filterEnabled").errorf("%s %%: only 0 and 100 are supported", strconv.FormatFloat(p, 'g', -1, 64))
	}
	return c, p > 0
}
