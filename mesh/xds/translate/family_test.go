package translate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/translate"
)

// twoFamilies is a service with endpoints of both, an application behind a Sidecar's
// ports, a gateway and a host resolved by name.
const twoFamilies = `apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9, "fd96::9"], ports: [{name: http, port: 80, targetPort: 8080}, {name: http-own, port: 7000}, {name: tcp, port: 90}], selector: {app: web}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-4, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.9], conditions: {ready: true}}]
ports: [{name: http, port: 8080, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-6, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv6
endpoints: [{addresses: ["fd10::9"], conditions: {ready: true}}]
ports: [{name: http, port: 8080, protocol: TCP}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: far, namespace: default}
spec: {hosts: [far.example.com], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 443, name: tls, protocol: TLS}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: four, namespace: default}
spec: {hosts: [four.example.com], addresses: [10.9.9.9], resolution: STATIC, endpoints: [{address: 10.9.9.10}], ports: [{number: 91, name: tcp, protocol: TCP}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: six, namespace: default}
spec: {hosts: [six.example.com], addresses: ["fd99::9"], resolution: STATIC, endpoints: [{address: "fd99::10"}], ports: [{number: 92, name: tcp, protocol: TCP}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: own, namespace: default}
spec:
  workloadSelector: {labels: {app: web}}
  ingress:
  - {port: {number: 9000, name: http, protocol: HTTP}, defaultEndpoint: "127.0.0.1:8080"}
  - {port: {number: 9006, name: http-six, protocol: HTTP}, defaultEndpoint: "[::1]:8080"}
  - {port: {number: 9009, name: http-any, protocol: HTTP}, defaultEndpoint: "[::]:8080"}
  egress:
  - {port: {number: 7000, name: http, protocol: HTTP}, captureMode: NONE, hosts: ["*/*"]}
  - {hosts: ["*/*"]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: default}
spec:
  selector: {app: edge}
  servers:
  - {port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}
---
`

func addressesOf(l *listenerpb.Listener) string {
	list := []string{l.GetAddress().GetSocketAddress().GetAddress()}
	for _, a := range l.GetAdditionalAddresses() {
		list = append(list, a.GetAddress().GetSocketAddress().GetAddress())
	}
	return strings.Join(list, " ")
}

func sourcesOf(c *clusterpb.Cluster) string {
	b := c.GetUpstreamBindConfig()
	list := []string{b.GetSourceAddress().GetAddress()}
	for _, a := range b.GetExtraSourceAddresses() {
		list = append(list, a.GetAddress().GetAddress())
	}
	return strings.Join(list, " ")
}

func hostsOf(a *endpointpb.ClusterLoadAssignment) string {
	var list []string
	for _, l := range a.GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			list = append(list, e.GetEndpoint().GetAddress().GetSocketAddress().GetAddress())
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// What a proxy's addresses decide, as in istiod: where it listens, where its connections to
// the application come from, which endpoints and addresses of names it takes.
func TestFamilies(t *testing.T) {
	for _, c := range []struct {
		ips                                  []string
		wildcards, loopbacks, sources, first string // first: the wildcard in names
		endpoints                            string
		four, six, own                       string // where the Sidecar's default endpoints lead
		lookup                               clusterpb.Cluster_DnsLookupFamily
	}{
		{[]string{"10.1.0.9"}, "0.0.0.0", "127.0.0.1", "127.0.0.6", "0.0.0.0", "10.1.0.9", "127.0.0.1", "127.0.0.1", "10.1.0.9", clusterpb.Cluster_V4_ONLY},
		{[]string{"fd10::9"}, "::", "::1", "::6", "::", "fd10::9", "::1", "::1", "fd10::9", clusterpb.Cluster_V6_ONLY},
		{[]string{"10.1.0.9", "fd10::9"}, "0.0.0.0 ::", "127.0.0.1 ::1", "127.0.0.6 ::6", "0.0.0.0", "10.1.0.9 fd10::9", "127.0.0.1", "::1", "10.1.0.9", clusterpb.Cluster_ALL},
		{[]string{"fd10::9", "10.1.0.9"}, "0.0.0.0 ::", "127.0.0.1 ::1", "127.0.0.6 ::6", "0.0.0.0", "10.1.0.9 fd10::9", "127.0.0.1", "::1", "fd10::9", clusterpb.Cluster_ALL},
		// An interface's own address is not the Pod's.
		{[]string{"10.1.0.9", "fe80::9"}, "0.0.0.0", "127.0.0.1", "127.0.0.6", "0.0.0.0", "10.1.0.9", "127.0.0.1", "127.0.0.1", "10.1.0.9", clusterpb.Cluster_V4_ONLY},
	} {
		t.Run(strings.Join(c.ips, " "), func(t *testing.T) {
			n := model.Node{Type: model.Sidecar, ID: "web-1", Namespace: "default", IP: c.ips[0], IPs: c.ips,
				DNSDomain: "default.svc.cluster.local", Labels: map[string]string{"app": "web"}}
			set := translated(t, n, twoFamilies)
			is := func(what, got, want string) {
				t.Helper()
				if got != want {
					t.Errorf("%s: %q, want %q", what, got, want)
				}
			}
			is("virtualInbound", addressesOf(listener(t, set, "virtualInbound")), c.wildcards)
			is("virtualOutbound", addressesOf(listener(t, set, "virtualOutbound")), c.wildcards)
			is("the shared listener", addressesOf(listener(t, set, c.first+"_80")), c.wildcards)
			is("the open listener", addressesOf(listener(t, set, strings.Fields(c.loopbacks)[0]+"_7000")), c.loopbacks)
			is("the rest", sourcesOf(cluster(t, set, "InboundPassthroughCluster")), c.sources)
			is("endpoints", hostsOf(get[*endpointpb.ClusterLoadAssignment](t, set, resource.Endpoint, "outbound|80||web.default.svc.cluster.local")), c.endpoints)
			for port, want := range map[int]string{9000: c.four, 9006: c.six, 9009: c.own} {
				is(fmt.Sprint(port), hostsOf(cluster(t, set, fmt.Sprintf("inbound|%d||", port)).GetLoadAssignment()), want)
			}
			if got := cluster(t, set, "outbound|443||far.example.com").GetDnsLookupFamily(); got != c.lookup {
				t.Errorf("look-ups: %v", got)
			}
			inbound := listener(t, set, "virtualInbound")
			if !slices.ContainsFunc(inbound.GetFilterChains(), func(f *listenerpb.FilterChain) bool { return f.GetName() == c.own+"_9000" }) {
				t.Errorf("chains: %v", chains(inbound))
			}
			four, six := strings.Contains(c.wildcards, "0.0.0.0"), strings.Contains(c.wildcards, "::")
			if d := host(t, set, "80", "web.default.svc.cluster.local:80").GetDomains(); slices.Contains(d, "10.96.0.9") != four || slices.Contains(d, "[fd96::9]") != six {
				t.Errorf("domains: %v", d)
			}
			if l := set[resource.Listener]; (l["10.96.0.9_90"] != nil) != four || (l["fd96::9_90"] != nil) != six {
				t.Error("listeners of the service's addresses do not have the proxy's families")
			}
			if l := set[resource.Listener]; l["10.9.9.9_91"] == nil || l["fd99::9_92"] == nil {
				t.Error("a ServiceEntry's addresses are taken as they are")
			}
			if _, err := compile.Compile(set); err != nil {
				t.Errorf("the data plane: %v", err)
			}
			n.Type, n.Labels = model.Router, map[string]string{"app": "edge"}
			is("the gateway", addressesOf(listener(t, translated(t, n, twoFamilies), c.first+"_8080")), c.wildcards)
		})
	}
}

// Proxies of one mesh share what is made for both, and nothing that differs.
func TestFamiliesShareNothing(t *testing.T) {
	all := translate.New(meshOf(t, twoFamilies), nil)
	for range 2 {
		for _, ip := range []string{"10.1.0.9", "fd10::9"} {
			set, err := all.Proxy(model.Node{Type: model.Sidecar, ID: "client", Namespace: "default", IP: ip, DNSDomain: "default.svc.cluster.local"})
			if err != nil {
				t.Fatal(err)
			}
			got := hostsOf(get[*endpointpb.ClusterLoadAssignment](t, set, resource.Endpoint, "outbound|80||web.default.svc.cluster.local"))
			if got != ip {
				t.Errorf("%s has the endpoints %s", ip, got)
			}
		}
	}
}
