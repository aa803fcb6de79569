package translate_test

import (
	"strings"
	"testing"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// What Istio does and few expect, where no other test says so.

// TestRulesOfUnknownHosts: a VirtualService for a host that no service has is routed all
// the same, on port 80 and no other, to a cluster that is not there.
func TestRulesOfUnknownHosts(t *testing.T) {
	set := translated(t, productpage, bookinfo(), ways("ghost", "ghost.default.svc.cluster.local",
		"http: [{route: [{destination: {host: ghost.default.svc.cluster.local, subset: v2}}]}]"))
	h := host(t, set, "80", "ghost.default.svc.cluster.local:80")
	const to = "outbound|80|v2|ghost.default.svc.cluster.local"
	if got := h.Routes[0].GetRoute().GetCluster(); got != to {
		t.Errorf("the route leads to %q, want %q", got, to)
	}
	if set[resource.Cluster][to] != nil {
		t.Errorf("%s is there", to)
	}
	res := set[resource.Route]["9080"]
	if strings.Contains(string(res.Body.GetValue()), "ghost") {
		t.Error("port 9080 has a host for it too")
	}
}

// TestTwoRulesOfOneHost: of two DestinationRules for a host in one namespace the first has
// the traffic policy, and both have subsets.
func TestTwoRulesOfOneHost(t *testing.T) {
	rule := func(name, balancer, subset string) string {
		return "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: " + name + "}\nspec: {host: reviews, trafficPolicy: {loadBalancer: {simple: " +
			balancer + "}}, subsets: [{name: " + subset + ", labels: {version: " + subset + "}}]}\n"
	}
	set := translated(t, productpage, bookinfo(), rule("one", "RANDOM", "v1")+rule("two", "ROUND_ROBIN", "v2"))
	for _, name := range []string{"outbound|9080||reviews.default.svc.cluster.local",
		"outbound|9080|v1|reviews.default.svc.cluster.local", "outbound|9080|v2|reviews.default.svc.cluster.local"} {
		if got := cluster(t, set, name).GetLbPolicy(); got != clusterpb.Cluster_RANDOM {
			t.Errorf("%s balances by %v, want the first rule's RANDOM", name, got)
		}
	}
}

// TestServiceEntryPortWithoutProtocol: it is TCP.
func TestServiceEntryPortWithoutProtocol(t *testing.T) {
	set := translated(t, productpage, bookinfo(), entry("plain", "plain.example.com", "{number: 9000, name: p}", "resolution: DNS"))
	chains := connectionChains(t, listener(t, set, "0.0.0.0_9000"))
	if len(chains) != 1 || !strings.Contains(chains[0], "outbound|9000||plain.example.com") {
		t.Errorf("chains %q, want one of TCP to the entry", chains)
	}
}

// TestEntriesOfOneHost: the oldest ServiceEntry of a host is the service, with the ports
// and endpoints that others of its namespace add.
func TestEntriesOfOneHost(t *testing.T) {
	set := translated(t, productpage, bookinfo(),
		entry("a", "shared.example.com", "{number: 9000, name: p, protocol: TCP}", "resolution: STATIC, endpoints: [{address: 192.0.2.1}]"),
		entry("b", "shared.example.com", "{number: 9000, name: p, protocol: HTTP}", "resolution: STATIC, endpoints: [{address: 192.0.2.2}]"),
		entry("c", "shared.example.com", "{number: 9001, name: q, protocol: HTTP}", "resolution: STATIC, endpoints: [{address: 192.0.2.3}]"))
	if l := listener(t, set, "0.0.0.0_9000"); len(connectionChains(t, l)) != 1 {
		t.Errorf("port 9000 has %d chains of TCP, want that of the first entry", len(connectionChains(t, l)))
	}
	for port, want := range map[string][]string{"9000": {"192.0.2.1", "192.0.2.2"}, "9001": {"192.0.2.3"}} {
		name := "outbound|" + port + "||shared.example.com"
		res := set[resource.Endpoint][name]
		if res == nil {
			t.Errorf("%s has no endpoints", name)
			continue
		}
		for _, address := range want {
			if !strings.Contains(string(res.Body.GetValue()), address) {
				t.Errorf("%s has no endpoint %s", name, address)
			}
		}
	}
}
