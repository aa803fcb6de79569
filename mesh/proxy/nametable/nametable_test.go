package nametable

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

func TestNames(t *testing.T) {
	name := func(host, address, service, namespace string) snapshot.Name {
		return snapshot.Name{Host: host, Addresses: []netip.Addr{netip.MustParseAddr(address)}, Service: service, Namespace: namespace}
	}
	table := New([]snapshot.Name{
		name("*.example.com", "240.240.0.1", "", ""),
		name("*.a.example.com", "240.240.0.2", "", ""),
		name("b.a.example.com", "240.240.0.3", "", ""),
		name("db-0.db.shop.svc.cluster.local", "10.244.0.9", "db-0.db", "shop"),
		name("other.far.svc.cluster.local", "10.96.0.2", "other", "far"),
		name("reviews.shop.svc.cluster.local", "10.96.0.1", "reviews", "shop"),
		name("elsewhere.shop.svc.another.domain", "10.96.0.3", "elsewhere", "shop"),
		name("written", "198.51.100.1", "", ""),
		{Host: "v6.example.org", Addresses: []netip.Addr{netip.MustParseAddr("2001:2::f0f0:1")}},
	}, Pod{Namespace: "shop", Domain: "shop.svc.cluster.local", Search: []string{"shop.svc.cluster.local", "svc.cluster.local", "cluster.local"}})

	for name, want := range map[string]string{
		"reviews.shop.svc.cluster.local.":   "10.96.0.1",
		"REVIEWS.shop.svc.cluster.local":    "10.96.0.1",
		"reviews.shop.svc":                  "10.96.0.1",
		"reviews.shop":                      "10.96.0.1",
		"reviews":                           "10.96.0.1",
		"other.far":                         "10.96.0.2",
		"other.far.shop.svc.cluster.local.": "10.96.0.2 of other.far.",
		"other":                             "",
		"elsewhere":                         "",
		"elsewhere.shop":                    "",
		"db-0.db":                           "10.244.0.9",
		"db-1.db":                           "",
		"www.example.com":                   "240.240.0.1",
		"x.y.example.com":                   "240.240.0.1",
		"c.a.example.com":                   "240.240.0.2",
		"b.a.example.com":                   "240.240.0.3",
		"b.a.example.com.shop.svc.cluster.local.": "240.240.0.3 of b.a.example.com.",
		"c.a.example.com.shop.svc.cluster.local.": "240.240.0.2 of c.a.example.com.",
		"c.a.example.com.svc.cluster.local.":      "", // Istio expands by the first domain alone
		"example.com":                             "",
		"com":                                     "",
		"":                                        "",
		".":                                       "",
		"written":                                 "198.51.100.1",
		"reviews.shop.svc.cluster.local.shop.svc.cluster.local.": "",
	} {
		got := ""
		if found, ok := table.Lookup(name); ok {
			if got = fmt.Sprint(found.Addresses[0]); found.Alias != "" {
				got += " of " + found.Alias
			}
		}
		if got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{
		"reviews": "[10.96.0.1]", "db-0.db": "[10.244.0.9]", "other.far.svc": "[10.96.0.2]", "c.a.example.com": "[240.240.0.2]",
		"v6.example.org": "[2001:2::f0f0:1]", "nobody": "[]", "other.far.": "[10.96.0.2]", "other.": "[]",
	} {
		if got := fmt.Sprint(table.Resolve(name)); got != want {
			t.Errorf("%q resolves to %s, want %s", name, got, want)
		}
	}
}
