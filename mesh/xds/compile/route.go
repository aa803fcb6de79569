package compile

//lint:file-ignore SA1019 Envoy still takes what is deprecated, and control planes still send it.

import (
	"net/http"
	"strings"
	"time"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previoushostspb "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	previousprioritiespb "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/priority/previous_priorities/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

func (b *build) compileRoutes(at place, m *routepb.RouteConfiguration) *snapshot.RouteConfig {
	rc := &snapshot.RouteConfig{
		Name:            m.GetName(),
		IgnorePort:      m.GetIgnorePortInHostMatching(),
		RequestHeaders:  headerOps(at, "request", m.GetRequestHeadersToAdd(), m.GetRequestHeadersToRemove()),
		ResponseHeaders: headerOps(at, "response", m.GetResponseHeadersToAdd(), m.GetResponseHeadersToRemove()),
		Source:          source(m.GetMetadata()),
	}
	names, domains := map[string]bool{}, map[string]string{}
	for i, vh := range m.GetVirtualHosts() {
		at := at.field("virtualHosts").index(i)
		if names[vh.GetName()] {
			at.field("name").errorf("%q: another virtual host has this name", vh.GetName())
		}
		names[vh.GetName()] = true
		for j, domain := range vh.GetDomains() {
			key := strings.ToLower(domain)
			if other, taken := domains[key]; taken {
				at.field("domains").index(j).errorf("%q belongs to virtual host %q already", domain, other)
			}
			domains[key] = vh.GetName()
			if i := strings.IndexByte(domain, '*'); i > 0 && i < len(domain)-1 || strings.Count(domain, "*") > 1 {
				at.field("domains").index(j).errorf("%q: a wildcard is only allowed at one end", domain)
			}
		}
		rc.VirtualHosts = append(rc.VirtualHosts, b.virtualHost(at, vh))
	}
	return rc
}

func (b *build) virtualHost(at place, m *routepb.VirtualHost) *snapshot.VirtualHost {
	vh := &snapshot.VirtualHost{
		Name:                m.GetName(),
		Domains:             m.GetDomains(),
		RequestHeaders:      headerOps(at, "request", m.GetRequestHeadersToAdd(), m.GetRequestHeadersToRemove()),
		ResponseHeaders:     headerOps(at, "response", m.GetResponseHeadersToAdd(), m.GetResponseHeadersToRemove()),
		IncludeAttemptCount: m.GetIncludeRequestAttemptCount(),
		Retry:               retry(at.field("retryPolicy"), m.GetRetryPolicy()),
		RateLimits:          rateLimits(at.field("rateLimits"), m.GetRateLimits()),
		PerFilter:           perFilter(at.field("typedPerFilterConfig"), m.GetTypedPerFilterConfig()),
		Source:              source(m.GetMetadata()),
	}
	for i, r := range m.GetRoutes() {
		vh.Routes = append(vh.Routes, route(at.field("routes").index(i), r))
	}
	return vh
}

func route(at place, m *routepb.Route) *snapshot.Route {
	r := &snapshot.Route{
		Name:            m.GetName(),
		Match:           routeMatch(at.field("match"), m.GetMatch()),
		RequestHeaders:  headerOps(at, "request", m.GetRequestHeadersToAdd(), m.GetRequestHeadersToRemove()),
		ResponseHeaders: headerOps(at, "response", m.GetResponseHeadersToAdd(), m.GetResponseHeadersToRemove()),
		PerFilter:       perFilter(at.field("typedPerFilterConfig"), m.GetTypedPerFilterConfig()),
		StatPrefix:      m.GetStatPrefix(),
		Decorator:       m.GetDecorator().GetOperation(),
		Source:          source(m.GetMetadata()),
	}
	switch a := m.GetAction().(type) {
	case *routepb.Route_Route:
		r.Forward = forward(at.field("route"), a.Route)
	case *routepb.Route_Redirect:
		r.Redirect = redirect(at.field("redirect"), a.Redirect)
	case *routepb.Route_DirectResponse:
		r.Direct = direct(at.field("directResponse"), a.DirectResponse)
	}
	return r
}

func routeMatch(at place, m *routepb.RouteMatch) snapshot.RouteMatch {
	out := snapshot.RouteMatch{
		IgnoreCase: !boolean(m.GetCaseSensitive(), true),
		Headers:    headerMatches(at.field("headers"), m.GetHeaders()),
		GRPC:       m.GetGrpc() != nil,
	}
	switch p := m.GetPathSpecifier().(type) {
	case *routepb.RouteMatch_Prefix:
		out.Prefix = &p.Prefix
	case *routepb.RouteMatch_Path:
		out.Exact = &p.Path
	case *routepb.RouteMatch_SafeRegex:
		out.Regex = full(at.field("safeRegex"), p.SafeRegex)
	case *routepb.RouteMatch_PathSeparatedPrefix:
		out.PathSeparated = &p.PathSeparatedPrefix
	case *routepb.RouteMatch_ConnectMatcher_:
		out.Connect = true
	}
	for i, q := range m.GetQueryParameters() {
		match := snapshot.QueryMatch{Name: q.GetName()}
		switch s := q.GetQueryParameterMatchSpecifier().(type) {
		case *routepb.QueryParameterMatcher_StringMatch:
			match.Value = stringMatch(at.field("queryParameters").index(i).field("stringMatch"), s.StringMatch)
		case *routepb.QueryParameterMatcher_PresentMatch:
			if match.Present = s.PresentMatch; !s.PresentMatch {
				at.field("queryParameters").index(i).field("presentMatch").errorf("false: not supported")
			}
		default:
			match.Present = true
		}
		out.Query = append(out.Query, match)
	}
	for i, d := range m.GetDynamicMetadata() {
		out.Metadata = append(out.Metadata, *metadataMatch(at.field("dynamicMetadata").index(i), d))
	}
	if f := m.GetRuntimeFraction(); f != nil {
		p := percent(f.GetDefaultValue())
		out.Fraction = &p
	}
	return out
}

func forward(at place, m *routepb.RouteAction) *snapshot.Forward {
	f := &snapshot.Forward{
		ClusterHeader:        strings.ToLower(m.GetClusterHeader()),
		NotFoundStatus:       http.StatusServiceUnavailable,
		Timeout:              duration(at.field("timeout"), m.GetTimeout(), 15*time.Second),
		IdleTimeout:          optional(at.field("idleTimeout"), m.GetIdleTimeout()),
		MaxGRPCTimeout:       optional(at.field("maxGrpcTimeout"), m.GetMaxGrpcTimeout()),
		Retry:                retry(at.field("retryPolicy"), m.GetRetryPolicy()),
		PrefixRewrite:        m.GetPrefixRewrite(),
		RegexRewrite:         rewrite(at.field("regexRewrite"), m.GetRegexRewrite()),
		HostRewrite:          m.GetHostRewriteLiteral(),
		AutoHostRewrite:      m.GetAutoHostRewrite().GetValue(),
		AppendXForwardedHost: m.GetAppendXForwardedHost(),
		RateLimits:           rateLimits(at.field("rateLimits"), m.GetRateLimits()),
		IncludeHostLimits:    m.GetIncludeVhRateLimits().GetValue(),
	}
	switch m.GetClusterNotFoundResponseCode() {
	case routepb.RouteAction_NOT_FOUND:
		f.NotFoundStatus = http.StatusNotFound
	case routepb.RouteAction_INTERNAL_SERVER_ERROR:
		f.NotFoundStatus = http.StatusInternalServerError
	}
	if m.GetPriority() == corepb.RoutingPriority_HIGH {
		f.Priority = 1
	}
	if d := m.GetMaxStreamDuration(); d != nil {
		at := at.field("maxStreamDuration")
		f.MaxStreamDuration = duration(at.field("maxStreamDuration"), d.GetMaxStreamDuration(), 0)
		f.OwnStreamDuration = d.GetMaxStreamDuration() != nil
		if top := optional(at.field("grpcTimeoutHeaderMax"), d.GetGrpcTimeoutHeaderMax()); top != nil {
			f.MaxGRPCTimeout = top
		}
	}
	if f.PrefixRewrite != "" && f.RegexRewrite != nil {
		at.field("regexRewrite").errorf("cannot be together with prefixRewrite")
	}
	destinations(at, m, f)
	mirrors(at.field("requestMirrorPolicies"), m.GetRequestMirrorPolicies(), f)
	hashPolicies(at.field("hashPolicy"), m.GetHashPolicy(), f)
	for i, u := range m.GetUpgradeConfigs() {
		name := strings.ToLower(u.GetUpgradeType())
		if name == "connect-udp" {
			at.field("upgradeConfigs").index(i).field("upgradeType").errorf("%q: not supported", u.GetUpgradeType())
		}
		if u.GetConnectConfig() != nil {
			if name != "connect" {
				at.field("upgradeConfigs").index(i).field("connectConfig").errorf("only for upgradeType CONNECT")
			}
			f.Terminate = true
		}
		if f.Upgrades == nil {
			f.Upgrades = map[string]bool{}
		}
		f.Upgrades[name] = boolean(u.GetEnabled(), true)
	}
	return f
}

func destinations(at place, m *routepb.RouteAction, f *snapshot.Forward) {
	if name := m.GetCluster(); name != "" {
		f.Clusters = []snapshot.WeightedCluster{{Name: name, Weight: 1}}
	}
	weighted := m.GetWeightedClusters()
	if weighted == nil {
		return
	}
	at = at.field("weightedClusters")
	total := uint64(0)
	for i, c := range weighted.GetClusters() {
		at := at.field("clusters").index(i)
		total += uint64(c.GetWeight().GetValue())
		if c.GetName() == "" {
			at.errorf("has no name")
		}
		f.Clusters = append(f.Clusters, snapshot.WeightedCluster{
			Name:            c.GetName(),
			Weight:          c.GetWeight().GetValue(),
			RequestHeaders:  headerOps(at, "request", c.GetRequestHeadersToAdd(), c.GetRequestHeadersToRemove()),
			ResponseHeaders: headerOps(at, "response", c.GetResponseHeadersToAdd(), c.GetResponseHeadersToRemove()),
			HostRewrite:     c.GetHostRewriteLiteral(),
			PerFilter:       perFilter(at.field("typedPerFilterConfig"), c.GetTypedPerFilterConfig()),
		})
	}
	if total == 0 {
		at.errorf("the weights sum to zero")
	}
	if want := weighted.GetTotalWeight(); want != nil && uint64(want.GetValue()) != total {
		at.field("totalWeight").errorf("is %d, but the weights sum to %d", want.GetValue(), total)
	}
}

func mirrors(at place, ms []*routepb.RouteAction_RequestMirrorPolicy, f *snapshot.Forward) {
	for i, m := range ms {
		if m.GetCluster() == "" {
			at.index(i).errorf("has no cluster")
		}
		mirror := snapshot.Mirror{Cluster: m.GetCluster(), Percent: 100, NoShadowSuffix: m.GetDisableShadowHostSuffixAppend(),
			NoTrace: m.GetTraceSampled() != nil && !m.GetTraceSampled().GetValue()}
		if r := m.GetRuntimeFraction(); r != nil {
			mirror.Percent = percent(r.GetDefaultValue())
		}
		f.Mirrors = append(f.Mirrors, mirror)
	}
}

func hashPolicies(at place, ms []*routepb.RouteAction_HashPolicy, f *snapshot.Forward) {
	for i, m := range ms {
		at := at.index(i)
		h := snapshot.HashPolicy{Terminal: m.GetTerminal()}
		switch p := m.GetPolicySpecifier().(type) {
		case *routepb.RouteAction_HashPolicy_Header_:
			h.Header = strings.ToLower(p.Header.GetHeaderName())
		case *routepb.RouteAction_HashPolicy_Cookie_:
			h.Cookie = &snapshot.HashCookie{Name: p.Cookie.GetName(), Path: p.Cookie.GetPath(),
				TTL: optional(at.field("cookie").field("ttl"), p.Cookie.GetTtl())}
			for _, a := range p.Cookie.GetAttributes() {
				if h.Cookie.Attributes == nil {
					h.Cookie.Attributes = map[string]string{}
				}
				h.Cookie.Attributes[a.GetName()] = a.GetValue()
			}
		case *routepb.RouteAction_HashPolicy_ConnectionProperties_:
			if h.SourceIP = p.ConnectionProperties.GetSourceIp(); !h.SourceIP {
				continue // hashes nothing
			}
		case *routepb.RouteAction_HashPolicy_QueryParameter_:
			h.Query = p.QueryParameter.GetName()
		}
		f.HashPolicy = append(f.HashPolicy, h)
	}
}

// retry compiles a policy: one retry where no number is given; back-off from 25 ms,
// at most ten times its base.
func retry(at place, m *routepb.RetryPolicy) *snapshot.Retry {
	if m == nil {
		return nil
	}
	r := &snapshot.Retry{
		Attempts:          int(number(m.GetNumRetries(), 1)),
		PerTryTimeout:     duration(at.field("perTryTimeout"), m.GetPerTryTimeout(), 0),
		PerTryIdleTimeout: duration(at.field("perTryIdleTimeout"), m.GetPerTryIdleTimeout(), 0),
		Headers:           headerMatches(at.field("retriableHeaders"), m.GetRetriableHeaders()),
		HostAttempts:      int(max(m.GetHostSelectionRetryMaxAttempts(), 1)),
		PreviousHosts:     len(m.GetRetryHostPredicate()) > 0,
	}
	for word := range strings.SplitSeq(m.GetRetryOn(), ",") {
		if word = strings.TrimSpace(word); word != "" {
			r.On = append(r.On, word)
		}
	}
	for _, status := range m.GetRetriableStatusCodes() {
		r.Statuses = append(r.Statuses, int(status))
	}
	backOff := m.GetRetryBackOff()
	r.BackOffBase = duration(at.field("retryBackOff").field("baseInterval"), backOff.GetBaseInterval(), 25*time.Millisecond)
	r.BackOffMax = duration(at.field("retryBackOff").field("maxInterval"), backOff.GetMaxInterval(), 10*r.BackOffBase)
	if r.BackOffMax < r.BackOffBase {
		at.field("retryBackOff").errorf("maxInterval (%v) is below baseInterval (%v)", r.BackOffMax, r.BackOffBase)
	}
	for i, p := range m.GetRetryHostPredicate() {
		if !p.GetTypedConfig().MessageIs((*previoushostspb.PreviousHostsPredicate)(nil)) {
			at.field("retryHostPredicate").index(i).errorf("only previous_hosts is supported")
		}
	}
	if p := m.GetRetryPriority(); p != nil {
		at := at.field("retryPriority")
		c := new(previousprioritiespb.PreviousPrioritiesConfig)
		switch {
		case !p.GetTypedConfig().MessageIs(c):
			at.errorf("only previous_priorities is supported")
		case p.GetTypedConfig().UnmarshalTo(c) != nil || c.GetUpdateFrequency() < 1:
			at.field("updateFrequency").errorf("must be at least 1")
		default:
			r.PreviousPriorities, r.PriorityUpdate = true, int(c.GetUpdateFrequency())
		}
	}
	return r
}

func redirect(at place, m *routepb.RedirectAction) *snapshot.Redirect {
	return &snapshot.Redirect{
		Scheme:        m.GetSchemeRedirect(),
		Host:          m.GetHostRedirect(),
		Port:          port(at.field("portRedirect"), m.GetPortRedirect()),
		Path:          m.GetPathRedirect(),
		PrefixRewrite: m.GetPrefixRewrite(),
		RegexRewrite:  rewrite(at.field("regexRewrite"), m.GetRegexRewrite()),
		HTTPS:         m.GetHttpsRedirect(),
		StripQuery:    m.GetStripQuery(),
		Status:        redirectStatus(m.GetResponseCode()),
	}
}

func redirectStatus(c routepb.RedirectAction_RedirectResponseCode) int {
	switch c {
	case routepb.RedirectAction_FOUND:
		return http.StatusFound
	case routepb.RedirectAction_SEE_OTHER:
		return http.StatusSeeOther
	case routepb.RedirectAction_TEMPORARY_REDIRECT:
		return http.StatusTemporaryRedirect
	case routepb.RedirectAction_PERMANENT_REDIRECT:
		return http.StatusPermanentRedirect
	default:
		return http.StatusMovedPermanently
	}
}

func direct(at place, m *routepb.DirectResponseAction) *snapshot.DirectResponse {
	d := &snapshot.DirectResponse{Status: int(m.GetStatus())}
	switch s := m.GetBody().GetSpecifier().(type) {
	case *corepb.DataSource_InlineString:
		d.Body = s.InlineString
	case *corepb.DataSource_InlineBytes:
		d.Body = string(s.InlineBytes)
	case *corepb.DataSource_Filename:
		at.field("body").field("filename").errorf("only inline: not supported otherwise")
	}
	return d
}
