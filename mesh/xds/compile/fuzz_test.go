package compile_test

import (
	"testing"

	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// FuzzListener: whatever a control plane sends is compiled or refused.
func FuzzListener(f *testing.F) {
	f.Add(listener)
	f.Add(`{"name":"l","filterChains":[{"filters":[]}]}`)
	f.Add(`{"name":"l","address":{"socketAddress":{"address":"::","portValue":70000}},"defaultFilterChain":{}}`)
	f.Fuzz(func(t *testing.T, text string) {
		m := new(listenerpb.Listener)
		if protojson.Unmarshal([]byte(text), m) != nil {
			return
		}
		set := sidecar(t)
		r, err := resource.New(resource.NameOf(m), m)
		if err != nil {
			return
		}
		set.Put(resource.Listener, r)
		if p, err := compile.Compile(set); err == nil && p == nil {
			t.Fatal("neither a result nor an error")
		}
	})
}
