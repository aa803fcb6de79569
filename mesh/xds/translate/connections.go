package translate

import (
	"slices"

	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
)

// forwarding is one way for the connections of a port that is not HTTP.
type forwarding struct {
	serverNames []string // none: whatever TLS, or no TLS at all
	subnets     []string // of the destination; none: any
	to          []*model.Destination
	source      model.Source
}

// bindConnections adds a service's port to a listener, one filter chain per way. On a
// listener of the wildcard address the service's prefixes, or for TLS its host as the
// server name, tell it from others; who comes first keeps what two of them want.
func (p *proxy) bindConnections(b *binding, s *model.Service, port *model.Port) error {
	for _, f := range p.forwardings(s, port) {
		if b.address == p.families.wildcard() {
			if len(f.subnets) == 0 {
				f.subnets = s.Addresses
			}
		}
		// Where the name leads is only known of what has a server name, whatever the address.
		if (b.address == p.families.wildcard() || s.Resolution == model.ByName) && isTLS(port.Protocol) && len(f.serverNames) == 0 && s.Host != "*" {
			f.serverNames = []string{s.Host}
		}
		match, err := b.claim(f)
		if err != nil {
			return err
		}
		chain := &listenerpb.FilterChain{
			FilterChainMatch: match, TransportSocketConnectTimeout: handshake(), Metadata: provenance(f.source, nil),
			Filters: append(p.resolveSNI(f.to, port.Number), p.tcpProxy(names.Outbound(port.Number, "", s.Host), f.to, port.Number)),
		}
		switch {
		case match == nil:
		case len(match.ServerNames) == 0 && len(match.PrefixRanges) == 0:
			chain.FilterChainMatch, b.rest = nil, chain
		default:
			b.chains = append(b.chains, chain)
			b.sniffs = b.sniffs || len(match.ServerNames) > 0
		}
	}
	return nil
}

func isTLS(p model.Protocol) bool { return p == model.TLS || p == model.HTTPS }

// claim makes the match of a way out of what no other has yet: Envoy refuses listeners
// on which two chains match the same. Nil where nothing is left.
func (b *binding) claim(f forwarding) (*listenerpb.FilterChainMatch, error) {
	if b.taken == nil {
		b.taken = map[[2]string]bool{}
	}
	serverNames, subnets := slices.Compact(slices.Sorted(slices.Values(f.serverNames))), slices.Compact(slices.Sorted(slices.Values(f.subnets)))
	if len(serverNames) == 0 || slices.Contains(serverNames, "*") {
		serverNames = []string{""} // any
	}
	if len(subnets) == 0 {
		subnets = []string{""}
	}
	subnets = slices.DeleteFunc(subnets, func(s string) bool {
		return !slices.ContainsFunc(serverNames, func(n string) bool { return !b.taken[[2]string{n, s}] })
	})
	serverNames = slices.DeleteFunc(serverNames, func(n string) bool {
		return slices.ContainsFunc(subnets, func(s string) bool { return b.taken[[2]string{n, s}] })
	})
	if len(serverNames) == 0 || len(subnets) == 0 {
		return nil, nil
	}
	m := &listenerpb.FilterChainMatch{}
	for _, s := range subnets {
		for _, n := range serverNames {
			b.taken[[2]string{n, s}] = true
		}
		if s != "" {
			r, err := prefixRange(s)
			if err != nil {
				return nil, err
			}
			m.PrefixRanges = append(m.PrefixRanges, r)
		}
	}
	if serverNames[0] != "" {
		m.ServerNames = serverNames
	}
	return m, nil
}

// forwardings are the ways of a service's port: those of the VirtualServices for its
// host, then straight to the service. As in Istio tls rules are for ports of TLS and
// tcp rules for the others; tls rules that hold leave nothing to the service itself,
// and the first tcp rule without subnets is the last.
func (p *proxy) forwardings(s *model.Service, port *model.Port) []forwarding {
	var list []forwarding
	// Routes of the Gateway API take the place of VirtualServices.
	virtual := slices.Clone(p.scope.virtual)
	slices.SortStableFunc(virtual, func(a, b *model.VirtualService) int { return rankOf(a) - rankOf(b) })
	for _, v := range virtual {
		if !slices.ContainsFunc(v.Hosts, func(h string) bool { return model.Overlaps(h, s.Host) }) {
			continue
		}
		if isTLS(port.Protocol) {
			list = append(list, p.tlsForwardings(v, port.Number)...)
			continue
		}
		for _, r := range v.TCP {
			f, last := p.tcpForwarding(v, r, port.Number)
			if f != nil {
				list = append(list, *f)
			}
			if last {
				return list
			}
		}
	}
	if isTLS(port.Protocol) && len(list) > 0 {
		return list
	}
	return append(list, forwarding{
		to: []*model.Destination{{Host: s.Host, Port: port.Number}}, source: model.Source{File: s.Source.File, Line: s.Source.Line}})
}

func rankOf(v *model.VirtualService) int {
	switch {
	case v.GatewayAPI && !v.Export.All: // the client's own
		return 0
	case v.GatewayAPI:
		return 1
	default:
		return 2
	}
}

func (p *proxy) tlsForwardings(v *model.VirtualService, port uint32) []forwarding {
	var list []forwarding
	for _, r := range v.TLS {
		for _, m := range r.Matches {
			if p.connectionApplies(v, &m.ConnectionMatch, port) {
				list = append(list, forwarding{m.ServerNames, m.Subnets, r.Routes, m.Source})
			}
		}
	}
	return list
}

// tcpForwarding is the way of a rule where it holds, and whether it takes everything.
func (p *proxy) tcpForwarding(v *model.VirtualService, r *model.TCPRule, port uint32) (f *forwarding, last bool) {
	if len(r.Matches) == 0 {
		if !v.Bound(model.MeshGateway) {
			return nil, false
		}
		return &forwarding{to: r.Routes, source: r.Source}, true
	}
	var subnets []string
	for _, m := range r.Matches {
		if !p.connectionApplies(v, m, port) {
			continue
		}
		if len(m.Subnets) == 0 {
			return &forwarding{to: r.Routes, source: r.Source}, true
		}
		subnets = append(subnets, m.Subnets...)
	}
	if len(subnets) == 0 {
		return nil, false
	}
	return &forwarding{subnets: subnets, to: r.Routes, source: r.Source}, false
}

// connectionApplies evaluates what a match says of a sidecar and its port. Unlike those
// of requests all its conditions hold together.
func (p *proxy) connectionApplies(v *model.VirtualService, m *model.ConnectionMatch, port uint32) bool {
	if len(m.Gateways) > 0 && !slices.Contains(m.Gateways, model.MeshGateway) || len(m.Gateways) == 0 && !v.Bound(model.MeshGateway) {
		return false
	}
	return (m.Port == 0 || m.Port == port) && model.Selects(m.SourceLabels, p.node.Labels) &&
		(m.SourceNamespace == "" || m.SourceNamespace == p.node.Namespace)
}

// admitsConnection is what a gateway looks at: its own name and the server's port.
func admitsConnection(v *model.VirtualService, m *model.ConnectionMatch, port uint32, gateway string) bool {
	if len(m.Gateways) > 0 && !slices.Contains(m.Gateways, gateway) || len(m.Gateways) == 0 && !v.Bound(gateway) {
		return false
	}
	return m.Port == 0 || m.Port == port
}
