package build

import (
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

// A policy for Gateways holds for the Pods that bear their names.
func TestPoliciesOfGateways(t *testing.T) {
	objects, _ := config.Decode("p.yaml", 1, []byte(`
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p}
spec:
  targetRefs:
  - {group: gateway.networking.k8s.io, kind: Gateway, name: one}
  - {group: gateway.networking.k8s.io, kind: Gateway, name: two}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: r}
spec:
  targetRef: {group: gateway.networking.k8s.io, kind: Gateway, name: one}
  jwtRules: [{issuer: me, jwks: '{"keys":[]}'}]
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: t}
spec:
  targetRef: {group: gateway.networking.k8s.io, kind: Gateway, name: one}
  accessLogging: [{providers: [{name: envoy}]}]
`))
	m, found := Build(store.NewView(objects...), Options{})
	if len(found) > 0 {
		t.Fatal(found)
	}
	root, _ := config.Decode("r.yaml", 1, []byte(`
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: istio-system}
spec: {targetRef: {group: gateway.networking.k8s.io, kind: Gateway, name: one}}
`))
	r, _ := Build(store.NewView(root...), Options{})
	for namespace, want := range map[string]int{"istio-system": 1, "default": 0} {
		if got := len(r.Authorizations(model.Allow, namespace, map[string]string{gatewayNameLabel: "one"})); got != want {
			t.Errorf("of the root namespace %d policies hold for a Gateway in %s, want %d", got, namespace, want)
		}
	}
	for name, want := range map[string][3]bool{"one": {true, true, true}, "two": {true, false, false}, "three": {}} {
		labels := map[string]string{gatewayNameLabel: name}
		got := [3]bool{len(m.Authorizations(model.Allow, "default", labels)) == 1, len(m.Authentications("default", labels)) == 1, len(m.AccessLogs("default", labels, true)) > 0}
		if got != want {
			t.Errorf("gateway %s: policies %v, want %v", name, got, want)
		}
	}
}
