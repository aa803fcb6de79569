package translate_test

import (
	"slices"
	"testing"

	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	meshpb "istio.io/api/mesh/v1alpha1"

	"github.com/windtunnel-mesh/windtunnel/mesh/build"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/translate"
)

const wildcard = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: example}
spec: {hosts: ["*.example.com"], resolution: DYNAMIC_DNS, ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}]}
`

// Clusters, and the filters before them, are as istiod makes them for a sidecar.
func TestServiceByName(t *testing.T) {
	set := translated(t, productpage, bookinfo(), wildcard)
	l := listener(t, set, "0.0.0.0_443")
	m := managerOf(t, listener(t, set, "0.0.0.0_80"), "")
	at := slices.IndexFunc(m.HttpFilters, func(f *hcmpb.HttpFilter) bool { return f.Name == "envoy.filters.http.dynamic_forward_proxy" })
	if at != len(m.HttpFilters)-2 {
		t.Fatalf("the filter stands at %d of %d", at, len(m.HttpFilters))
	}
	golden(t, "byname", cluster(t, set, "outbound|80||*.example.com").GetClusterType(), m.HttpFilters[at],
		l.FilterChains[0].FilterChainMatch, l.FilterChains[0].Filters[len(l.FilterChains[0].Filters)-2])
	if _, err := compile.Compile(set); err != nil {
		t.Error(err)
	}
}

// Without a service requests go where their Host leads, on ports of services and on others.
func TestAnythingByName(t *testing.T) {
	objects, _ := config.Decode("mesh.yaml", 1, []byte(bookinfo()))
	mesh := &meshpb.MeshConfig{OutboundTrafficPolicy: &meshpb.MeshConfig_OutboundTrafficPolicy{Mode: meshpb.MeshConfig_OutboundTrafficPolicy_ALLOW_ANY_DYNAMIC_DNS}}
	m, found := build.Build(store.NewView(objects...), build.Options{MeshConfig: mesh})
	if len(found) > 0 {
		t.Fatal(found)
	}
	for _, n := range []model.Node{productpage, ingress} {
		set, err := translate.New(m, nil).Proxy(n)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := compile.Compile(set); err != nil {
			t.Error(err)
		}
		if n.Type == model.Router {
			if set[resource.Cluster]["AllowAnyDynamicDNSCluster"] != nil {
				t.Error("a gateway resolves what it does not know")
			}
			continue
		}
		l := listener(t, set, "virtualOutbound")
		golden(t, "anybyname", cluster(t, set, "AllowAnyDynamicDNSCluster").GetClusterType(), l.FilterChains[1].FilterChainMatch, l.ListenerFilters[0],
			managerOf(t, l, "virtualOutbound-catchall-tcp-http").GetRouteConfig(), host(t, set, "9080", "allow_any_dynamic_dns"))
	}
}
