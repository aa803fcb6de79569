package translate_test

import (
	"slices"
	"testing"

	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	httprbacpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
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
