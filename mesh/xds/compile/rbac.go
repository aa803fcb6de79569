package compile

//lint:file-ignore SA1019 Envoy still takes what is deprecated, and control planes still send it.

import (
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacpb "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	uritemplatepb "github.com/envoyproxy/go-control-plane/envoy/extensions/path/match/uri_template/v3"
	matcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// peerPrincipal is the filter state in which Istio's proxies keep the verified peer's URI.
const peerPrincipal = "io.istio.peer_principal"

func rbac(at place, m *rbacpb.RBAC) snapshot.RBAC {
	r := snapshot.RBAC{Enforced: m != nil, Action: snapshot.RBACAction(m.GetAction())}
	for _, name := range slices.Sorted(maps.Keys(m.GetPolicies())) {
		at, p := at.field("policies").key(name), m.GetPolicies()[name]
		policy := snapshot.RBACPolicy{Name: name}
		for i, t := range p.GetPermissions() {
			policy.Permissions = append(policy.Permissions, permission(at.field("permissions").index(i), t))
		}
		for i, t := range p.GetPrincipals() {
			policy.Principals = append(policy.Principals, principal(at.field("principals").index(i), t))
		}
		r.Policies = append(r.Policies, policy)
	}
	return r
}

func permission(at place, m *rbacpb.Permission) (t snapshot.RBACTerm) {
	set := func(at place, list []*rbacpb.Permission) (out []snapshot.RBACTerm) {
		for i, p := range list {
			out = append(out, permission(at.field("rules").index(i), p))
		}
		return out
	}
	switch r := m.GetRule().(type) {
	case *rbacpb.Permission_Any:
		t.Any = r.Any
	case *rbacpb.Permission_AndRules:
		t.And = set(at.field("andRules"), r.AndRules.GetRules())
	case *rbacpb.Permission_OrRules:
		t.Or = set(at.field("orRules"), r.OrRules.GetRules())
	case *rbacpb.Permission_NotRule:
		t.Not = new(permission(at.field("notRule"), r.NotRule))
	case *rbacpb.Permission_Header:
		t.Header = header(at.field("header"), r.Header)
	case *rbacpb.Permission_UrlPath:
		t.Path = stringMatch(at.field("urlPath").field("path"), r.UrlPath.GetPath())
	case *rbacpb.Permission_UriTemplate:
		t.Template = template(at.field("uriTemplate"), r.UriTemplate)
	case *rbacpb.Permission_DestinationIp:
		t.DestinationIP = prefix(at.field("destinationIp"), r.DestinationIp)
	case *rbacpb.Permission_DestinationPort:
		t.DestinationPort = port(at.field("destinationPort"), r.DestinationPort)
	case *rbacpb.Permission_RequestedServerName:
		t.ServerName = stringMatch(at.field("requestedServerName"), r.RequestedServerName)
	case *rbacpb.Permission_Metadata:
		t.Metadata = metadataMatch(at.field("metadata"), r.Metadata)
	}
	return t
}

func principal(at place, m *rbacpb.Principal) (t snapshot.RBACTerm) {
	set := func(at place, list []*rbacpb.Principal) (out []snapshot.RBACTerm) {
		for i, p := range list {
			out = append(out, principal(at.field("ids").index(i), p))
		}
		return out
	}
	switch r := m.GetIdentifier().(type) {
	case *rbacpb.Principal_Any:
		t.Any = r.Any
	case *rbacpb.Principal_AndIds:
		t.And = set(at.field("andIds"), r.AndIds.GetIds())
	case *rbacpb.Principal_OrIds:
		t.Or = set(at.field("orIds"), r.OrIds.GetIds())
	case *rbacpb.Principal_NotId:
		t.Not = new(principal(at.field("notId"), r.NotId))
	case *rbacpb.Principal_Header:
		t.Header = header(at.field("header"), r.Header)
	case *rbacpb.Principal_UrlPath:
		t.Path = stringMatch(at.field("urlPath").field("path"), r.UrlPath.GetPath())
	case *rbacpb.Principal_DirectRemoteIp:
		t.DirectIP = prefix(at.field("directRemoteIp"), r.DirectRemoteIp)
	case *rbacpb.Principal_RemoteIp:
		t.RemoteIP = prefix(at.field("remoteIp"), r.RemoteIp)
	case *rbacpb.Principal_Authenticated_:
		if t.Principal = stringMatch(at.field("authenticated").field("principalName"), r.Authenticated.GetPrincipalName()); t.Principal == nil {
			t.Authenticated = true
		}
	case *rbacpb.Principal_FilterState:
		if at := at.field("filterState"); r.FilterState.GetKey() != peerPrincipal {
			at.field("key").errorf("%q: not supported", r.FilterState.GetKey())
		} else if t.Principal = stringMatch(at.field("stringMatch"), r.FilterState.GetStringMatch()); t.Principal == nil {
			at.errorf("has no stringMatch")
		}
	case *rbacpb.Principal_Metadata:
		t.Metadata = metadataMatch(at.field("metadata"), r.Metadata)
	}
	return t
}

func header(at place, m *routepb.HeaderMatcher) *snapshot.HeaderMatch {
	h := headerMatch(at, m)
	return &h
}

func prefix(at place, m *corepb.CidrRange) netip.Prefix {
	list := prefixes(at, []*corepb.CidrRange{m})
	if len(list) == 0 {
		return netip.Prefix{}
	}
	return list[0]
}

// template compiles a URI template: "*" is one segment, "**" any number of them;
// variables in braces are one segment, or what they say.
func template(at place, m *corepb.TypedExtensionConfig) *regexp.Regexp {
	body, err := unpack(m.GetTypedConfig())
	t, ok := body.(*uritemplatepb.UriTemplateMatchConfig)
	if err != nil || !ok {
		at.errorf("only envoy.extensions.path.match.uri_template: not supported otherwise")
		return nil
	}
	if strings.ContainsAny(t.GetPathTemplate(), "{}=") {
		at.errorf("variables in %q: not supported", t.GetPathTemplate())
		return nil
	}
	expr := regexp.QuoteMeta(t.GetPathTemplate())
	expr = strings.ReplaceAll(expr, `\*\*`, `.*`)
	expr = strings.ReplaceAll(expr, `\*`, `[^/]+`)
	return compileRegex(at, expr, `\A(?:`, `)\z`)
}

func metadataMatch(at place, m *matcherpb.MetadataMatcher) *snapshot.MetadataMatch {
	out := &snapshot.MetadataMatch{Filter: m.GetFilter(), Invert: m.GetInvert(), Value: valueMatch(at.field("value"), m.GetValue())}
	for _, s := range m.GetPath() {
		out.Path = append(out.Path, s.GetKey())
	}
	return out
}

func valueMatch(at place, m *matcherpb.ValueMatcher) (v snapshot.ValueMatch) {
	switch p := m.GetMatchPattern().(type) {
	case *matcherpb.ValueMatcher_PresentMatch:
		v.Present = &p.PresentMatch
	case *matcherpb.ValueMatcher_BoolMatch:
		v.Bool = &p.BoolMatch
	case *matcherpb.ValueMatcher_StringMatch:
		v.String = stringMatch(at.field("stringMatch"), p.StringMatch)
	case *matcherpb.ValueMatcher_ListMatch:
		v.OneOf = new(valueMatch(at.field("listMatch").field("oneOf"), p.ListMatch.GetOneOf()))
	case *matcherpb.ValueMatcher_OrMatch:
		for i, one := range p.OrMatch.GetValueMatchers() {
			v.Or = append(v.Or, valueMatch(at.field("orMatch").index(i), one))
		}
	}
	return v
}
