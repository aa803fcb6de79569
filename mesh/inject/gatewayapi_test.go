package inject

import (
	"maps"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

func apiGateway(t *testing.T, text string) (*config.Object, *gatewayv1.Gateway) {
	t.Helper()
	objects, found := config.Decode("gateway.yaml", 1, []byte("apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n"+text+
		"  gatewayClassName: istio\n  listeners: [{name: http, port: 80, protocol: HTTP}]\n"))
	if len(found) > 0 {
		t.Fatal(found)
	}
	return objects[0], objects[0].Value.(*gatewayv1.Gateway)
}

// What is made has the labels and annotations of the infrastructure; without any, those of
// the Gateway itself.
func TestInfrastructureOfGateways(t *testing.T) {
	for text, want := range map[string]struct{ label, config string }{
		"metadata: {name: g, labels: {team: own}, annotations: {proxy.istio.io/config: '{concurrency: 1}'}}\nspec:\n": {"own", "1"},
		"metadata: {name: g, labels: {team: own}, annotations: {proxy.istio.io/config: '{concurrency: 1}'}}\nspec:\n  infrastructure:\n" +
			"    labels: {team: infra, gateway.networking.k8s.io/gateway-name: x}\n    annotations: {proxy.istio.io/config: '{concurrency: 2}'}\n": {"infra", "2"},
		"metadata: {name: g, labels: {team: own}, annotations: {proxy.istio.io/config: '{concurrency: 1}'}}\nspec:\n  infrastructure: {annotations: {a: b}}\n": {"own", ""},
	} {
		_, g := apiGateway(t, text)
		before := maps.Clone(g.Annotations)
		objects, problems := GatewayAPI(g, "g", "default", "g-istio", options)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		for _, o := range objects {
			if o.GetLabels()["team"] != want.label || o.GetLabels()[config.GatewayNameLabel] != "g" {
				t.Errorf("%s: %s has the labels %v", text, o.GetName(), o.GetLabels())
			}
		}
		pod := objects[2].(*appsv1.Deployment).Spec.Template
		_, concurrency, _ := strings.Cut(strings.Join(pod.Spec.Containers[0].Args, " "), "--concurrency ")
		if concurrency != want.config || pod.Labels["team"] != want.label {
			t.Errorf("%s: the Pods have concurrency %q, labels %v", text, concurrency, pod.Labels)
		}
		if !maps.Equal(before, g.Annotations) {
			t.Errorf("the Gateway was changed: %v", g.Annotations)
		}
	}
}

func TestProblemsOfGatewaysHavePlaces(t *testing.T) {
	o, _ := apiGateway(t, `metadata: {name: g}
spec:
  infrastructure:
    annotations:
      proxy.istio.io/config: |
        gatewayTopology:
          numTrustedProxies: two
`)
	found := Check(o, nil, options)
	if len(found) != 1 || found[0].Position.String() != "gateway.yaml:9:30" {
		t.Errorf("found %+v", found)
	}
}
