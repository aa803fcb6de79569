package listen

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// matcher picks the filter chain of a connection the way Envoy does: criterion by
// criterion in a fixed order, at each one the most specific value that some chain left
// over has. There is no way back: a chain with the connection's port but another server
// name hides the chains without a port.
type matcher[T any] struct{ root node[T] }

// subject is what a connection shows to be matched by.
type subject struct {
	destination netip.AddrPort
	serverName  string
	transport   string
	protocols   []string // in the order that the client likes them
	source      netip.AddrPort
}

// node is one step: the values that chains have for its criterion, and for each the rest.
type node[T any] struct {
	leaf     *T
	exact    map[string]*node[T] // by port, server name, suffix, transport or protocol
	prefixes []prefixed[T]       // longest first
}

type prefixed[T any] struct {
	prefix netip.Prefix
	next   *node[T]
}

// anyValue is the key of chains that do not care.
const anyValue = ""

// add puts a chain in, once for each combination of its values.
func (m *matcher[T]) add(c snapshot.ChainMatch, value *T) error {
	nodes := []*node[T]{&m.root}
	nodes = spread(nodes, portKeys(c.DestinationPort))
	nodes = spreadPrefixes(nodes, c.DestinationPrefixes)
	nodes = spread(nodes, serverNameKeys(c.ServerNames))
	nodes = spread(nodes, []string{c.TransportProtocol})
	nodes = spread(nodes, orAny(c.ApplicationProtocols))
	nodes = spreadPrefixes(nodes, c.SourcePrefixes)
	nodes = spread(nodes, portKeys(c.SourcePorts...))
	for _, n := range nodes {
		if n.leaf != nil {
			return fmt.Errorf("two filter chains match the same connections")
		}
		n.leaf = value
	}
	return nil
}

func orAny(values []string) []string {
	if len(values) == 0 {
		return []string{anyValue}
	}
	return values
}

func portKeys(ports ...uint16) (keys []string) {
	for _, p := range ports {
		if p != 0 {
			keys = append(keys, portKey(p))
		}
	}
	return orAny(keys)
}

func portKey(p uint16) string { return string([]byte{byte(p >> 8), byte(p)}) }

// serverNameKeys turns "*.a.b" into ".a.b"; "*" is any.
func serverNameKeys(names []string) (keys []string) {
	for _, n := range names {
		keys = append(keys, strings.ToLower(strings.TrimPrefix(n, "*")))
	}
	return orAny(keys)
}

func spread[T any](from []*node[T], keys []string) (to []*node[T]) {
	for _, n := range from {
		if n.exact == nil {
			n.exact = make(map[string]*node[T])
		}
		for _, k := range keys {
			if n.exact[k] == nil {
				n.exact[k] = new(node[T])
			}
			to = append(to, n.exact[k])
		}
	}
	return to
}

func spreadPrefixes[T any](from []*node[T], prefixes []netip.Prefix) (to []*node[T]) {
	if len(prefixes) == 0 {
		prefixes = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
	}
	for _, n := range from {
		for _, p := range prefixes {
			p = p.Masked()
			i := slices.IndexFunc(n.prefixes, func(have prefixed[T]) bool { return have.prefix == p })
			if i < 0 {
				i = len(n.prefixes)
				n.prefixes = append(n.prefixes, prefixed[T]{p, new(node[T])})
			}
			to = append(to, n.prefixes[i].next)
		}
		slices.SortStableFunc(n.prefixes, func(a, b prefixed[T]) int { return cmp.Compare(b.prefix.Bits(), a.prefix.Bits()) })
	}
	return to
}

// find returns the chain for a connection, or nil.
func (m *matcher[T]) find(s subject) *T {
	n := m.root.key(portKey(s.destination.Port()), anyValue)
	n = n.contains(s.destination.Addr())
	n = n.serverName(s.serverName)
	n = n.key(s.transport, anyValue)
	n = n.key(append(slices.Clip(s.protocols), anyValue)...)
	n = n.contains(s.source.Addr())
	n = n.key(portKey(s.source.Port()), anyValue)
	if n == nil {
		return nil
	}
	return n.leaf
}

// key takes the first of the keys that is there.
func (n *node[T]) key(keys ...string) *node[T] {
	if n == nil {
		return nil
	}
	for _, k := range keys {
		if next := n.exact[k]; next != nil {
			return next
		}
	}
	return nil
}

// serverName takes the whole name, then its longest suffix, then any.
func (n *node[T]) serverName(name string) *node[T] {
	if next := n.key(name); n == nil || next != nil {
		return next
	}
	for rest := name; ; {
		i := strings.IndexByte(rest, '.')
		if i < 0 {
			return n.key(anyValue)
		}
		if next := n.key(rest[i:]); next != nil {
			return next
		}
		rest = rest[i+1:]
	}
}

func (n *node[T]) contains(a netip.Addr) *node[T] {
	if n == nil {
		return nil
	}
	for _, p := range n.prefixes {
		if p.prefix.Contains(a) {
			return p.next
		}
	}
	return nil
}
