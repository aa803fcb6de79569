package bootstrap_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/bootstrap"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestStaticFileBecomesASnapshot(t *testing.T) {
	b, err := bootstrap.Parse("static.yaml", read(t, "static.yaml"), []byte(`admin: {address: {socket_address: {port_value: 9902}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if b.Admin.String() != "127.0.0.1:9902" || b.Dynamic != nil {
		t.Errorf("admin %v, dynamic %v", b.Admin, b.Dynamic)
	}
	p, err := compile.Compile(b.Static)
	if err != nil {
		t.Fatal(err)
	}
	l := p.Listeners[0]
	if l.Address.String() != "0.0.0.0:10000" || !l.BindToPort {
		t.Errorf("listener %+v", l)
	}
	routes := l.Chains[0].HTTP.Routes.VirtualHosts[0].Routes
	if f := routes[1].Forward; f.Timeout != 2500*time.Millisecond || f.Clusters[0].Name != "backend" || f.Retry.Attempts != 2 || routes[0].Redirect.Status != 302 {
		t.Errorf("routes %+v %+v", routes[0].Redirect, f)
	}
	if c := p.Clusters["backend"]; len(c.Endpoints[0].Endpoints) != 2 || c.ConnectTimeout != 250*time.Millisecond {
		t.Errorf("cluster %+v", c)
	}
}

// Envoy's examples write "codec_type: auto" in places.
func TestEnumsInAnyCase(t *testing.T) {
	text := strings.NewReplacer("codec_type: AUTO", "codec_type: http2", "lb_policy: ROUND_ROBIN", "lb_policy: Least_Request").Replace(string(read(t, "static.yaml")))
	b, err := bootstrap.Parse("f.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if p := b.Proto.GetStaticResources().GetClusters()[0].GetLbPolicy(); p != clusterpb.Cluster_LEAST_REQUEST {
		t.Errorf("the policy is %v", p)
	}
}

func TestControlPlane(t *testing.T) {
	b, err := bootstrap.Parse("dynamic.yaml", read(t, "dynamic.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	d := b.Dynamic
	if d == nil || !d.Delta || d.Cluster != "xds-grpc" || strings.Join(d.Addresses, " ") != "istiod.istio-system.svc:15012" {
		t.Fatalf("ADS %+v", d)
	}
	if d.TLS.SNI != "istiod.istio-system.svc" || d.TLS.InsecureSkipVerify || d.Files.Roots != "/var/run/secrets/istio/root-cert.pem" || *d.TLS.MatchSANs[0].Exact != "istiod.istio-system.svc" {
		t.Errorf("TLS %+v, files %+v", d.TLS, d.Files)
	}
	if len(b.Static[resource.Cluster]) != 0 {
		t.Errorf("clusters that only carry xDS are not the proxy's: %v", b.Static.Names(resource.Cluster))
	}
	if app := b.Node.GetMetadata().GetFields()["LABELS"].GetStructValue().GetFields()["app"].GetStringValue(); app != "details" {
		t.Errorf("metadata %v", b.Node.GetMetadata())
	}
}

func TestProblems(t *testing.T) {
	static := string(read(t, "static.yaml"))
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"unknown field": {"admin:\n  adress: {}\n", []string{`f.yaml:2:3: admin.adress: unknown field "adress"`}},
		"no mapping":    {"- a\n", []string{"f.yaml:1:1: a bootstrap is a mapping"}},
		"bad enum": {strings.Replace(static, "lb_policy: ROUND_ROBIN", "lb_policy: ROUNDABOUT", 1),
			[]string{`f.yaml:36:7: staticResources.clusters[0].lbPolicy: invalid value for enum field lbPolicy: "ROUNDABOUT"`}},
		"unknown extension": {strings.Replace(static, "http.router.v3.Router", "http.rooter.v3.Rooter", 1), []string{
			`f.yaml:31:23: staticResources.listeners[0].filterChains[0].filters[0].typedConfig.httpFilters[0].typedConfig["@type"]: envoy.extensions.filters.http.rooter.v3.Rooter: not supported`}},
		"unsupported, all at once": {strings.NewReplacer("codec_type: AUTO", "via: tunnel", "lb_policy: ROUND_ROBIN", "lrs_server: {self: {}}").Replace(static), []string{
			"f.yaml:36:7: staticResources.clusters[0].lrsServer: not supported",
			"f.yaml:14:17: staticResources.listeners[0].filterChains[0].filters[0].typedConfig.via: not supported"}},
		"unknown cluster":  {strings.Replace(static, "cluster: backend\n", "cluster: other\n", 1), []string{`f.yaml:5:7: staticResources.listeners[0]: unknown cluster "other"`}},
		"of the bootstrap": {"overload_manager: {refresh_interval: 1s}\nheader_prefix: x\n", []string{"f.yaml:1:1: overloadManager: not supported", "f.yaml:2:1: headerPrefix: not supported"}},
		"no carrier": {strings.Replace(string(read(t, "dynamic.yaml")), "cluster_name: xds-grpc}}", "cluster_name: xds}}", 1),
			[]string{`f.yaml:17:35: `, `there is no static cluster "xds"`}},
		"runtime, nested": {strings.Replace(static, "static_resources:", "layered_runtime: {layers: [{name: a, static_layer: {envoy: {resource_limits: {listener: {other: {connection_limit: 5}, front: {connection_limit: 5}}}}}}]}\nstatic_resources:", 1),
			[]string{`layeredRuntime.layers[0].staticLayer.envoy.resourceLimits.listener.front.connectionLimit: envoy.resource_limits.listener.front.connection_limit: not supported`}},
		"runtime": {"layered_runtime: {layers: [{name: a, static_layer: {upstream.healthy_panic_threshold: 0}}]}", []string{"upstream.healthy_panic_threshold: not supported"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := bootstrap.Parse("f.yaml", []byte(tt.text))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(strings.ReplaceAll(err.Error(), "\u00a0", " "), want) {
					t.Errorf("got  %v\nwant %s", err, want)
				}
			}
		})
	}
}

func TestDump(t *testing.T) {
	b, err := bootstrap.Parse("static.yaml", read(t, "static.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	set := resource.Set{}
	for typ, all := range b.Static {
		for _, r := range all {
			set.Put(typ, r)
		}
	}
	secret := new(tlspb.Secret)
	if err := protojson.Unmarshal([]byte(`{"name":"s","tlsCertificate":{"privateKey":{"inlineString":"hush"}}}`), secret); err != nil {
		t.Fatal(err)
	}
	r, err := resource.New("s", secret)
	if err != nil {
		t.Fatal(err)
	}
	set.Put(resource.Secret, r)
	text, err := bootstrap.Dump(set, b)
	if err != nil {
		t.Fatal(err)
	}
	var dump struct {
		Configs []struct {
			Type    string           `json:"@type"`
			Static  []map[string]any `json:"staticClusters"`
			Dynamic []map[string]any `json:"dynamicActiveSecrets"`
		}
	}
	if err := json.Unmarshal(text, &dump); err != nil {
		t.Fatal(err)
	}
	if c := dump.Configs[1]; !strings.HasSuffix(c.Type, "envoy.admin.v3.ClustersConfigDump") || len(c.Static) != 1 {
		t.Errorf("clusters %+v", c)
	}
	if len(dump.Configs[5].Dynamic) != 1 || bytes.Contains(text, []byte("hush")) || !bytes.Contains(text, []byte("[redacted]")) {
		t.Errorf("secrets: %s", text)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(read(f, "static.yaml"))
	f.Add(read(f, "dynamic.yaml"))
	f.Add([]byte("a: &x [*x]\n"))
	f.Add([]byte(`{"node":{"id":"a"},"static_resources":{"clusters":[{"name":"a","type":"EDS"}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if b, err := bootstrap.Parse("f.yaml", data); err == nil {
			if _, err := bootstrap.Dump(b.Static, b); err != nil {
				t.Errorf("a bootstrap that parses cannot be dumped: %v", err)
			}
		}
	})
}
