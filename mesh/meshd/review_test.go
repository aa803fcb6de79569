package meshd

import (
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

// What a webhook says of an object is about that object, and has what analyze finds.
func TestReview(t *testing.T) {
	m, err := New(Options{Network: netx.System{}, Source: store.NewMemory(store.MemoryOptions{}), Cluster: true})
	if err != nil {
		t.Fatal(err)
	}
	const there = `apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: wrong}
spec: {hosts: [nobody], http: [{route: [{destination: {host: nobody}}]}]}
`
	before, _ := config.Decode("there.yaml", 1, []byte(there))
	for want, text := range map[string]string{
		"WT0450": `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec: {hosts: [reviews], http: [{match: [{uri: {prefix: /a}}], route: [{destination: {host: reviews}}]}, {match: [{uri: {prefix: /a/b}}], route: [{destination: {host: reviews}}]}]}
`,
		"no proxies are made": `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: shop}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
`,
	} {
		objects, found := config.Decode("new.yaml", 1, []byte(text))
		if len(objects) != 1 {
			t.Fatal(found)
		}
		var said []string
		for _, d := range m.review(store.NewView(before...), objects) {
			said = append(said, d.Code+" "+d.Message)
			if d.Object != objects[0].Key() {
				t.Errorf("about %s: %s", d.Object, d.Message)
			}
		}
		if !strings.Contains(strings.Join(said, "\n"), want) {
			t.Errorf("want %s, got %q", want, said)
		}
	}
}
