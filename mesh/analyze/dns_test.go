package analyze

import (
	"testing"

	meshpb "istio.io/api/mesh/v1alpha1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

// Where sidecars answer DNS a ServiceEntry for TCP has an address of its own, unless it opts out.
func TestEntriesWhereSidecarsAnswerDNS(t *testing.T) {
	for labels, want := range map[string]bool{"{}": false, `{networking.istio.io/enable-autoallocate-ip: "false"}`: true} {
		objects, found := config.Decode("e.yaml", 1, []byte("apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a, labels: "+labels+
			"}\nspec: {hosts: [a.example.com], resolution: DNS, ports: [{number: 1, name: tcp, protocol: TCP}]}\n"))
		if len(found) > 0 {
			t.Fatal(found)
		}
		mesh := config.DefaultMeshConfig()
		mesh.DefaultConfig = &meshpb.ProxyConfig{ProxyMetadata: map[string]string{config.DNSCapture: "true"}}
		warned := false
		for _, f := range Analyze(Input{View: store.NewView(objects...), MeshConfig: mesh}) {
			warned = warned || f.Code == CodeEntryAddresses
		}
		if warned != want {
			t.Errorf("labels %s: warned is %v", labels, warned)
		}
	}
}
