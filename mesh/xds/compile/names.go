package compile

import (
	"net/netip"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/nds"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// names compiles the name table; nil: the proxy has none.
func (b *build) names() []snapshot.Name {
	table := b.set[resource.NameTable][""]
	if table == nil {
		return nil
	}
	fail := func(err error) { b.errs = append(b.errs, &Problem{resource.NameTable, "", "", err.Error()}) }
	entries, err := nds.Read(table)
	if err != nil {
		fail(err)
	}
	names := make([]snapshot.Name, 0, len(entries))
	for _, e := range entries {
		n := snapshot.Name{Host: e.Host}
		if e.Kubernetes {
			n.Service, n.Namespace = e.Name, e.Namespace
		}
		for _, text := range e.Addresses {
			a, err := netip.ParseAddr(text)
			if err != nil {
				fail(err)
				continue
			}
			n.Addresses = append(n.Addresses, a)
		}
		names = append(names, n)
	}
	return names
}
