package compile

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	jwtpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

func jwtFilter(at place, m *jwtpb.JwtAuthentication) snapshot.JWT {
	f := snapshot.JWT{Providers: map[string]*snapshot.JWTProvider{}, BypassPreflight: m.GetBypassCorsPreflight()}
	for _, name := range slices.Sorted(maps.Keys(m.GetProviders())) {
		f.Providers[name] = jwtProvider(at.field("providers").key(name), m.GetProviders()[name])
	}
	for i, r := range m.GetRules() {
		at := at.field("rules").index(i)
		rule := snapshot.JWTRule{Prefix: r.GetMatch().GetPrefix()}
		if _, prefix := r.GetMatch().GetPathSpecifier().(*routepb.RouteMatch_Prefix); !prefix || len(populated(r.GetMatch().ProtoReflect())) > 1 {
			at.field("match").errorf("only a prefix: not supported otherwise")
		}
		if q := r.GetRequires(); q != nil {
			rule.Requires = new(jwtRequirement(at.field("requires"), q, f.Providers))
		}
		f.Rules = append(f.Rules, rule)
	}
	return f
}

func jwtProvider(at place, m *jwtpb.JwtProvider) *snapshot.JWTProvider {
	p := &snapshot.JWTProvider{
		Issuer: m.GetIssuer(), Audiences: m.GetAudiences(), Params: m.GetFromParams(), Cookies: m.GetFromCookies(), Forward: m.GetForward(),
		PayloadHeader: strings.ToLower(m.GetForwardPayloadHeader()), PayloadKey: m.GetPayloadInMetadata(),
		SpaceDelimited: m.GetNormalizePayloadInMetadata().GetSpaceDelimitedClaims(), ClearRouteCache: m.GetClearRouteCache(),
	}
	for _, h := range m.GetFromHeaders() {
		p.Headers = append(p.Headers, snapshot.JWTHeader{Name: strings.ToLower(h.GetName()), Prefix: h.GetValuePrefix()})
	}
	for _, c := range m.GetClaimToHeaders() {
		p.ClaimHeaders = append(p.ClaimHeaders, snapshot.JWTClaimHeader{Header: strings.ToLower(c.GetHeaderName()), Claim: c.GetClaimName()})
	}
	p.Keys = []byte(m.GetLocalJwks().GetInlineString())
	if b := m.GetLocalJwks().GetInlineBytes(); len(b) > 0 {
		p.Keys = b
	}
	if !json.Valid(p.Keys) {
		at.field("localJwks").errorf("no JSON Web Key Set; only inline ones are supported")
	}
	return p
}

func jwtRequirement(at place, m *jwtpb.JwtRequirement, known map[string]*snapshot.JWTProvider) (r snapshot.JWTRequirement) {
	switch q := m.GetRequiresType().(type) {
	case *jwtpb.JwtRequirement_ProviderName:
		if r.Provider = q.ProviderName; known[r.Provider] == nil {
			at.field("providerName").errorf("there is no provider %q", r.Provider)
		}
	case *jwtpb.JwtRequirement_RequiresAny:
		for i, one := range q.RequiresAny.GetRequirements() {
			r.Any = append(r.Any, jwtRequirement(at.field("requiresAny").index(i), one, known))
		}
	case *jwtpb.JwtRequirement_RequiresAll:
		for i, one := range q.RequiresAll.GetRequirements() {
			r.All = append(r.All, jwtRequirement(at.field("requiresAll").index(i), one, known))
		}
	case *jwtpb.JwtRequirement_AllowMissing:
		r.AllowMissing = true
	case *jwtpb.JwtRequirement_AllowMissingOrFailed:
		r.AllowMissingOrFailed = true
	}
	return r
}
