package config

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	meshpb "istio.io/api/mesh/v1alpha1"
)

func TestMeshConfigIsLaidOverTheDefaults(t *testing.T) {
	m, diags := DecodeMeshConfig("mesh.yaml", 1, []byte(`
enableTracing: false
enableAutoMtls: false
outboundTrafficPolicy: {mode: REGISTRY_ONLY}
defaultServiceExportTo: ["."]
extensionProviders:
- {name: envoy, envoyFileAccessLog: {path: /tmp/log}}
- {name: zipkin, zipkin: {service: zipkin.istio-system.svc.cluster.local, port: 9411}}
defaultConfig:
  proxyMetadata: {A: "1"}
  drainDuration: 5s
`))
	if len(diags) > 0 || m == nil {
		t.Fatalf("%v", diags)
	}
	if m.EnableTracing || m.EnableAutoMtls.GetValue() || m.OutboundTrafficPolicy.Mode != meshpb.MeshConfig_OutboundTrafficPolicy_REGISTRY_ONLY {
		t.Errorf("explicit zeros must win over defaults: %v", m)
	}
	if c := m.DefaultConfig; c.DrainDuration.AsDuration().Seconds() != 5 || c.ProxyMetadata["A"] != "1" || c.StatusPort != 15020 {
		t.Errorf("defaultConfig must be merged: %v", c)
	}
	if p := m.ExtensionProviders; len(p) != 4 || p[2].GetEnvoyFileAccessLog().GetPath() != "/tmp/log" || p[3].Name != "zipkin" {
		t.Errorf("providers %v", p)
	}
	if m.TrustDomain != "cluster.local" || len(m.DefaultServiceExportTo) != 1 || m.DefaultServiceExportTo[0] != "." {
		t.Errorf("%v", m)
	}
}

func TestMeshConfigEmptyAndWrong(t *testing.T) {
	m, diags := DecodeMeshConfig("mesh.yaml", 1, nil)
	if len(diags) > 0 || !proto.Equal(m, DefaultMeshConfig()) {
		t.Errorf("%v %v", m, diags)
	}
	m, diags = DecodeMeshConfig("mesh.yaml", 1, []byte("accessLogFil: x\nconnectTimeout: 10\n"))
	if m != nil || len(diags) != 2 || diags[0].Hint != `did you mean "accessLogFile"?` || diags[1].Position.String() != "mesh.yaml:2:17" {
		t.Errorf("%v %v", m, diags)
	}
}

// What proxies need cannot be taken from them: a zero that somebody wrote is no default.
func TestMeshConfigEmptied(t *testing.T) {
	m, diags := DecodeMeshConfig("mesh.yaml", 1, []byte(`
defaultConfig:
  concurrency: 0
  statusPort: 0
  discoveryAddress: ""
  drainDuration: 0s
  terminationDrainDuration: 0s
`))
	var got []string
	for _, d := range diags {
		got = append(got, d.Position.String()+" "+d.Path)
	}
	want := []string{"mesh.yaml:4:15 defaultConfig.statusPort", "mesh.yaml:5:21 defaultConfig.discoveryAddress", "mesh.yaml:6:18 defaultConfig.drainDuration"}
	if m != nil || !slices.Equal(got, want) {
		t.Errorf("found %q", got)
	}
}
