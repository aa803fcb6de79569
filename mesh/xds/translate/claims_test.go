package translate_test

import (
	"slices"
	"testing"

	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	jwtpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

const claims = `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: istio-system}
spec: {jwtRules: [{issuer: me, jwks: '{"keys":[]}', spaceDelimitedClaims: [teams, scope]}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.example.com]
  gateways: [g]
  http:
  - match: [{headers: {"@request.auth.claims[Group][id]": {prefix: a}, x-user: {exact: ann}}, withoutHeaders: {"@request.auth.claims.sub": {exact: b}}}]
    route: [{destination: {host: reviews}}]
  - route: [{destination: {host: ratings}}]
`

// managerOf is the connection manager of a filter chain; "": of the first.
func managerOf(t *testing.T, l *listenerpb.Listener, chain string) *hcmpb.HttpConnectionManager {
	t.Helper()
	at := slices.IndexFunc(l.FilterChains, func(c *listenerpb.FilterChain) bool { return chain == "" || c.Name == chain })
	m := new(hcmpb.HttpConnectionManager)
	if err := l.FilterChains[at].Filters[0].GetTypedConfig().UnmarshalTo(m); err != nil {
		t.Fatal(err)
	}
	return m
}

// A gateway's routes ask for claims as istiod writes it: by metadata of the filter that
// checks tokens, which looks for the route once more. A sidecar's filter does not.
func TestClaimsAreMetadataOfTheRoute(t *testing.T) {
	set := translated(t, ingress, bookinfo(), claims)
	h := host(t, set, "http.8080", "shop.example.com:80")
	if len(h.Routes) != 2 {
		t.Fatalf("%d routes: one by claims is not for everything", len(h.Routes))
	}
	golden(t, "claims", h.Routes[0].Match)
	for _, c := range []struct {
		manager *hcmpb.HttpConnectionManager
		again   bool
	}{{managerOf(t, listener(t, set, "0.0.0.0_8080"), ""), true},
		{managerOf(t, listener(t, translated(t, reviewsV1, bookinfo(), claims), "virtualInbound"), "0.0.0.0_9080"), false}} {
		f := new(jwtpb.JwtAuthentication)
		at := slices.IndexFunc(c.manager.HttpFilters, func(f *hcmpb.HttpFilter) bool { return f.Name == "envoy.filters.http.jwt_authn" })
		if err := c.manager.HttpFilters[at].GetTypedConfig().UnmarshalTo(f); err != nil {
			t.Fatal(err)
		}
		p := f.Providers["origins-0"]
		if p.ClearRouteCache != c.again || !slices.Equal(p.NormalizePayloadInMetadata.SpaceDelimitedClaims, []string{"permission", "scope", "teams"}) {
			t.Errorf("provider %v", p)
		}
	}
}
