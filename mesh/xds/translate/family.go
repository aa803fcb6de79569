package translate

import (
	"net/netip"
	"slices"
	"strings"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// families are the kinds of addresses that a proxy has. As in istiod they decide where it
// listens, where connections to its application come from and which addresses of a name
// it asks for. A proxy with both listens on IPv4, and on IPv6 as an additional address.
type families struct{ four, six bool }

func familiesOf(n model.Node) families {
	var f families
	for _, text := range addressesOf(n) {
		if a, err := netip.ParseAddr(text); err == nil && !a.IsLinkLocalUnicast() {
			f.four = f.four || a.Unmap().Is4()
			f.six = f.six || !a.Unmap().Is4()
		}
	}
	if f == (families{}) {
		f.four = true
	}
	return f
}

// addressesOf are the proxy's, the one of its id first.
func addressesOf(n model.Node) []string {
	if slices.Contains(n.IPs, n.IP) {
		return n.IPs
	}
	return append([]string{n.IP}, n.IPs...)
}

// key tells proxies of different families apart; most are of IPv4.
func (f families) key() string {
	switch {
	case !f.six:
		return ""
	case f.four:
		return "|dual"
	}
	return "|v6"
}

// each gives the family's addresses, IPv4's first.
func (f families) each(four, six string) []string {
	switch {
	case !f.six:
		return []string{four}
	case f.four:
		return []string{four, six}
	}
	return []string{six}
}

// wildcards are the addresses that stand for any.
func (f families) wildcards() []string { return f.each(anyAddress, anyAddress6) }

// wildcard is the one in the names of listeners.
func (f families) wildcard() string { return f.wildcards()[0] }

// loopbacks are the host's own addresses.
func (f families) loopbacks() []string { return f.each("127.0.0.1", "::1") }

// loopback is the one of the family that somebody wrote down, where the proxy has that
// family, else the other's.
func (f families) loopback(six bool) string {
	all := f.loopbacks()
	if six {
		return all[len(all)-1]
	}
	return all[0]
}

// lookup is which of a name's addresses can be reached.
func (f families) lookup() clusterpb.Cluster_DnsLookupFamily {
	switch {
	case !f.six:
		return clusterpb.Cluster_V4_ONLY
	case f.four:
		return clusterpb.Cluster_ALL
	}
	return clusterpb.Cluster_V6_ONLY
}

// bindSource is where connections to the application come from, of the family of its
// address: Envoy takes the first whose family is the peer's.
func (f families) bindSource() *corepb.BindConfig {
	all := f.each(bindAddress, bindAddress6)
	b := &corepb.BindConfig{SourceAddress: socketAddress(all[0], 0)}
	for _, a := range all[1:] {
		b.ExtraSourceAddresses = append(b.ExtraSourceAddresses, &corepb.ExtraSourceAddress{Address: socketAddress(a, 0)})
	}
	return b
}

// reaches tells whether the proxy has an address of the family of another's. Names, and
// paths of sockets, are of none.
func (f families) reaches(address string) bool {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return true
	}
	if a.Unmap().Is4() {
		return f.four
	}
	return f.six
}

// addresses are a service's that are not prefixes, of the proxy's families. As in istiod
// those of a ServiceEntry are taken as they are, and so are a Service's where none is of a
// family of the proxy: a port of every address would take what others are meant to get.
func (f families) addresses(s *model.Service) []string {
	all := plainAddresses(s)
	if !s.Kubernetes {
		return all
	}
	var list []string
	for _, a := range all {
		if f.reaches(a) {
			list = append(list, a)
		}
	}
	if list == nil {
		return all
	}
	return list
}

// listens gives a listener its addresses: one, or the same of each family.
func listens(l *listenerpb.Listener, hosts []string, port uint32) {
	l.Address = address(hosts[0], port)
	for _, a := range hosts[1:] {
		l.AdditionalAddresses = append(l.AdditionalAddresses, &listenerpb.AdditionalAddress{Address: address(a, port)})
	}
}

// inURL is an address as it stands in the Host header of a request.
func inURL(address string) string {
	if strings.Contains(address, ":") {
		return "[" + address + "]"
	}
	return address
}

func socketAddress(host string, port uint32) *corepb.SocketAddress {
	return &corepb.SocketAddress{Address: host, PortSpecifier: &corepb.SocketAddress_PortValue{PortValue: port}}
}
