package upstream

import (
	"net/netip"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

func ends(source, destination string) Told {
	return Told{netip.MustParseAddrPort(source), netip.MustParseAddrPort(destination)}
}

// The bytes are those of HAProxy's proxy-protocol.txt, the defaults Envoy's.
func TestProxyHeader(t *testing.T) {
	const start = "\r\n\r\n\x00\r\nQUIT\n"
	own := ends("10.0.0.1:1", "10.0.0.2:2")
	four, six := ends("203.0.113.7:40000", "192.0.2.1:80"), ends("[2001:db8::7]:40000", "[2001:db8::1]:80")
	const seven, one = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07", "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
	for _, c := range []struct {
		version uint8
		told    Told
		want    string
	}{
		{1, four, "PROXY TCP4 203.0.113.7 192.0.2.1 40000 80\r\n"},
		{1, six, "PROXY TCP6 2001:db8::7 2001:db8::1 40000 80\r\n"},
		{1, ends("[::ffff:203.0.113.7]:40000", "192.0.2.1:80"), "PROXY TCP4 203.0.113.7 192.0.2.1 40000 80\r\n"},
		{1, ends("203.0.113.7:40000", "[2001:db8::1]:80"), "PROXY UNKNOWN\r\n"},
		{1, Told{}, "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"},
		{2, four, start + "\x21\x11\x00\x0c\xcb\x00\x71\x07\xc0\x00\x02\x01\x9c\x40\x00\x50"},
		{2, six, start + "\x21\x21\x00\x24" + seven + one + "\x9c\x40\x00\x50"},
		{2, Told{}, start + "\x20\x00\x00\x00"},
	} {
		if got := string(proxyHeader(c.version, c.told, own)); got != c.want {
			t.Errorf("version %d of %v: %q, want %q", c.version, c.told, got, c.want)
		}
	}
}

// A connection that tells of one client must not carry the requests of another.
func TestConnectionsOfTheProxyProtocolAreOneClients(t *testing.T) {
	a, b := Want{Told: ends("203.0.113.7:40000", "192.0.2.1:80")}, Want{Told: ends("203.0.113.7:40001", "192.0.2.1:80")}
	for _, c := range []struct {
		transport snapshot.Transport
		same      bool
	}{{snapshot.Transport{}, true}, {snapshot.Transport{ProxyProtocol: 1}, false}, {snapshot.Transport{ProxyProtocol: 2, TLS: &snapshot.ClientTLS{}}, false}} {
		if same := a.key(&c.transport) == b.key(&c.transport); same != c.same {
			t.Errorf("%+v: one pool %t, want %t", c.transport, same, c.same)
		}
	}
	if sameTransport(&snapshot.Cluster{Transports: []snapshot.Transport{{ProxyProtocol: 1}}}, &snapshot.Cluster{Transports: []snapshot.Transport{{}}}) {
		t.Error("connections without a header are good for a cluster with one")
	}
}
