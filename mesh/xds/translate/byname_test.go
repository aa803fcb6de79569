package translate_test

import (
	"slices"
	"testing"

	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
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
