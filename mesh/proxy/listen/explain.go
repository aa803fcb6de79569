package listen

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// Shown is what a connection shows to a listener, for Explain.
type Shown struct {
	Destination, Source netip.AddrPort
	// TLS tells that the client begins with a handshake, with this server name and
	// these application protocols; else it speaks HTTP/1.1.
	TLS        bool
	ServerName string
	ALPN       []string
}

// Step is one filter chain that was looked at, and why it was not taken.
type Step struct {
	Chain   string
	Matched bool
	Reason  string // empty for the one that matched
	Source  string
}

// Candidates are the addresses under which the listener of a redirected connection is
// looked up, in order: its own, then any address with its port.
func Candidates(dst netip.AddrPort) [2]netip.AddrPort {
	wildcard := netip.IPv4Unspecified()
	if dst.Addr().Is6() {
		wildcard = netip.IPv6Unspecified()
	}
	return [2]netip.AddrPort{dst, netip.AddrPortFrom(wildcard, dst.Port())}
}

// Explain tells which filter chain takes a connection (nil: none, it is closed), and
// of the others what did not match. The choice is the matcher's own.
func Explain(l *snapshot.Listener, c Shown) (*snapshot.FilterChain, []Step, error) {
	s := c.subject(l)
	var all matcher[snapshot.FilterChain]
	for _, chain := range l.Chains {
		if err := all.add(chain.Match, chain); err != nil {
			return nil, nil, fmt.Errorf("listener %q: filter chain %q: %w", l.Name, chain.Name, err)
		}
	}
	chosen := all.find(s)
	var steps []Step
	for _, chain := range l.Chains {
		step := Step{Chain: describeChain(chain), Matched: chain == chosen, Source: chain.Source}
		if !step.Matched {
			step.Reason = mismatch(chain.Match, s)
		}
		steps = append(steps, step)
	}
	if l.Default != nil {
		step := Step{Chain: describeChain(l.Default) + " (default)", Matched: chosen == nil, Source: l.Default.Source}
		if chosen == nil {
			chosen = l.Default
		} else {
			step.Reason = "another filter chain matches"
		}
		steps = append(steps, step)
	}
	return chosen, steps, nil
}

// subject is what the listener's filters find out about the connection.
func (c Shown) subject(l *snapshot.Listener) subject {
	s := subject{destination: c.Destination, source: c.Source, transport: transportRaw}
	port := c.Destination.Port()
	switch {
	case c.TLS && enabled(l.TLSInspector, port):
		s.transport, s.serverName, s.protocols = transportTLS, strings.ToLower(c.ServerName), c.ALPN
	case !c.TLS && enabled(l.HTTPInspector, port):
		s.protocols = []string{"http/1.1"}
	}
	return s
}

// mismatch asks a matcher for one criterion after the other.
func mismatch(m snapshot.ChainMatch, s subject) string {
	for _, one := range []struct {
		only snapshot.ChainMatch
		text string
	}{
		{snapshot.ChainMatch{DestinationPort: m.DestinationPort}, fmt.Sprintf("the port is %d, want %d", s.destination.Port(), m.DestinationPort)},
		{snapshot.ChainMatch{DestinationPrefixes: m.DestinationPrefixes}, fmt.Sprintf("the address is %s, want one of %v", s.destination.Addr(), m.DestinationPrefixes)},
		{snapshot.ChainMatch{ServerNames: m.ServerNames}, fmt.Sprintf("the server name is %q, want %s", s.serverName, strings.Join(m.ServerNames, " or "))},
		{snapshot.ChainMatch{TransportProtocol: m.TransportProtocol}, fmt.Sprintf("the transport is %s, want %s", s.transport, m.TransportProtocol)},
		{snapshot.ChainMatch{ApplicationProtocols: m.ApplicationProtocols}, fmt.Sprintf("the protocol is %s, want %s", orNone(s.protocols), strings.Join(m.ApplicationProtocols, " or "))},
		{snapshot.ChainMatch{SourcePrefixes: m.SourcePrefixes}, fmt.Sprintf("the client is %s, want one of %v", s.source.Addr(), m.SourcePrefixes)},
		{snapshot.ChainMatch{SourcePorts: m.SourcePorts}, fmt.Sprintf("the client's port is %d, want one of %v", s.source.Port(), m.SourcePorts)},
	} {
		var single matcher[snapshot.ChainMatch]
		if err := single.add(one.only, &one.only); err == nil && single.find(s) == nil {
			return one.text
		}
	}
	return "another filter chain is more specific"
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "not known"
	}
	return strings.Join(list, " or ")
}

// describeChain is a chain's name with what it asks for, as names are not unique.
func describeChain(c *snapshot.FilterChain) string {
	var wants []string
	m := c.Match
	if m.DestinationPort != 0 {
		wants = append(wants, fmt.Sprintf("port %d", m.DestinationPort))
	}
	for _, p := range m.DestinationPrefixes {
		wants = append(wants, p.String())
	}
	wants = append(wants, m.ServerNames...)
	if m.TransportProtocol != "" {
		wants = append(wants, m.TransportProtocol)
	}
	if len(m.ApplicationProtocols) > 0 {
		wants = append(wants, strings.Join(m.ApplicationProtocols, "|"))
	}
	name := c.Name
	if name == "" {
		name = "filter chain"
	}
	if len(wants) == 0 {
		return name
	}
	return name + " [" + strings.Join(wants, ", ") + "]"
}
