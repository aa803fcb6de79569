package bootstrap

import (
	"net/netip"
	"strings"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// Addresses are those that the node says its pod has (INSTANCE_IPS in its metadata), the
// first of them first.
func (b *Bootstrap) Addresses() ([]netip.Addr, error) {
	text, _ := b.Node.GetMetadata().AsMap()["INSTANCE_IPS"].(string)
	var list []netip.Addr
	for s := range strings.SplitSeq(text, ",") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

// Wildcards are the addresses that stand for all of a pod's.
func Wildcards(of []netip.Addr) []netip.Addr {
	var four, six bool
	for _, a := range of {
		four, six = four || a.Is4(), six || a.Is6()
	}
	var list []netip.Addr
	if four || !six {
		list = append(list, netip.IPv4Unspecified())
	}
	if six {
		list = append(list, netip.IPv6Unspecified())
	}
	return list
}

// Widen has static listeners of 0.0.0.0 listen on all addresses of a pod, of whatever
// family: who writes the bootstrap does not know the pod's addresses yet. Istio's agent
// does the same where it fills in its template.
func (b *Bootstrap) Widen(addresses []netip.Addr) error {
	all := Wildcards(addresses)
	for _, l := range b.Proto.GetStaticResources().GetListeners() {
		s := l.GetAddress().GetSocketAddress()
		if s.GetAddress() != netip.IPv4Unspecified().String() || len(l.GetAdditionalAddresses()) > 0 {
			continue
		}
		s.Address = all[0].String()
		for _, a := range all[1:] {
			l.AdditionalAddresses = append(l.AdditionalAddresses, &listenerpb.AdditionalAddress{Address: &corepb.Address{
				Address: &corepb.Address_SocketAddress{SocketAddress: &corepb.SocketAddress{Address: a.String(), PortSpecifier: s.PortSpecifier}}}})
		}
		r, err := resource.New(l.GetName(), l)
		if err != nil {
			return err
		}
		b.Static.Put(resource.Listener, r)
	}
	return nil
}
