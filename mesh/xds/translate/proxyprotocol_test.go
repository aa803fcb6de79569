package translate_test

import (
	"testing"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	proxyprotocolpb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
)

// Istio has the header around whatever a cluster's connections are made with: mutual TLS
// where the endpoint ends it, a policy's own TLS, and plain text where nothing is said.
func TestProxyProtocolToUpstreams(t *testing.T) {
	const rule = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r}\nspec: {host: reviews, trafficPolicy: {proxyProtocol: {version: V2}}}\n" +
		"---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: shop}\nspec: {host: shop.example.com, " +
		"trafficPolicy: {proxyProtocol: {}, portLevelSettings: [{port: {number: 443}, tls: {mode: SIMPLE, sni: shop.example.com}}]}}\n"
	shop := entry("shop", "shop.example.com", "{number: 443, name: tls, protocol: HTTPS}, {number: 80, name: http, protocol: HTTP}", "resolution: DNS")
	set := translated(t, reviewsV1, bookinfo(), shop, rule)
	inner := func(s *corepb.TransportSocket, version corepb.ProxyProtocolConfig_Version) string {
		t.Helper()
		m := new(proxyprotocolpb.ProxyProtocolUpstreamTransport)
		if err := s.GetTypedConfig().UnmarshalTo(m); err != nil || s.GetName() != "envoy.transport_sockets.upstream_proxy_protocol" || m.Config.Version != version {
			t.Fatalf("%v: %v", s, err)
		}
		return m.TransportSocket.GetName()
	}
	reviews := cluster(t, set, "outbound|9080||reviews.default.svc.cluster.local")
	for i, want := range []string{"envoy.transport_sockets.tls", "envoy.transport_sockets.raw_buffer"} {
		if got := inner(reviews.TransportSocketMatches[i].TransportSocket, corepb.ProxyProtocolConfig_V2); got != want {
			t.Errorf("reviews: %s, want %s", got, want)
		}
	}
	for name, want := range map[string]string{"outbound|443||shop.example.com": "envoy.transport_sockets.tls", "outbound|80||shop.example.com": "envoy.transport_sockets.raw_buffer"} {
		if got := inner(cluster(t, set, name).TransportSocket, corepb.ProxyProtocolConfig_V1); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	p, err := compile.Compile(set)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range p.Clusters {
		want := map[string]uint8{reviews.Name: 2, "outbound|443||shop.example.com": 1, "outbound|80||shop.example.com": 1}[c.Name]
		if x := c.Transports[0]; x.ProxyProtocol != want || want == 2 && x.TLS == nil {
			t.Errorf("%s: %+v, want version %d", c.Name, x, want)
		}
	}
}
