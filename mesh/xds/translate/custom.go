package translate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacpb "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	extauthzpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	httprbacpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	tcpauthzpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/ext_authz/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcprbacpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	matcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
)

const (
	rbacFilter    = "envoy.filters.http.rbac"
	tcpRBACFilter = "envoy.filters.network.rbac"
	customPrefix  = "istio_ext_authz_"
)

// customPolicies are the workload's CUSTOM policies as rules, and whom they ask; nil
// where nobody can be asked.
func (p *proxy) customPolicies(tcp bool) (rules *rbacpb.RBAC, provider string, a *model.Authorizer) {
	policies := p.mesh.Authorizations(model.Custom, p.node.Namespace, p.node.Labels)
	if len(policies) == 0 {
		return nil, "", nil
	}
	provider = policies[0].Provider
	a = p.mesh.Settings.Authorizers[provider]
	rules = &rbacpb.RBAC{Action: rbacpb.RBAC_DENY, Policies: map[string]*rbacpb.Policy{}}
	for _, policy := range policies {
		if policy.Provider != provider { // a workload asks one provider
			a = nil
		}
		for i := range policy.Rules {
			// As in an ALLOW policy, what only HTTP has never holds on TCP.
			if r := rbacPolicy(&policy.Rules[i], rbacpb.RBAC_ALLOW, tcp); r != nil {
				rules.Policies[fmt.Sprintf("istio-ext-authz-%s-ns[%s]-policy[%s]-rule[%d]", provider, policy.Namespace, policy.Name, i)] = r
			}
		}
	}
	if a != nil && p.mesh.Service(a.Host, p.node.Namespace) == nil {
		a = nil
	}
	return rules, provider, a
}

// customFilters are two for CUSTOM policies: shadow rules find out which requests are to
// be asked about, and tell it the filter that asks, by metadata. Where nobody can be
// asked, nobody is let in.
func (p *proxy) customFilters() []*hcmpb.HttpFilter {
	rules, provider, a := p.customPolicies(false)
	switch {
	case rules == nil:
		return nil
	case a == nil:
		return []*hcmpb.HttpFilter{httpFilter(rbacFilter, &httprbacpb.RBAC{Rules: denyAll()})}
	}
	return []*hcmpb.HttpFilter{
		httpFilter(rbacFilter, &httprbacpb.RBAC{ShadowRules: rules, ShadowRulesStatPrefix: customPrefix}),
		httpFilter("envoy.filters.http.ext_authz", authorizer(provider, a)),
	}
}

func denyAll() *rbacpb.RBAC {
	return &rbacpb.RBAC{Action: rbacpb.RBAC_DENY, Policies: map[string]*rbacpb.Policy{
		"default-deny-all-due-to-bad-CUSTOM-action": {Permissions: []*rbacpb.Permission{anyPermission()}, Principals: []*rbacpb.Principal{anyPrincipal()}}}}
}

// tcpCustom are customFilters for connections that are not HTTP. Providers that speak HTTP
// are not asked about them.
func (p *proxy) tcpCustom() []*listenerpb.Filter {
	rules, provider, a := p.customPolicies(true)
	switch {
	case rules == nil, a != nil && (!a.GRPC || len(rules.Policies) == 0):
		return nil
	case a == nil:
		return []*listenerpb.Filter{networkFilter(tcpRBACFilter, &tcprbacpb.RBAC{Rules: denyAll(), StatPrefix: "tcp."})}
	}
	return []*listenerpb.Filter{
		networkFilter(tcpRBACFilter, &tcprbacpb.RBAC{ShadowRules: rules, ShadowRulesStatPrefix: customPrefix, StatPrefix: "tcp."}),
		networkFilter("envoy.filters.network.ext_authz", &tcpauthzpb.ExtAuthz{StatPrefix: "tcp.", FailureModeAllow: a.FailOpen,
			TransportApiVersion: corepb.ApiVersion_V3, GrpcService: grpcAuthorizer(a), FilterEnabledMetadata: matchedBy(tcpRBACFilter, provider)}),
	}
}

// matchedBy holds where the shadow rules of a provider have matched.
func matchedBy(filter, provider string) *matcherpb.MetadataMatcher {
	return &matcherpb.MetadataMatcher{
		Filter: filter,
		Path: []*matcherpb.MetadataMatcher_PathSegment{{Segment: &matcherpb.MetadataMatcher_PathSegment_Key{
			Key: customPrefix + "shadow_effective_policy_id"}}},
		Value: &matcherpb.ValueMatcher{MatchPattern: &matcherpb.ValueMatcher_StringMatch{StringMatch: &matcherpb.StringMatcher{
			MatchPattern: &matcherpb.StringMatcher_Prefix{Prefix: "istio-ext-authz-" + provider + "-"}}}},
	}
}

func grpcAuthorizer(a *model.Authorizer) *corepb.GrpcService {
	cluster := names.Outbound(a.Port, "", a.Host)
	return &corepb.GrpcService{
		TargetSpecifier: &corepb.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corepb.GrpcService_EnvoyGrpc{
			ClusterName: cluster, Authority: strings.ReplaceAll(cluster, "|", "_.")}}, // a name with | is no authority
		Timeout: durationpb.New(a.Timeout),
	}
}

// authorizer is the filter that asks a service.
func authorizer(provider string, a *model.Authorizer) *extauthzpb.ExtAuthz {
	cluster := names.Outbound(a.Port, "", a.Host)
	f := &extauthzpb.ExtAuthz{
		FailureModeAllow: a.FailOpen, TransportApiVersion: corepb.ApiVersion_V3,
		FilterEnabledMetadata: matchedBy(rbacFilter, provider),
	}
	if a.StatusOnError != 0 {
		f.StatusOnError = &typepb.HttpStatus{Code: typepb.StatusCode(a.StatusOnError)}
	}
	if b := a.Body; b != nil {
		f.WithRequestBody = &extauthzpb.BufferSettings{MaxRequestBytes: b.Max, AllowPartialMessage: b.Partial, PackAsBytes: b.Bytes}
	}
	if a.GRPC {
		f.Services = &extauthzpb.ExtAuthz_GrpcService{GrpcService: grpcAuthorizer(a)}
		return f
	}
	f.AllowedHeaders = headerPatterns(a.RequestHeaders)
	f.Services = &extauthzpb.ExtAuthz_HttpService{HttpService: httpAuthorizer(cluster, a)}
	return f
}

func httpAuthorizer(cluster string, a *model.Authorizer) *extauthzpb.HttpService {
	s := &extauthzpb.HttpService{PathPrefix: a.PathPrefix, ServerUri: &corepb.HttpUri{
		Uri: "http://" + a.Host, HttpUpstreamType: &corepb.HttpUri_Cluster{Cluster: cluster}, Timeout: durationpb.New(a.Timeout)}}
	if len(a.AddHeaders) > 0 {
		s.AuthorizationRequest = &extauthzpb.AuthorizationRequest{}
		for _, k := range slices.Sorted(maps.Keys(a.AddHeaders)) {
			s.AuthorizationRequest.HeadersToAdd = append(s.AuthorizationRequest.HeadersToAdd, &corepb.HeaderValue{Key: k, Value: a.AddHeaders[k]})
		}
	}
	if len(a.UpstreamOnAllow)+len(a.DownstreamOnDeny)+len(a.DownstreamOnOK) > 0 {
		s.AuthorizationResponse = &extauthzpb.AuthorizationResponse{
			AllowedUpstreamHeaders: headerPatterns(a.UpstreamOnAllow), AllowedClientHeaders: headerPatterns(a.DownstreamOnDeny),
			AllowedClientHeadersOnSuccess: headerPatterns(a.DownstreamOnOK),
		}
	}
	return s
}

// headerPatterns are names, with a * at one end for a prefix or suffix.
func headerPatterns(list []string) *matcherpb.ListStringMatcher {
	if len(list) == 0 {
		return nil
	}
	m := &matcherpb.ListStringMatcher{}
	for _, name := range list {
		pattern := glob("", name)
		pattern.IgnoreCase = true
		m.Patterns = append(m.Patterns, pattern)
	}
	return m
}
