package listen

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

func TestExplainSaysWhyChainsDoNotMatch(t *testing.T) {
	inspector := &snapshot.Inspector{DisabledPorts: []snapshot.PortRange{{Start: 3306, End: 3307}}}
	l := &snapshot.Listener{Name: "l", TLSInspector: inspector, HTTPInspector: inspector, Chains: []*snapshot.FilterChain{
		{Name: "port", Match: snapshot.ChainMatch{DestinationPort: 80, TransportProtocol: "tls"}, Source: "a.yaml:1"},
		{Name: "name", Match: snapshot.ChainMatch{TransportProtocol: "tls", ServerNames: []string{"*.example.com"}}},
		{Name: "http", Match: snapshot.ChainMatch{ApplicationProtocols: []string{"http/1.1"}}},
	}, Default: &snapshot.FilterChain{Name: "rest"}}
	client := netip.MustParseAddrPort("10.0.0.9:0")
	for _, c := range []struct {
		name    string
		shown   Shown
		chosen  string
		reasons []string // of port, name, http, rest
	}{
		{"a port hides the chains without one", Shown{Destination: netip.MustParseAddrPort("10.0.0.1:80")}, "rest",
			[]string{"the transport is raw_buffer, want tls", "the server name is \"\", want *.example.com", "another filter chain is more specific", ""}},
		{"plaintext HTTP", Shown{Destination: netip.MustParseAddrPort("10.0.0.1:81")}, "http",
			[]string{"the port is 81, want 80", "the server name is \"\", want *.example.com", "", "another filter chain matches"}},
		{"TLS", Shown{Destination: netip.MustParseAddrPort("10.0.0.1:443"), TLS: true, ServerName: "A.Example.com", ALPN: []string{"h2"}}, "name",
			[]string{"the port is 443, want 80", "", "the protocol is h2, want http/1.1", "another filter chain matches"}},
		{"a port that is not looked into", Shown{Destination: netip.MustParseAddrPort("10.0.0.1:3306")}, "rest",
			[]string{"the port is 3306, want 80", "the server name is \"\", want *.example.com", "the protocol is not known, want http/1.1", ""}},
	} {
		c.shown.Source = client
		chosen, steps, err := Explain(l, c.shown)
		if err != nil || chosen == nil || chosen.Name != c.chosen {
			t.Fatalf("%s: %+v, %v", c.name, chosen, err)
		}
		for i, s := range steps {
			if s.Reason != c.reasons[i] || s.Matched != strings.HasPrefix(s.Chain, c.chosen) {
				t.Errorf("%s: %+v, want %q", c.name, s, c.reasons[i])
			}
		}
	}
	l.Default = nil
	if chosen, _, err := Explain(l, Shown{Destination: netip.MustParseAddrPort("10.0.0.1:3306"), Source: client}); chosen != nil || err != nil {
		t.Errorf("no chain matches: %+v, %v", chosen, err)
	}
}
