package translate

//lint:file-ignore SA1019 istiod sends the deprecated form, which every version of Envoy takes.

import (
	"fmt"
	"slices"
	"strings"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacpb "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	jwtpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

const (
	jwtFilter  = "envoy.filters.http.jwt_authn"
	jwtPayload = "payload"
)

// tokenFilters has the JWT filter, where the workload has rules for tokens: any
// issuer's will do, and none, but not a wrong one.
func (p *proxy) tokenFilters() []*hcmpb.HttpFilter {
	f := &jwtpb.JwtAuthentication{Providers: map[string]*jwtpb.JwtProvider{}, BypassCorsPreflight: true}
	anyOf := &jwtpb.JwtRequirementOrList{}
	for _, a := range p.mesh.Authentications(p.node.Namespace, p.node.Labels) {
		for i := range a.Rules {
			name := fmt.Sprintf("origins-%d", len(f.Providers))
			f.Providers[name] = tokenProvider(&a.Rules[i])
			// A gateway looks for the route once more: it may ask for claims.
			f.Providers[name].ClearRouteCache = p.node.Type == model.Router
			anyOf.Requirements = append(anyOf.Requirements, &jwtpb.JwtRequirement{RequiresType: &jwtpb.JwtRequirement_ProviderName{ProviderName: name}})
		}
	}
	if len(f.Providers) == 0 {
		return nil
	}
	anyOf.Requirements = append(anyOf.Requirements, &jwtpb.JwtRequirement{RequiresType: &jwtpb.JwtRequirement_AllowMissing{AllowMissing: &emptypb.Empty{}}})
	f.Rules = []*jwtpb.RequirementRule{{Match: prefixMatch("/"), RequirementType: &jwtpb.RequirementRule_Requires{
		Requires: &jwtpb.JwtRequirement{RequiresType: &jwtpb.JwtRequirement_RequiresAny{RequiresAny: anyOf}}}}}
	return []*hcmpb.HttpFilter{httpFilter(jwtFilter, f)}
}

func tokenProvider(r *model.TokenRule) *jwtpb.JwtProvider {
	m := &jwtpb.JwtProvider{
		Issuer: r.Issuer, Audiences: r.Audiences, Forward: r.Forward, ForwardPayloadHeader: r.PayloadHeader,
		FromParams: r.Params, FromCookies: r.Cookies, PayloadInMetadata: jwtPayload,
		NormalizePayloadInMetadata: &jwtpb.JwtProvider_NormalizePayload{SpaceDelimitedClaims: spaceDelimited(r.SpaceDelimited)},
		JwksSourceSpecifier: &jwtpb.JwtProvider_LocalJwks{LocalJwks: &corepb.DataSource{
			Specifier: &corepb.DataSource_InlineString{InlineString: r.Keys}}},
	}
	for _, h := range r.Headers {
		m.FromHeaders = append(m.FromHeaders, &jwtpb.JwtHeader{Name: h.Name, ValuePrefix: h.Prefix})
	}
	for _, c := range r.ClaimHeaders {
		m.ClaimToHeaders = append(m.ClaimToHeaders, &jwtpb.JwtClaimToHeader{HeaderName: c.Header, ClaimName: c.Claim})
	}
	return m
}

// spaceDelimited are the claims that are lists of words: two always, as istiod has it.
func spaceDelimited(more []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(append([]string{"permission", "scope"}, more...))))
}

// tokenPrincipal tests a claim of the token that was believed.
func tokenPrincipal(key, v string) *rbacpb.Principal {
	switch key {
	case "request.auth.principal":
		return requestPrincipal(v)
	case "request.auth.audiences":
		return claim([]string{"aud"}, glob("", v))
	case "request.auth.presenter":
		return claim([]string{"azp"}, glob("", v))
	}
	path, ok := strings.CutPrefix(key, "request.auth.claims[")
	if !ok {
		panic(invalid{fmt.Errorf("authorization by %s is not supported", key)})
	}
	return claim(strings.Split(strings.TrimSuffix(path, "]"), "]["), glob("", v))
}

// requestPrincipal is "issuer/subject", which are two claims. The subject begins
// behind the last slash.
func requestPrincipal(v string) *rbacpb.Principal {
	issuer, subject := "*", "*"
	cut := strings.LastIndexByte(v, '/')
	switch {
	case v == "*":
	case cut < 0 && strings.HasPrefix(v, "*"):
		subject = v
	case cut < 0 && strings.HasSuffix(v, "*"):
		issuer = v
	case cut < 0:
		return &rbacpb.Principal{Identifier: &rbacpb.Principal_NotId{NotId: anyPrincipal()}}
	default:
		issuer, subject = v[:cut], v[cut+1:]
	}
	return andPrincipals([]*rbacpb.Principal{claim([]string{"iss"}, glob("", issuer)), claim([]string{"sub"}, glob("", subject))})
}

func claim(path []string, m *matcherpb.StringMatcher) *rbacpb.Principal {
	return &rbacpb.Principal{Identifier: &rbacpb.Principal_Metadata{Metadata: claimMetadata(path, m)}}
}

// claimMetadata matches a claim that is a string or a list of them.
func claimMetadata(path []string, m *matcherpb.StringMatcher) *matcherpb.MetadataMatcher {
	metadata := &matcherpb.MetadataMatcher{Filter: jwtFilter}
	for _, k := range append([]string{jwtPayload}, path...) {
		metadata.Path = append(metadata.Path, &matcherpb.MetadataMatcher_PathSegment{Segment: &matcherpb.MetadataMatcher_PathSegment_Key{Key: k}})
	}
	one := func() *matcherpb.ValueMatcher {
		return &matcherpb.ValueMatcher{MatchPattern: &matcherpb.ValueMatcher_StringMatch{StringMatch: m}}
	}
	metadata.Value = &matcherpb.ValueMatcher{MatchPattern: &matcherpb.ValueMatcher_OrMatch{OrMatch: &matcherpb.OrMatcher{ValueMatchers: []*matcherpb.ValueMatcher{
		one(),
		{MatchPattern: &matcherpb.ValueMatcher_ListMatch{ListMatch: &matcherpb.ListMatcher{MatchPattern: &matcherpb.ListMatcher_OneOf{OneOf: one()}}}},
	}}}}
	return metadata
}
