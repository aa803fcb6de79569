package translate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcppb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

func entry(name, hosts, ports, more string) string {
	return fmt.Sprintf("---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: %s}\nspec: {hosts: [%s], ports: [%s], location: MESH_EXTERNAL, %s}\n",
		name, hosts, ports, more)
}

func ways(name, hosts, rules string) string {
	return fmt.Sprintf("---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: %s}\nspec: {hosts: [%s], %s}\n", name, hosts, rules)
}

// connectionChains writes the TCP chains of a listener down: "server names|prefixes -> clusters".
func connectionChains(t *testing.T, l *listenerpb.Listener) []string {
	t.Helper()
	var list []string
	for i, c := range append(slices.Clone(l.FilterChains), l.DefaultFilterChain) {
		if c == nil {
			continue
		}
		var proxy tcppb.TcpProxy
		last := c.Filters[len(c.Filters)-1].GetTypedConfig()
		if last.UnmarshalTo(&proxy) != nil {
			continue // HTTP
		}
		var prefixes, to []string
		for _, p := range c.FilterChainMatch.GetPrefixRanges() {
			prefixes = append(prefixes, fmt.Sprintf("%s/%d", p.AddressPrefix, p.PrefixLen.GetValue()))
		}
		for _, w := range proxy.GetWeightedClusters().GetClusters() {
			to = append(to, fmt.Sprintf("%s*%d", w.Name, w.Weight))
		}
		if proxy.GetCluster() != "" {
			to = append(to, proxy.GetCluster())
		}
		text := strings.Join(c.FilterChainMatch.GetServerNames(), ",") + "|" + strings.Join(prefixes, ",") + " -> " + strings.Join(to, " ")
		if i == len(l.FilterChains) {
			text = "else -> " + strings.Join(to, " ")
		}
		list = append(list, text)
	}
	return list
}

func TestConnectionRoutes(t *testing.T) {
	const (
		port  = "{number: 443, name: tls, protocol: TLS}"
		mongo = "{number: 27017, name: mongo, protocol: MONGO}"
		to    = "route: [{destination: {host: reviews, port: {number: 9080}}}]"
		there = "outbound|9080||reviews.default.svc.cluster.local"
	)
	shop := entry("shop", "shop.example.com", port, "resolution: DNS")
	for _, c := range []struct {
		name, yaml, listener string
		want                 []string
	}{
		{"the host is the server name", shop + entry("two", "two.example.com", port, "resolution: DNS"), "0.0.0.0_443",
			[]string{"shop.example.com| -> outbound|443||shop.example.com", "two.example.com| -> outbound|443||two.example.com", "else -> PassthroughCluster"}},
		{"rules leave the service nothing", shop + ways("v", "shop.example.com", "tls: [{match: [{sniHosts: [Shop.example.com]}], "+to+"}]"), "0.0.0.0_443",
			[]string{"shop.example.com| -> " + there, "else -> PassthroughCluster"}},
		{"weights", shop + ways("v", "shop.example.com", "tls: [{match: [{sniHosts: [shop.example.com]}], "+
			"route: [{destination: {host: reviews, port: {number: 9080}}, weight: 3}, {destination: {host: shop.example.com}, weight: 1}]}]"), "0.0.0.0_443",
			[]string{"shop.example.com| -> " + there + "*3 outbound|443||shop.example.com*1", "else -> PassthroughCluster"}},
		{"a wildcard and a name", entry("w", "'*.example.com'", port, "resolution: NONE") + ways("v", "'*.example.com'",
			"tls: [{match: [{sniHosts: [a.example.com]}], "+to+"}, {match: [{sniHosts: ['*.example.com']}], route: [{destination: {host: '*.example.com'}}]}]"), "0.0.0.0_443",
			[]string{"a.example.com| -> " + there, "*.example.com| -> outbound|443||*.example.com", "else -> PassthroughCluster"}},
		{"conditions hold together", shop + ways("v", "shop.example.com", "gateways: [mesh, edge], tls: [{match: [{sniHosts: [shop.example.com], port: 444}], "+to+"}, "+
			"{match: [{sniHosts: [shop.example.com], sourceLabels: {app: reviews}}], "+to+"}, {match: [{sniHosts: [shop.example.com], sourceNamespace: other}], "+to+"}, "+
			"{match: [{sniHosts: [shop.example.com], gateways: [edge]}], "+to+"}, {match: [{sniHosts: [shop.example.com], gateways: [mesh], sourceLabels: {app: reviews}}], "+to+"}]"), "0.0.0.0_443",
			[]string{"shop.example.com| -> outbound|443||shop.example.com", "else -> PassthroughCluster"}},
		{"who comes first keeps a name", shop + ways("v", "shop.example.com", "tls: [{match: [{sniHosts: [shop.example.com]}], "+to+"}, "+
			"{match: [{sniHosts: [shop.example.com]}], route: [{destination: {host: shop.example.com}}]}]"), "0.0.0.0_443",
			[]string{"shop.example.com| -> " + there, "else -> PassthroughCluster"}},
		{"names on an address of its own", entry("s", "shop.example.com", port, "resolution: DNS, addresses: [240.0.0.9]") +
			ways("v", "shop.example.com", "tls: [{match: [{sniHosts: [shop.example.com]}], "+to+"}]"), "240.0.0.9_443",
			[]string{"shop.example.com| -> " + there, "else -> PassthroughCluster"}},
		{"subnets", entry("m", "mongo.example.com", mongo, "resolution: NONE, addresses: [10.1.0.0/16]") + ways("v", "mongo.example.com",
			"tcp: [{match: [{destinationSubnets: [10.1.2.0/24, 10.1.3.4]}], "+to+"}]"), "0.0.0.0_27017",
			[]string{"|10.1.2.0/24,10.1.3.4/32 -> " + there, "|10.1.0.0/16 -> outbound|27017||mongo.example.com", "else -> PassthroughCluster"}},
		{"the first rule without subnets is the last", entry("m", "mongo.example.com", mongo, "resolution: NONE, addresses: [240.0.0.7]") + ways("v", "mongo.example.com",
			"tcp: [{match: [{destinationSubnets: [10.1.2.0/24]}], "+to+"}, {match: [{port: 27017}], "+to+"}, {"+to+"}]"), "240.0.0.7_27017",
			[]string{"|10.1.2.0/24 -> " + there, "else -> " + there}},
		{"a hash of the client", entry("m", "mongo.example.com", mongo, "resolution: STATIC, addresses: [240.0.0.7], endpoints: [{address: 10.9.9.9}]") +
			"---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d}\nspec: {host: mongo.example.com, trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true}}}}\n", "240.0.0.7_27017",
			[]string{"| -> outbound|27017||mongo.example.com"}},
		{"tcp rules are not for TLS", shop + ways("v", "shop.example.com", "tcp: [{"+to+"}]"), "0.0.0.0_443",
			[]string{"shop.example.com| -> outbound|443||shop.example.com", "else -> PassthroughCluster"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := translated(t, productpage, bookinfo(), c.yaml)
			if got := connectionChains(t, listener(t, set, c.listener)); !slices.Equal(got, c.want) {
				t.Errorf("chains\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			if _, err := compile.Compile(set); err != nil {
				t.Error(err)
			}
		})
	}
}

const servers = `---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: pass, protocol: TLS}, hosts: [a.example.com, "*.b.example.com"], tls: {mode: PASSTHROUGH}}
  - {port: {number: 443, name: https-pass, protocol: HTTPS}, hosts: [c.example.com], tls: {mode: PASSTHROUGH}}
  - {port: {number: 443, name: mesh, protocol: TLS}, hosts: [d.example.com], tls: {mode: ISTIO_MUTUAL, subjectAltNames: ["spiffe://x"]}}
  - {port: {number: 443, name: end, protocol: TLS}, hosts: [e.example.com], tls: {mode: MUTUAL, credentialNames: [shop, shop2], caCertCredentialName: roots, verifyCertificateHash: ["` + hash + `"]}}
  - {port: {number: 443, name: more, protocol: TLS}, hosts: [a.example.com], tls: {mode: SIMPLE, credentialName: shop}}
---
apiVersion: v1
kind: Secret
metadata: {name: shop, namespace: istio-system}
stringData: {tls.crt: chain, tls.key: key}
---
apiVersion: v1
kind: Secret
metadata: {name: shop2, namespace: istio-system}
stringData: {tls.crt: chain, tls.key: key}
---
apiVersion: v1
kind: Secret
metadata: {name: roots, namespace: istio-system}
stringData: {ca.crt: roots}
`

const hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestGatewayServersOfTLS(t *testing.T) {
	route := func(port int) string {
		return fmt.Sprintf("route: [{destination: {host: reviews, port: {number: 9080}, subset: v%d}}]", port)
	}
	set := translated(t, ingress, bookinfo(), servers, ways("v", "'*'", "gateways: [edge], tls: [{match: [{sniHosts: [a.example.com]}], "+route(1)+"}, "+
		"{match: [{sniHosts: [x.b.example.com, a.example.com], port: 443}], "+route(2)+"}, {match: [{sniHosts: [c.example.com], port: 444}], "+route(3)+"}], "+
		"tcp: [{match: [{port: 443}], "+route(3)+"}]"))
	l := listener(t, set, "0.0.0.0_8443")
	want := []string{
		"a.example.com| -> outbound|9080|v1|reviews.default.svc.cluster.local",
		"x.b.example.com| -> outbound|9080|v2|reviews.default.svc.cluster.local",
		"d.example.com| -> outbound|9080|v3|reviews.default.svc.cluster.local",
		"e.example.com| -> outbound|9080|v3|reviews.default.svc.cluster.local",
	}
	if got := connectionChains(t, l); !slices.Equal(got, want) {
		t.Fatalf("chains\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if l.FilterChains[0].TransportSocket != nil {
		t.Error("TLS that is passed through is ended")
	}
	context := func(i int) *tlspb.CommonTlsContext {
		var c tlspb.DownstreamTlsContext
		if err := l.FilterChains[i].TransportSocket.GetTypedConfig().UnmarshalTo(&c); err != nil || !c.RequireClientCertificate.GetValue() {
			t.Fatalf("chain %d: %v, %v", i, err, &c)
		}
		return c.CommonTlsContext
	}
	if c := context(2); c.TlsCertificateSdsSecretConfigs[0].Name != "default" || c.GetCombinedValidationContext().ValidationContextSdsSecretConfig.Name != "ROOTCA" {
		t.Errorf("ISTIO_MUTUAL has %v", c)
	}
	c := context(3)
	if n := c.TlsCertificateSdsSecretConfigs; len(n) != 2 || n[1].Name != "kubernetes://shop2" ||
		c.GetCombinedValidationContext().ValidationContextSdsSecretConfig.Name != "kubernetes://roots-cacert" ||
		!slices.Equal(c.GetCombinedValidationContext().DefaultValidationContext.VerifyCertificateHash, []string{hash}) {
		t.Errorf("MUTUAL has %v", c)
	}
	if got := set.Names(resource.Secret); !slices.Equal(got, []string{"kubernetes://roots-cacert", "kubernetes://shop", "kubernetes://shop2"}) {
		t.Errorf("secrets %v", got)
	}
}

func TestClientCredential(t *testing.T) {
	rule := func(name, more string) string {
		return fmt.Sprintf("---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: %s}\nspec: {host: shop.example.com, %s"+
			"trafficPolicy: {tls: {mode: MUTUAL, credentialName: %s, sni: shop.example.com}}}\n", name, more, name)
	}
	secret := func(namespace, name string) string {
		return fmt.Sprintf("---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: %s}\nstringData: {tls.crt: c, tls.key: k, ca.crt: r}\n", name, namespace)
	}
	yaml := entry("shop", "shop.example.com", "{number: 443, name: https, protocol: HTTPS}", "resolution: DNS") +
		rule("general", "") + rule("chosen", "workloadSelector: {matchLabels: {app: reviews}}, ") +
		secret("default", "general") + secret("default", "chosen") + secret("istio-system", "general")
	for _, c := range []struct {
		node    model.Node
		secrets []string
		tls     bool
	}{
		{ingress, []string{"kubernetes://general", "kubernetes://general-cacert"}, true},
		{reviewsV1, []string{"kubernetes://chosen", "kubernetes://chosen-cacert"}, true},
		{productpage, nil, false}, // neither a gateway nor selected: as if no credential was named
	} {
		set := translated(t, c.node, bookinfo(), yaml)
		if got := set.Names(resource.Secret); !slices.Equal(got, c.secrets) {
			t.Errorf("%s has the secrets %v, want %v", c.node.ID, got, c.secrets)
		}
		socket := cluster(t, set, "outbound|443||shop.example.com").TransportSocket
		if (socket != nil) != c.tls {
			t.Errorf("%s: TLS is %v", c.node.ID, socket)
			continue
		}
		if !c.tls {
			continue
		}
		var context tlspb.UpstreamTlsContext
		if err := socket.GetTypedConfig().UnmarshalTo(&context); err != nil {
			t.Fatal(err)
		}
		if got := context.CommonTlsContext.TlsCertificateSdsSecretConfigs[0].Name; got != c.secrets[0] {
			t.Errorf("%s shows %s", c.node.ID, got)
		}
	}
}
