package translate

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacpb "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	httprbacpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcprbacpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	uritemplatepb "github.com/envoyproxy/go-control-plane/envoy/extensions/path/match/uri_template/v3"
	matcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// peerPrincipal is the filter state in which Istio's proxies keep the verified peer.
const peerPrincipal = "io.istio.peer_principal"

// verdicts are in the order of their filters.
var verdicts = []struct {
	verdict model.Verdict
	action  rbacpb.RBAC_Action
}{{model.Audit, rbacpb.RBAC_LOG}, {model.Deny, rbacpb.RBAC_DENY}, {model.Allow, rbacpb.RBAC_ALLOW}}

// authorizationFilters are the RBAC filters of the workload: one for each action that it has policies of.
func (p *proxy) authorizationFilters() []*hcmpb.HttpFilter {
	var list []*hcmpb.HttpFilter
	for _, v := range verdicts {
		rules, shadow := p.rbac(v.verdict, v.action, false, false), p.rbac(v.verdict, v.action, true, false)
		if rules != nil || shadow != nil {
			list = append(list, httpFilter("envoy.filters.http.rbac", &httprbacpb.RBAC{Rules: rules, ShadowRules: shadow, ShadowRulesStatPrefix: shadowPrefix(v.verdict)}))
		}
	}
	return list
}

// tcpAuthorization is authorizationFilters for connections that are not HTTP.
func (p *proxy) tcpAuthorization() []*listenerpb.Filter {
	list := p.tcpCustom()
	for _, v := range verdicts {
		rules, shadow := p.rbac(v.verdict, v.action, false, true), p.rbac(v.verdict, v.action, true, true)
		if rules != nil || shadow != nil {
			list = append(list, networkFilter("envoy.filters.network.rbac", &tcprbacpb.RBAC{Rules: rules, ShadowRules: shadow, StatPrefix: "tcp.", ShadowRulesStatPrefix: shadowPrefix(v.verdict)}))
		}
	}
	return list
}

func shadowPrefix(v model.Verdict) string {
	return map[model.Verdict]string{model.Allow: "istio_dry_run_allow_", model.Deny: "istio_dry_run_deny_"}[v]
}

// rbac has the policies of a verdict: those that are enforced, or those that only count.
func (p *proxy) rbac(v model.Verdict, action rbacpb.RBAC_Action, dry, tcp bool) *rbacpb.RBAC {
	policies := slices.DeleteFunc(p.mesh.Authorizations(v, p.node.Namespace, p.node.Labels), func(a *model.AuthorizationPolicy) bool { return a.DryRun != dry })
	if len(policies) == 0 {
		return nil
	}
	rules := &rbacpb.RBAC{Action: action, Policies: map[string]*rbacpb.Policy{}}
	for _, a := range policies {
		name := func(i int) string { return fmt.Sprintf("ns[%s]-policy[%s]-rule[%d]", a.Namespace, a.Name, i) }
		if len(a.Rules) == 0 { // nobody is matched
			rules.Policies[name(0)] = matchNever()
		}
		for i, r := range a.Rules {
			if policy := rbacPolicy(&r, action, tcp); policy != nil {
				rules.Policies[name(i)] = policy
			}
		}
	}
	return rules
}

func anyPermission() *rbacpb.Permission {
	return &rbacpb.Permission{Rule: &rbacpb.Permission_Any{Any: true}}
}

func anyPrincipal() *rbacpb.Principal {
	return &rbacpb.Principal{Identifier: &rbacpb.Principal_Any{Any: true}}
}

func matchNever() *rbacpb.Policy {
	return &rbacpb.Policy{
		Permissions: []*rbacpb.Permission{{Rule: &rbacpb.Permission_NotRule{NotRule: anyPermission()}}},
		Principals:  []*rbacpb.Principal{{Identifier: &rbacpb.Principal_NotId{NotId: anyPrincipal()}}},
	}
}

// rbacPolicy is one rule; nil where it can never match: TCP has no HTTP properties, so
// that an ALLOW rule with one allows nothing, while of other rules what is left holds.
func rbacPolicy(r *model.AuthorizationRule, action rbacpb.RBAC_Action, tcp bool) *rbacpb.Policy {
	policy := &rbacpb.Policy{}
	to, from := r.To, r.From
	if len(to) == 0 {
		to = [][]model.Attribute{nil}
	}
	if len(from) == 0 {
		from = [][]model.Attribute{nil}
	}
	for _, list := range to {
		if and, ok := permissions(append(list[:len(list):len(list)], conditions(r.When, false)...), action, tcp); ok {
			policy.Permissions = append(policy.Permissions, andPermissions(and))
		}
	}
	for _, list := range from {
		if and, ok := principals(append(list[:len(list):len(list)], conditions(r.When, true)...), action, tcp); ok {
			policy.Principals = append(policy.Principals, andPrincipals(and))
		}
	}
	if len(policy.Permissions) == 0 || len(policy.Principals) == 0 {
		return nil
	}
	return policy
}

// conditions are those about the source (or the request's fields), or those about the destination.
func conditions(when []model.Attribute, source bool) []model.Attribute {
	var list []model.Attribute
	for _, a := range when {
		destination := strings.HasPrefix(a.Key, "destination.") || a.Key == "connection.sni"
		if destination != source {
			list = append(list, a)
		}
	}
	return list
}

// ofHTTP tells whether only HTTP has a property.
func ofHTTP(key string) bool { return strings.HasPrefix(key, "request.") || key == "remote.ip" }

// conjunction makes the terms of a rule that must all hold, out of what one value of
// one of them is, what any of several is and what the opposite is. On a TCP port a
// property that only HTTP has is left out of a DENY, which makes it wider, and makes an
// ALLOW that can never hold: then ok is false.
func conjunction[T any](list []model.Attribute, action rbacpb.RBAC_Action, tcp bool,
	one func(key, value string) T, or func([]T) T, not func(T) T) (and []T, ok bool) {
	anyOf := func(key string, values []string) T {
		terms := make([]T, len(values))
		for i, v := range values {
			terms[i] = one(key, v)
		}
		return or(terms)
	}
	for _, a := range list {
		if tcp && ofHTTP(a.Key) {
			if action == rbacpb.RBAC_ALLOW {
				return nil, false
			}
			continue
		}
		if len(a.Values) > 0 {
			and = append(and, anyOf(a.Key, a.Values))
		}
		if len(a.NotValues) > 0 {
			and = append(and, not(anyOf(a.Key, a.NotValues)))
		}
	}
	return and, true
}

func permissions(list []model.Attribute, action rbacpb.RBAC_Action, tcp bool) ([]*rbacpb.Permission, bool) {
	return conjunction(list, action, tcp, permission,
		func(terms []*rbacpb.Permission) *rbacpb.Permission {
			return &rbacpb.Permission{Rule: &rbacpb.Permission_OrRules{OrRules: &rbacpb.Permission_Set{Rules: terms}}}
		},
		func(term *rbacpb.Permission) *rbacpb.Permission {
			return &rbacpb.Permission{Rule: &rbacpb.Permission_NotRule{NotRule: term}}
		})
}

func andPermissions(list []*rbacpb.Permission) *rbacpb.Permission {
	if len(list) == 0 {
		list = []*rbacpb.Permission{anyPermission()}
	}
	return &rbacpb.Permission{Rule: &rbacpb.Permission_AndRules{AndRules: &rbacpb.Permission_Set{Rules: list}}}
}

func principals(list []model.Attribute, action rbacpb.RBAC_Action, tcp bool) ([]*rbacpb.Principal, bool) {
	return conjunction(list, action, tcp, principal,
		func(terms []*rbacpb.Principal) *rbacpb.Principal {
			return &rbacpb.Principal{Identifier: &rbacpb.Principal_OrIds{OrIds: &rbacpb.Principal_Set{Ids: terms}}}
		},
		func(term *rbacpb.Principal) *rbacpb.Principal {
			return &rbacpb.Principal{Identifier: &rbacpb.Principal_NotId{NotId: term}}
		})
}

func andPrincipals(list []*rbacpb.Principal) *rbacpb.Principal {
	if len(list) == 0 {
		list = []*rbacpb.Principal{anyPrincipal()}
	}
	return &rbacpb.Principal{Identifier: &rbacpb.Principal_AndIds{AndIds: &rbacpb.Principal_Set{Ids: list}}}
}

func permission(key, v string) *rbacpb.Permission {
	switch key {
	case "request.host":
		return headerPermission(":authority", v, true)
	case "request.method":
		return headerPermission(":method", v, false)
	case "request.path":
		return pathPermission(v)
	case "destination.ip":
		return &rbacpb.Permission{Rule: &rbacpb.Permission_DestinationIp{DestinationIp: mustPrefix(v)}}
	case "destination.port":
		port, err := strconv.ParseUint(v, 10, 16)
		if err != nil {
			panic(invalid{fmt.Errorf("destination.port %q: %w", v, err)})
		}
		return &rbacpb.Permission{Rule: &rbacpb.Permission_DestinationPort{DestinationPort: uint32(port)}}
	case "connection.sni":
		return &rbacpb.Permission{Rule: &rbacpb.Permission_RequestedServerName{RequestedServerName: glob("", v)}}
	default:
		panic(invalid{fmt.Errorf("authorization by %s is not supported", key)})
	}
}

func headerPermission(name, v string, ignoreCase bool) *rbacpb.Permission {
	return &rbacpb.Permission{Rule: &rbacpb.Permission_Header{Header: headerGlob(name, v, ignoreCase)}}
}

func headerGlob(name, v string, ignoreCase bool) *routepb.HeaderMatcher {
	h := &routepb.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routepb.HeaderMatcher_PresentMatch{PresentMatch: true}}
	if v != "*" {
		m := glob("", v)
		m.IgnoreCase = ignoreCase
		h.HeaderMatchSpecifier = &routepb.HeaderMatcher_StringMatch{StringMatch: m}
	}
	return h
}

func pathPermission(v string) *rbacpb.Permission {
	if strings.Contains(v, "{*}") || strings.Contains(v, "{**}") {
		template := strings.ReplaceAll(strings.ReplaceAll(v, "{**}", "**"), "{*}", "*")
		return &rbacpb.Permission{Rule: &rbacpb.Permission_UriTemplate{UriTemplate: &corepb.TypedExtensionConfig{
			Name: "uri-template", TypedConfig: toAny(&uritemplatepb.UriTemplateMatchConfig{PathTemplate: template})}}}
	}
	return &rbacpb.Permission{Rule: &rbacpb.Permission_UrlPath{UrlPath: &matcherpb.PathMatcher{Rule: &matcherpb.PathMatcher_Path{Path: glob("", v)}}}}
}

func principal(key, v string) *rbacpb.Principal {
	switch key {
	case "source.principal":
		return peer(glob("spiffe://", v))
	case "source.namespace":
		return peer(regexString(".*/ns/" + starred(v) + "/.*"))
	case "source.serviceAccount":
		namespace, account, _ := strings.Cut(v, "/")
		return peer(regexString("spiffe://.+/ns/" + starred(namespace) + "/sa/" + starred(account)))
	case "source.trustDomain":
		return peer(regexString("spiffe://" + starred(v) + "/.*"))
	case "source.ip":
		return &rbacpb.Principal{Identifier: &rbacpb.Principal_DirectRemoteIp{DirectRemoteIp: mustPrefix(v)}}
	case "remote.ip":
		return &rbacpb.Principal{Identifier: &rbacpb.Principal_RemoteIp{RemoteIp: mustPrefix(v)}}
	}
	if name, ok := strings.CutPrefix(key, "request.headers["); ok {
		return &rbacpb.Principal{Identifier: &rbacpb.Principal_Header{Header: headerGlob(strings.TrimSuffix(name, "]"), v, false)}}
	}
	return tokenPrincipal(key, v)
}

func peer(m *matcherpb.StringMatcher) *rbacpb.Principal {
	return &rbacpb.Principal{Identifier: &rbacpb.Principal_FilterState{FilterState: &matcherpb.FilterStateMatcher{
		Key: peerPrincipal, Matcher: &matcherpb.FilterStateMatcher_StringMatch{StringMatch: m}}}}
}

// glob is Istio's pattern: "*" alone is anything that is there, "a*" a prefix, "*a" a
// suffix. Before is part of the property, not of the pattern.
func glob(before, v string) *matcherpb.StringMatcher {
	switch {
	case v == "*":
		return regexString(".+")
	case strings.HasPrefix(v, "*") && before == "":
		return &matcherpb.StringMatcher{MatchPattern: &matcherpb.StringMatcher_Suffix{Suffix: v[1:]}}
	case strings.HasPrefix(v, "*"):
		return regexString(regexp.QuoteMeta(before) + ".*" + regexp.QuoteMeta(v[1:]))
	case strings.HasSuffix(v, "*"):
		return &matcherpb.StringMatcher{MatchPattern: &matcherpb.StringMatcher_Prefix{Prefix: before + strings.TrimSuffix(v, "*")}}
	default:
		return &matcherpb.StringMatcher{MatchPattern: &matcherpb.StringMatcher_Exact{Exact: before + v}}
	}
}

func regexString(expr string) *matcherpb.StringMatcher {
	return &matcherpb.StringMatcher{MatchPattern: &matcherpb.StringMatcher_SafeRegex{SafeRegex: &matcherpb.RegexMatcher{Regex: expr}}}
}

// starred quotes a pattern for a regular expression.
func starred(v string) string { return strings.ReplaceAll(regexp.QuoteMeta(v), `\*`, ".*") }

func mustPrefix(v string) *corepb.CidrRange {
	if p, err := netip.ParsePrefix(v); err == nil {
		v = p.Masked().String()
	}
	r, err := prefixRange(v)
	if err != nil {
		panic(invalid{err})
	}
	return r
}
