// Package nametable answers for the names that a proxy's control plane has told it, with the
// rules of Istio's DNS proxy: short names of Kubernetes' Services, names below wildcards, and
// names to which a resolver has added the first of its search domains.
//
// In: the names of a snapshot and whose proxy it is. Out: addresses. It opens nothing: the
// server of a real pod and the simulator ask the same table.
package nametable

import (
	"net/netip"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// Pod is who asks.
type Pod struct {
	Namespace string
	Domain    string   // of its Services: "default.svc.cluster.local", or without the namespace
	Search    []string // domains that its resolver adds to names, in their order
}

// Table answers; it does not change.
type Table struct {
	hosts  map[string][]netip.Addr // by name in lower case with a dot at the end
	search []string                // with a dot at the end
}

// Answer is what a name leads to.
type Answer struct {
	// Alias, where it is not empty, is the name that has the addresses.
	Alias     string
	Addresses []netip.Addr
}

// New makes a table.
func New(names []snapshot.Name, pod Pod) *Table {
	t := &Table{hosts: make(map[string][]netip.Addr, len(names))}
	for _, s := range pod.Search {
		t.search = append(t.search, absolute(s))
	}
	domain := strings.TrimPrefix(pod.Domain, pod.Namespace+".")
	for _, n := range names {
		t.hosts[absolute(n.Host)] = n.Addresses
	}
	// A host that somebody has named so comes before a short name.
	for _, n := range names {
		for _, short := range shortNames(n, pod.Namespace, domain) {
			if _, taken := t.hosts[absolute(short)]; !taken {
				t.hosts[absolute(short)] = n.Addresses
			}
		}
	}
	return t
}

// shortNames are those of a Service of the pod's own domain: name.namespace, with the next
// label of the domain ("svc"), and the name alone in its own namespace.
func shortNames(n snapshot.Name, namespace, domain string) []string {
	if n.Service == "" || domain == "" || !strings.HasSuffix(n.Host, "."+domain) {
		return nil
	}
	label, _, _ := strings.Cut(domain, ".")
	list := []string{n.Service + "." + n.Namespace, n.Service + "." + n.Namespace + "." + label}
	if n.Namespace == namespace {
		list = append(list, n.Service)
	}
	return list
}

func absolute(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") + "." }

// Lookup returns what a full name leads to; false: the table does not know it.
func (t *Table) Lookup(name string) (Answer, bool) {
	name = absolute(name)
	if found, ok := t.hosts[name]; ok {
		return Answer{Addresses: found}, true
	}
	base := t.unexpanded(name)
	if found, ok := t.hosts[base]; ok && base != "" {
		return Answer{Alias: base, Addresses: found}, true
	}
	if found, ok := t.below(name); ok {
		return Answer{Addresses: found}, true
	}
	if found, ok := t.below(base); ok && base != "" {
		return Answer{Alias: base, Addresses: found}, true
	}
	return Answer{}, false
}

// unexpanded is the name before the resolver has added its first search domain; "": it has
// not. What is below that domain itself is asked for as it is.
func (t *Table) unexpanded(name string) string {
	if len(t.search) == 0 {
		return ""
	}
	base, ok := strings.CutSuffix(name, "."+t.search[0])
	if !ok || base == "" || strings.HasSuffix(base+".", "."+t.search[0]) {
		return ""
	}
	return base + "."
}

// below finds the most specific wildcard that a name is below.
func (t *Table) below(name string) ([]netip.Addr, bool) {
	for _, rest, ok := strings.Cut(name, "."); ok && rest != ""; _, rest, ok = strings.Cut(rest, ".") {
		if found, ok := t.hosts["*."+rest]; ok {
			return found, true
		}
	}
	return nil, false
}

// ndots is Kubernetes' in resolv.conf: names with fewer dots get search domains first.
const ndots = 5

// Resolve is what an application's resolver finds that asks the table alone: it adds its
// search domains, and goes on where there is no address.
func (t *Table) Resolve(name string) []netip.Addr {
	candidates := []string{name}
	if !strings.HasSuffix(name, ".") {
		for _, s := range t.search {
			candidates = append(candidates, name+"."+s)
		}
		if strings.Count(name, ".") < ndots {
			candidates = append(candidates[1:], name)
		}
	}
	for _, c := range candidates {
		if found, ok := t.Lookup(c); ok && len(found.Addresses) > 0 {
			return found.Addresses
		}
	}
	return nil
}
