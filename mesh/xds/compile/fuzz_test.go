package compile_test

import (
	"maps"
	"testing"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

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

// FuzzResources: the same for all types, in the form in which they come over the wire.
func FuzzResources(f *testing.F) {
	whole := resource.Set{}
	for i, text := range []string{cluster, endpoints, listener, routes} {
		m := messages()[i]
		if err := protojson.Unmarshal([]byte(text), m); err != nil {
			f.Fatal(err)
		}
		r, err := resource.New(resource.NameOf(m), m)
		if err != nil {
			f.Fatal(err)
		}
		whole.Put(resource.Types[i], r)
		f.Add(uint8(i), r.Body.Value)
	}
	f.Add(uint8(4), []byte("\n\x07default"))
	f.Fuzz(func(t *testing.T, kind uint8, value []byte) {
		i := int(kind) % len(resource.Types)
		m := messages()[i]
		if proto.Unmarshal(value, m) != nil {
			return
		}
		r, err := resource.New(resource.NameOf(m), m)
		if err != nil {
			return
		}
		set := maps.Clone(whole)
		set[resource.Types[i]] = maps.Clone(whole[resource.Types[i]])
		set.Put(resource.Types[i], r)
		if p, err := compile.Compile(set); err == nil && p == nil {
			t.Fatal("neither a result nor an error")
		}
	})
}

// messages are empty ones, in the order of resource.Types.
func messages() []proto.Message {
	return []proto.Message{new(clusterpb.Cluster), new(endpointpb.ClusterLoadAssignment), new(listenerpb.Listener), new(routepb.RouteConfiguration), new(tlspb.Secret)}
}
