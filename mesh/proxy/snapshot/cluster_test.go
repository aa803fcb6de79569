package snapshot

import (
	"net/netip"
	"testing"
)

func TestSourceIsOfThePeersFamily(t *testing.T) {
	four, six := netip.MustParseAddr("127.0.0.6"), netip.MustParseAddr("::6")
	peer4, peer6 := netip.MustParseAddr("10.1.0.9"), netip.MustParseAddr("fd10::9")
	for _, c := range []struct {
		cluster    Cluster
		to4, to6   netip.Addr
		configured string
	}{
		{Cluster{}, netip.Addr{}, netip.Addr{}, "nothing"},
		{Cluster{BindSource: four}, four, four, "IPv4"},
		{Cluster{BindSource: four, BindExtra: []netip.Addr{six}}, four, six, "IPv4 and IPv6"},
		{Cluster{BindSource: six, BindExtra: []netip.Addr{four}}, four, six, "IPv6 and IPv4"},
	} {
		if to4, to6 := c.cluster.SourceTo(peer4), c.cluster.SourceTo(peer6); to4 != c.to4 || to6 != c.to6 {
			t.Errorf("%s: %v to IPv4, %v to IPv6", c.configured, to4, to6)
		}
	}
}
