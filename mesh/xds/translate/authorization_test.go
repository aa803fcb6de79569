package translate_test

import (
	"slices"
	"testing"

	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacpb "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	extauthzpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	httprbacpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	meshpb "istio.io/api/mesh/v1alpha1"

	"github.com/windtunnel-mesh/windtunnel/mesh/build"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/translate"
)

const authorization = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: allow, namespace: istio-system}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/sleep], notNamespaces: [foo]}}]
    to: [{operation: {hosts: [shop], paths: ["/a/*"], methods: [GET]}}]
    when: [{key: destination.port, values: ["9080"]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: default}
spec: {action: DENY, selector: {matchLabels: {app: reviews}}, rules: [{to: [{operation: {methods: [DELETE]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: other, namespace: default}
spec: {selector: {matchLabels: {app: ratings}}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: default}
spec: {jwtRules: [{issuer: me, jwks: '{"keys":[]}'}]}
`

func TestAuthorization(t *testing.T) {
	l := listener(t, translated(t, reviewsV1, bookinfo(), authorization), "virtualInbound")
	at := slices.IndexFunc(l.FilterChains, func(c *listenerpb.FilterChain) bool { return c.Name == "0.0.0.0_9080" })
	m := new(hcmpb.HttpConnectionManager)
	if err := l.FilterChains[at].Filters[0].GetTypedConfig().UnmarshalTo(m); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range m.HttpFilters {
		got = append(got, f.Name)
	}
	if want := []string{"istio.metadata_exchange", "envoy.filters.http.jwt_authn", "envoy.filters.http.rbac", "envoy.filters.http.rbac"}; !slices.Equal(got[:4], want) {
		t.Fatalf("filters are %v", got)
	}
	deny, allow := new(httprbacpb.RBAC), new(httprbacpb.RBAC)
	for i, f := range []*httprbacpb.RBAC{deny, allow} {
		if err := m.HttpFilters[2+i].GetTypedConfig().UnmarshalTo(f); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "authorization", deny, allow)
	tcp := l.FilterChains[0]
	for _, c := range l.FilterChains {
		if c.Name == "virtualInbound" {
			tcp = c
		}
	}
	if len(tcp.Filters) != 4 || tcp.Filters[0].Name != "envoy.filters.network.rbac" {
		t.Errorf("the chain of other connections has %d filters", len(tcp.Filters))
	}
}

const custom = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: default}
spec: {action: CUSTOM, provider: {name: sample}, rules: [{to: [{operation: {paths: ["/admin"]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: maybe, namespace: default, annotations: {"istio.io/dry-run": "true"}}
spec: {rules: [{to: [{operation: {methods: [GET]}}]}]}
`

// Whom a CUSTOM policy is about the shadow rules find out; a policy on trial is only in
// the shadow rules.
func TestCustomAndDryRun(t *testing.T) {
	for _, known := range []bool{true, false} {
		host := "details.default.svc.cluster.local"
		if !known {
			host = "nobody.default.svc.cluster.local"
		}
		settings := config.DefaultMeshConfig()
		settings.ExtensionProviders = append(settings.ExtensionProviders, &meshpb.MeshConfig_ExtensionProvider{Name: "sample",
			Provider: &meshpb.MeshConfig_ExtensionProvider_EnvoyExtAuthzHttp{EnvoyExtAuthzHttp: &meshpb.MeshConfig_ExtensionProvider_EnvoyExternalAuthorizationHttpProvider{
				Service: host, Port: 9080, IncludeRequestHeadersInCheck: []string{"x-*"}}}})
		objects, _ := config.Decode("mesh.yaml", 1, []byte(bookinfo()+custom))
		m, _ := build.Build(store.NewView(objects...), build.Options{MeshConfig: settings})
		set, err := translate.New(m, nil).Proxy(reviewsV1)
		if err != nil {
			t.Fatal(err)
		}
		l := listener(t, set, "virtualInbound")
		at := slices.IndexFunc(l.FilterChains, func(c *listenerpb.FilterChain) bool { return c.Name == "0.0.0.0_9080" })
		h := new(hcmpb.HttpConnectionManager)
		if err := l.FilterChains[at].Filters[0].GetTypedConfig().UnmarshalTo(h); err != nil {
			t.Fatal(err)
		}
		first, trial := new(httprbacpb.RBAC), new(httprbacpb.RBAC)
		if err := h.HttpFilters[1].GetTypedConfig().UnmarshalTo(first); err != nil {
			t.Fatal(err)
		}
		if !known {
			if len(first.GetRules().GetPolicies()) != 1 || first.GetRules().GetAction() != rbacpb.RBAC_DENY {
				t.Errorf("with nobody to ask: %v", first)
			}
			continue
		}
		ask := new(extauthzpb.ExtAuthz)
		if err := h.HttpFilters[2].GetTypedConfig().UnmarshalTo(ask); err != nil {
			t.Fatal(err)
		}
		if err := h.HttpFilters[3].GetTypedConfig().UnmarshalTo(trial); err != nil {
			t.Fatal(err)
		}
		golden(t, "custom", first, ask, trial)
	}
}
