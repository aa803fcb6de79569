package translate_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"bytes"
	"encoding/json"

	"github.com/windtunnel-mesh/windtunnel/mesh/build"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/translate"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// pod is a running Pod of the sample.
func pod(name, namespace, ip, account string, labels ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: Pod\nmetadata:\n  name: %s\n  namespace: %s\n  labels:\n", name, namespace)
	for _, l := range labels {
		k, v, _ := strings.Cut(l, "=")
		fmt.Fprintf(&b, "    %s: %q\n", k, v)
	}
	fmt.Fprintf(&b, "spec:\n  serviceAccountName: %s\n  containers: [{name: app, image: app}]\n"+
		"status:\n  podIP: %s\n  conditions: [{type: Ready, status: \"True\"}]\n---\n", account, ip)
	return b.String()
}

func service(name, namespace, vip, ports, selector string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: %s}\nspec:\n  clusterIP: %s\n  ports: [%s]\n  selector: {%s}\n---\n",
		name, namespace, vip, ports, selector)
}

// bookinfo has the addresses of the mesh that the facts of TestSample are from.
func bookinfo() string {
	const http = "{name: http, port: 9080}"
	var b strings.Builder
	for i, s := range []string{"details", "ratings", "reviews", "productpage"} {
		b.WriteString(service(s, "default", fmt.Sprintf("10.96.0.%d", 10+i), http, "app: "+s))
	}
	for _, p := range []struct{ app, version, ip string }{
		{"details", "v1", "10.1.0.1"}, {"ratings", "v1", "10.1.0.2"}, {"reviews", "v1", "10.1.0.3"},
		{"reviews", "v2", "10.1.0.4"}, {"reviews", "v3", "10.1.0.5"}, {"productpage", "v1", "10.1.0.6"},
	} {
		b.WriteString(pod(p.app+"-"+p.version, "default", p.ip, "bookinfo-"+p.app,
			"app="+p.app, "version="+p.version, "security.istio.io/tlsMode=istio"))
	}
	b.WriteString(service("istio-ingressgateway", "istio-system", "10.96.1.1",
		"{name: http, port: 80, targetPort: 8080}, {name: https, port: 443, targetPort: 8443}", "istio: ingressgateway"))
	b.WriteString(pod("istio-ingressgateway-0", "istio-system", "10.1.1.1", "gateway", "istio=ingressgateway", "app=istio-ingressgateway"))
	return b.String()
}

const rules = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
  - {name: v3, labels: {version: v3}}
---
`

const gateway = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: bookinfo-gateway}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ["*"]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bookinfo}
spec:
  hosts: ["*"]
  gateways: [bookinfo-gateway]
  http:
  - match:
    - uri: {exact: /productpage}
    - uri: {prefix: /static}
    route:
    - destination: {host: productpage, port: {number: 9080}}
---
`

var (
	productpage = model.Node{Type: model.Sidecar, IP: "10.1.0.6", ID: "productpage-v1", Namespace: "default",
		Labels: map[string]string{"app": "productpage", "version": "v1"}}
	reviewsV1 = model.Node{Type: model.Sidecar, IP: "10.1.0.3", ID: "reviews-v1", Namespace: "default",
		Labels: map[string]string{"app": "reviews", "version": "v1"}}
	ingress = model.Node{Type: model.Router, IP: "10.1.1.1", ID: "istio-ingressgateway-0", Namespace: "istio-system",
		Labels: map[string]string{"istio": "ingressgateway", "app": "istio-ingressgateway"}}
)

// meshOf builds the mesh of some YAML; errors end the test.
func meshOf(t testing.TB, yaml ...string) *model.Mesh {
	t.Helper()
	objects, found := config.Decode("mesh.yaml", 1, []byte(strings.Join(yaml, "---\n")))
	m, more := build.Build(store.NewView(objects...), build.Options{MeshConfig: config.DefaultMeshConfig()})
	for _, d := range append(found, more...) {
		if d.Severity == config.Error {
			t.Fatalf("%s: %s", d.Position, d.Message)
		}
	}
	return m
}

func translated(t testing.TB, n model.Node, yaml ...string) resource.Set {
	t.Helper()
	set, err := translate.New(meshOf(t, yaml...), nil).Proxy(n)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func get[M proto.Message](t testing.TB, set resource.Set, typ resource.Type, name string) M {
	t.Helper()
	r := set[typ][name]
	if r == nil {
		t.Fatalf("%s %q is not there: %v", typ, name, set.Names(typ))
	}
	m, err := r.Unmarshal(typ)
	if err != nil {
		t.Fatal(err)
	}
	return m.(M)
}

func cluster(t testing.TB, set resource.Set, name string) *clusterpb.Cluster {
	return get[*clusterpb.Cluster](t, set, resource.Cluster, name)
}

func listener(t testing.TB, set resource.Set, name string) *listenerpb.Listener {
	return get[*listenerpb.Listener](t, set, resource.Listener, name)
}

// host returns one virtual host of a table.
func host(t testing.TB, set resource.Set, table, name string) *routepb.VirtualHost {
	t.Helper()
	r := get[*routepb.RouteConfiguration](t, set, resource.Route, table)
	for _, h := range r.VirtualHosts {
		if h.Name == name {
			return h
		}
	}
	t.Fatalf("route %s has no virtual host %s", table, name)
	return nil
}

// golden compares a message with a file of at most 200 lines.
func golden(t *testing.T, name string, messages ...proto.Message) {
	t.Helper()
	var got bytes.Buffer
	for _, m := range messages {
		raw, err := protojson.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Indent(&got, raw, "", " "); err != nil {
			t.Fatal(err)
		}
		got.WriteByte('\n')
	}
	if n := strings.Count(got.String(), "\n"); n > 200 {
		t.Errorf("golden %s has %d lines, more than 200", name, n)
	}
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got.Bytes()) {
		t.Errorf("%s differs (go test -update rewrites it), got:\n%s", path, got.String())
	}
}
