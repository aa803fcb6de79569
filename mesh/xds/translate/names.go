package translate

import (
	"net/netip"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/nds"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// addresses are a service's that clients of the proxy dial: its own, else those that were
// allocated, where the proxy's answers to DNS make clients know them.
func (p *proxy) addresses(s *model.Service) []string {
	list := p.families.addresses(s)
	if len(list) > 0 || !p.node.AnswersDNS || len(s.Allocated) == 0 {
		return list
	}
	return p.families.each(s.Allocated[0], s.Allocated[1])
}

// names makes the name table of a proxy that answers DNS: the services that it sees.
func (p *proxy) names() error {
	if !p.node.AnswersDNS {
		return nil
	}
	m, err := p.once("|nds|"+p.scope.key, func() (made, error) {
		var entries []nds.Entry
		for _, s := range p.scope.services {
			entries = append(entries, p.namesOf(s)...)
		}
		return made{nds.Resource(entries)}, nil
	})
	return p.put(resource.NameTable, m, err)
}

// namesOf are a service's name and, of a headless one, those of its Pods. A service without
// addresses is left to the cluster's DNS.
func (p *proxy) namesOf(s *model.Service) []nds.Entry {
	e := nds.Entry{Host: s.Host, Kubernetes: s.Kubernetes, Addresses: p.addresses(s)}
	if s.Kubernetes {
		e.Name, e.Namespace = s.Name, s.Namespace
	}
	var pods []nds.Entry
	if s.Headless && s.Kubernetes {
		e.Addresses, pods = p.podsOf(s)
	}
	if len(e.Addresses) == 0 {
		return nil
	}
	return append([]nds.Entry{e}, pods...)
}

// podsOf are the addresses of a headless Service's healthy Pods, and the names of those that
// have one, "db-0.db.default.svc.cluster.local".
func (p *proxy) podsOf(s *model.Service) (all []string, named []nds.Entry) {
	seen, at := map[string]bool{}, map[string]int{}
	for _, port := range s.Ports {
		for _, e := range s.Endpoints.On(port) {
			if _, err := netip.ParseAddr(e.Address); err != nil || e.Health != model.Healthy || seen[e.Address] || !p.families.reaches(e.Address) {
				continue
			}
			seen[e.Address] = true
			all = append(all, e.Address)
			if e.Hostname == "" {
				continue
			}
			host := strings.ToLower(e.Hostname) + "." + s.Host
			if i, ok := at[host]; ok {
				named[i].Addresses = append(named[i].Addresses, e.Address)
				continue
			}
			at[host] = len(named)
			named = append(named, nds.Entry{Host: host, Kubernetes: true, Name: e.Hostname + "." + s.Name, Namespace: s.Namespace, Addresses: []string{e.Address}})
		}
	}
	return all, named
}
