package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// from makes a client of one connection that comes from an address.
func from(t *testing.T, address string) *http.Client {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport := &http.Transport{MaxConnsPerHost: 1, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return d.DialContext(ctx, network, addr)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// closes tells whether the next response is the connection's last.
func closes(t *testing.T, c *http.Client, addr netip.AddrPort) bool {
	t.Helper()
	p, err := c.Get("http://" + addr.String() + "/x")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Body.Close()
	if _, err := io.Copy(io.Discard, p.Body); err != nil {
		t.Fatal(err)
	}
	return p.Close
}

func TestOnlyFilterChainsThatChangedDrain(t *testing.T) {
	chains := func(version, ours, theirs string) *snapshot.Proxy {
		l := httpListener("in", theirs)
		own := *l.Default
		http := *own.HTTP
		http.RouteConfig = ours
		own.HTTP, own.Match.SourcePrefixes = &http, []netip.Prefix{netip.MustParsePrefix("127.0.0.7/32")}
		l.Chains = []*snapshot.FilterChain{&own}
		return config(version, "", l)
	}
	p, f := start(t, nil)
	if err := p.Apply(chains("1", "ours1", "theirs1")); err != nil {
		t.Fatal(err)
	}
	addr, _ := p.Addr("in")
	ours, theirs := from(t, "127.0.0.7"), from(t, "127.0.0.8")
	get(t, ours, addr)
	get(t, theirs, addr)
	f.fail = "bad"
	if err := p.Apply(chains("2", "ours1", "bad")); err == nil {
		t.Fatal("a bad configuration was applied")
	}
	f.fail = ""
	if closes(t, ours, addr) || closes(t, theirs, addr) {
		t.Error("a configuration that was refused drained connections")
	}
	if err := p.Apply(chains("3", "ours2", "theirs1")); err != nil {
		t.Fatal(err)
	}
	if closes(t, theirs, addr) {
		t.Error("the chain that stayed drains")
	}
	if !closes(t, ours, addr) {
		t.Error("the chain that changed does not drain")
	}
	if got := get(t, ours, addr); got != "ours2" {
		t.Errorf("a new connection gets %q", got)
	}
	// What else there is of a listener drains all of it.
	next := chains("4", "ours2", "theirs1")
	next.Listeners[0].InspectTimeout = 1
	if err := p.Apply(next); err != nil {
		t.Fatal(err)
	}
	if !closes(t, theirs, addr) || !closes(t, ours, addr) {
		t.Error("another listener takes over, and connections of the old one do not drain")
	}
}
