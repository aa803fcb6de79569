package dump_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/bootstrap"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/dump"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// sample is what a proxy's admin port would tell.
func sample(t *testing.T) *dump.Dump {
	t.Helper()
	set := resource.Set{}
	put := func(typ resource.Type, name string, m proto.Message) {
		r, err := resource.New(name, m)
		if err != nil {
			t.Fatal(err)
		}
		set.Put(typ, r)
	}
	place := &corepb.Metadata{FilterMetadata: map[string]*structpb.Struct{"windtunnel": {Fields: map[string]*structpb.Value{
		"source": structpb.NewStringValue("VirtualService/default/reviews:9")}}}}
	put(resource.Cluster, "outbound|9080|v1|reviews", &clusterpb.Cluster{Name: "outbound|9080|v1|reviews",
		ClusterDiscoveryType: &clusterpb.Cluster_Type{Type: clusterpb.Cluster_EDS}, TransportSocket: &corepb.TransportSocket{Name: "tls"}})
	put(resource.Route, "9080", &routepb.RouteConfiguration{Name: "9080", VirtualHosts: []*routepb.VirtualHost{{Name: "reviews:9080", Domains: []string{"*"},
		Routes: []*routepb.Route{{
			Match:    &routepb.RouteMatch{PathSpecifier: &routepb.RouteMatch_Prefix{Prefix: "/"}, Headers: []*routepb.HeaderMatcher{{Name: "end-user"}}},
			Metadata: place,
			Action: &routepb.Route_Route{Route: &routepb.RouteAction{ClusterSpecifier: &routepb.RouteAction_Cluster{
				Cluster: "outbound|9080|v1|reviews"}}},
		}}}}})
	text, err := bootstrap.Dump(set, nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := dump.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTables(t *testing.T) {
	d := sample(t)
	for part, want := range map[string]string{
		"clusters":  "outbound|9080|v1|reviews EDS yes -",
		"routes":    "9080 reviews:9080 /*, header end-user outbound|9080|v1|reviews VirtualService/default/reviews:9",
		"endpoints": "ENDPOINT HEALTH PRIORITY WEIGHT CLUSTER",
		"secrets":   "SECRET HAS",
		"listeners": "LISTENER ADDRESS CHAINS FROM",
		"bootstrap": "NODE CLUSTER",
	} {
		var b bytes.Buffer
		if err := d.Table(&b, part); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(b.String()), " "); !strings.Contains(got, want) {
			t.Errorf("%s: %s", part, b.String())
		}
	}
}

func TestJSONHasTheResources(t *testing.T) {
	var b bytes.Buffer
	if err := sample(t).JSON(&b, dump.Parts...); err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(b.Bytes(), &all); err != nil {
		t.Fatal(err)
	}
	clusters, _ := all["clusters"].([]any)
	if len(all) != len(dump.Parts) || len(clusters) != 1 || clusters[0].(map[string]any)["name"] != "outbound|9080|v1|reviews" {
		t.Errorf("%s", b.Bytes())
	}
}

func TestWhatIsNoDumpIsRefused(t *testing.T) {
	for _, text := range []string{"", "[]", "not ready", `{"configs": [{"@type": "type.googleapis.com/none.None"}]}`} {
		if _, err := dump.Read([]byte(text)); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}
