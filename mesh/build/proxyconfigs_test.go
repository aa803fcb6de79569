package build

import (
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

func TestProxyConfigs(t *testing.T) {
	objects, found := config.Decode("p.yaml", 1, []byte(`
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {name: a}
spec:
  concurrency: 2
  environmentVariables: {REGION: eu, ISTIO_META_DNS_CAPTURE: "false", ISTIO_META_NETWORK: n}
  image: {imageType: distroless}
---
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {name: b}
spec: {selector: {matchLabels: {app: gone}}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: web, image: nginx}]}
`))
	if len(found) > 0 {
		t.Fatal(found)
	}
	_, found = Build(store.NewView(objects...), Options{})
	want := []struct{ place, message string }{
		{"p.yaml:7:91", "ISTIO_META_NETWORK is not supported"},
		{"p.yaml:8:10", "image has no effect here"},
		{"p.yaml:13:18", "no Pod in namespace default has the labels app=gone"},
	}
	for _, w := range want {
		n := 0
		for _, d := range found {
			if d.Position.String() == w.place && strings.Contains(d.Message, w.message) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s %s: found %d times in %+v", w.place, w.message, n, found)
		}
	}
	if len(found) != len(want) {
		t.Errorf("%d findings: %+v", len(found), found)
	}
}
