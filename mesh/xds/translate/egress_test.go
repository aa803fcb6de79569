package translate_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

func TestEgressListeners(t *testing.T) {
	sidecar := func(egress string) string {
		return bookinfo() + service("db", "default", "10.96.0.50", "{name: tcp, port: 3306}, {name: tcp-b, port: 3307}", "app: details") +
			"apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default}\nspec: {egress: [" + egress + "]}\n"
	}
	for _, c := range []struct{ name, egress, listeners, clusters string }{
		{"a port of the services", `{port: {number: 3306, protocol: TCP, name: db}, hosts: ["./*"]}`,
			"10.96.0.50_3306: | -> outbound|3306||db", "3306 db"},
		{"at an address", `{port: {number: 3306, protocol: TCP, name: db}, bind: 10.9.9.9, hosts: ["./*"]}`,
			"10.9.9.9_3306: | -> outbound|3306||db", "3306 db"},
		{"the listener's protocol is the one that counts", `{port: {number: 9080, protocol: TCP, name: db}, hosts: ["./details.default.svc.cluster.local"]}`,
			"10.96.0.10_9080: | -> outbound|9080||details", "9080 details"},
		{"opened", `{port: {number: 3306, protocol: TCP, name: db}, captureMode: NONE, hosts: ["./*"]}`,
			"127.0.0.1_3306 open: | -> outbound|3306||db", "3306 db"},
		{"and the rest", `{port: {number: 9080, protocol: HTTP, name: http}, hosts: ["./reviews.default.svc.cluster.local"]}, {hosts: ["./details.default.svc.cluster.local", "./db.default.svc.cluster.local"]}`,
			"0.0.0.0_9080: else -> PassthroughCluster; 10.96.0.50_3306: | -> outbound|3306||db; 10.96.0.50_3307: | -> outbound|3307||db",
			"3306 db, 3307 db, 9080 details, 9080 reviews"},
	} {
		set := translated(t, productpage, sidecar(c.egress))
		var listeners, clusters []string
		for name := range set[resource.Listener] {
			if l := listener(t, set, name); !strings.HasPrefix(name, "virtual") {
				if l.BindToPort.GetValue() {
					name += " open"
				}
				listeners = append(listeners, name+": "+strings.Join(connectionChains(t, l), ", "))
			}
		}
		for name := range set[resource.Cluster] {
			if parts := strings.Split(name, "|"); parts[0] == "outbound" {
				clusters = append(clusters, parts[1]+" "+strings.TrimSuffix(parts[3], ".default.svc.cluster.local"))
			}
		}
		slices.Sort(listeners)
		slices.Sort(clusters)
		if got := strings.ReplaceAll(strings.Join(listeners, "; "), ".default.svc.cluster.local", ""); got != c.listeners {
			t.Errorf("%s: listeners %s, want %s", c.name, got, c.listeners)
		}
		if got := strings.Join(clusters, ", "); got != c.clusters {
			t.Errorf("%s: clusters %s, want %s", c.name, got, c.clusters)
		}
		if strings.HasPrefix(c.listeners, "0.0.0.0_9080") {
			if h := host(t, set, "9080", "reviews.default.svc.cluster.local:9080"); h == nil || strings.Contains(string(set[resource.Route]["9080"].Body.Value), "details") {
				t.Error("the listener's port does not have the listener's hosts")
			}
		}
	}
}

// An egress proxy gets what no service matches: HTTP on the ports of services, and all
// other connections.
func TestEgressProxy(t *testing.T) {
	const proxy = "outbound|9080||details.default.svc.cluster.local"
	for mode, want := range map[string]string{
		"mode: ALLOW_ANY, egressProxy: {host: details, port: {number: 9080}}": proxy,
		"mode: ALLOW_ANY":     "PassthroughCluster",
		"mode: REGISTRY_ONLY": "BlackHoleCluster",
	} {
		set := translated(t, productpage, bookinfo()+
			"apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default}\nspec: {outboundTrafficPolicy: {"+mode+"}}\n")
		for name, chain := range map[string]string{"virtualOutbound": " -> " + want, "0.0.0.0_9080": "else -> " + want} {
			if got := strings.Join(connectionChains(t, listener(t, set, name)), "; "); !strings.HasSuffix(got, chain) {
				t.Errorf("%s: the chains of %s are %s", mode, name, got)
			}
		}
		all := host(t, set, "9080", map[bool]string{false: "allow_any", true: "block_all"}[want == "BlackHoleCluster"])
		if got := all.GetRoutes()[0].GetRoute().GetCluster(); got != want && want != "BlackHoleCluster" {
			t.Errorf("%s: HTTP goes to %s", mode, got)
		}
	}
}
