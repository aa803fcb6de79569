package upstream

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

func TestFamily(t *testing.T) {
	v4, v6 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	both := []netip.Addr{v6, v4}
	for _, c := range []struct {
		family snapshot.DNSFamily
		found  []netip.Addr
		want   string
	}{
		{snapshot.DNSAuto, both, "[fd00::1]"}, {snapshot.DNSAuto, both[1:], "[10.0.0.1]"},
		{snapshot.DNSOnlyV4, both, "[10.0.0.1]"}, {snapshot.DNSOnlyV4, both[:1], "[]"},
		{snapshot.DNSOnlyV6, both, "[fd00::1]"}, {snapshot.DNSOnlyV6, both[1:], "[]"},
		{snapshot.DNSPreferV4, both, "[10.0.0.1]"}, {snapshot.DNSPreferV4, both[:1], "[fd00::1]"},
		{snapshot.DNSAll, both, "[fd00::1 10.0.0.1]"},
	} {
		if got := fmt.Sprint(family(c.family, c.found)); got != c.want {
			t.Errorf("family %d of %v is %s, want %s", c.family, c.found, got, c.want)
		}
	}
}

// The interval to draw from doubles up to the most.
func TestBackOffOfDNS(t *testing.T) {
	config := &snapshot.Cluster{DNSFailureBase: time.Second, DNSFailureMax: 5 * time.Second}
	for failures, most := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 4: 5 * time.Second, 40: 5 * time.Second} {
		longest := time.Duration(0)
		for n := range uint64(200) {
			c := &Cluster{seed: seed.New(n)}
			longest = max(longest, c.dnsBackOff(config, failures))
		}
		if longest > most || longest < most*9/10 {
			t.Errorf("after %d failures at most %v, want %v", failures, longest, most)
		}
	}
}
