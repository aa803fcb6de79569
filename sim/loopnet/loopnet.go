// Package loopnet is the network of a world on real sockets, in real time: a host with
// address 10.x.y.z listens and dials on 127.x'.y.z, so each has a loopback address of its own;
// x' is x for the first network on a machine, and another for those beside it.
// It implements fabric.Fabric.
//
// Addresses that connections and listeners show are those of the hosts. Capture
// rules, services and names are interpreted when a connection is dialled; the
// accepting end learns what the dialler did from a table in this process. A connection
// from another process (a browser) is accepted too, and shown as it is.
//
// It needs a system on which all of 127.0.0.0/8 is local, as Linux is. It imports
// sim/fabric, mesh/netx and mesh/capture only.
package loopnet

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/windtunnel-mesh/windtunnel/sim/fabric"
)

// Net is a network on loopback sockets.
type Net struct {
	fabric.Directory

	mu       sync.Mutex
	byName   map[string]*Host
	byAddr   map[netip.Addr]*Host
	byMapped map[netip.Addr]*Host
	dialled  map[flow]arrival // until the connection is accepted
	closed   bool

	place byte // of all networks on this machine
	held  net.Listener
}

var _ fabric.Fabric = (*Net)(nil)

// flow is a connection as the system knows it: the dialler's address, and the listener's.
type flow struct{ from, to netip.AddrPort }

// arrival is the same connection as the accepting end is to see it.
type arrival struct{ local, remote, original netip.AddrPort }

// New returns a network without hosts.
func New() *Net {
	n := &Net{
		byName:   make(map[string]*Host),
		byAddr:   make(map[netip.Addr]*Host),
		byMapped: make(map[netip.Addr]*Host),
		dialled:  make(map[flow]arrival),
	}
	n.takePlace()
	return n
}

// Mapped is the loopback address that stands for an address of the network, whether a
// host has it or not: that of a Service has none. It is not valid where there is none.
func (n *Net) Mapped(addr netip.Addr) netip.Addr {
	mapped, ok := n.mapped(addr)
	if !ok {
		return netip.Addr{}
	}
	return mapped
}

// mapped is the loopback address that stands for a host's: its first byte becomes
// 127, the second depends on the network's place. Addresses that are not private IPv4
// have none, nor has 10.0.0.0/24, which would meet 127.0.0.1.
func (n *Net) mapped(addr netip.Addr) (netip.Addr, bool) {
	addr = addr.Unmap()
	if !addr.Is4() || !addr.IsPrivate() {
		return netip.Addr{}, false
	}
	b := addr.As4()
	ok := b[1] != 0 || b[2] != 0
	b[0] = 127
	b[1] ^= n.place
	return netip.AddrFrom4(b), ok
}

// places is how many networks there can be on one machine at once.
const places = 16

// placePort is a port that no host uses: who listens there has the place.
const placePort = 41277

// takePlace finds a part of 127.0.0.0/8 that no other network on this machine uses.
// Where all are taken, or this process may not listen, it shares the first one.
func (n *Net) takePlace() {
	for place := range byte(places) {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 255 ^ place, 255, 254}), placePort)
		l, err := net.Listen("tcp4", addr.String())
		if err == nil {
			n.place, n.held = place, l
			return
		}
	}
}

// AddHost implements fabric.Fabric. The address must be one that a loopback address stands for, and
// no other host's that is up may be mapped to the same.
func (n *Net) AddHost(name string, addr netip.Addr) (fabric.Host, error) {
	addr = addr.Unmap()
	mapped, ok := n.mapped(addr)
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed:
		return nil, fmt.Errorf("adding host %q: the network is closed", name)
	case name == "":
		return nil, fmt.Errorf("adding a host with address %s: it has no name", addr)
	case !ok:
		return nil, fmt.Errorf("adding host %q: no loopback address stands for %s: want a private IPv4 address outside 10.0.0.0/24", name, addr)
	case n.byName[name] != nil:
		return nil, fmt.Errorf("adding host %q: there is one with that name, at %s", name, n.byName[name].Addr())
	case n.byAddr[addr] != nil:
		return nil, fmt.Errorf("adding host %q: its address %s is that of host %q", name, addr, n.byAddr[addr].Name())
	case n.byMapped[mapped] != nil:
		return nil, fmt.Errorf("adding host %q: %s stands for its address %s, and for %s of host %q",
			name, mapped, addr, n.byMapped[mapped].Addr(), n.byMapped[mapped].Name())
	}
	h := &Host{
		net: n, mapped: mapped,
		listeners: make(map[uint16]*listener),
		conns:     make(map[*conn]struct{}),
	}
	h.Init(name, addr, &n.Directory, h)
	n.byName[name], n.byAddr[addr], n.byMapped[mapped] = h, h, h
	return h, nil
}

// Close implements fabric.Fabric.
func (n *Net) Close() error {
	n.mu.Lock()
	n.closed = true
	hosts := slices.SortedFunc(maps.Values(n.byName), func(a, b *Host) int { return strings.Compare(a.Name(), b.Name()) })
	n.mu.Unlock()
	for _, h := range hosts {
		_ = h.Close() // never fails
	}
	if n.held != nil {
		return n.held.Close()
	}
	return nil
}

func (n *Net) hostAt(addr netip.Addr) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.byAddr[addr]
}

func (n *Net) remove(h *Host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.byName[h.Name()] == h {
		delete(n.byName, h.Name())
		delete(n.byAddr, h.Addr())
		delete(n.byMapped, h.mapped)
	}
}

// announce tells the accepting end about a flow, before it begins.
func (n *Net) announce(f flow, a arrival) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dialled[f] = a
}

// retract forgets a flow that nobody accepted.
func (n *Net) retract(f flow) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.dialled, f)
}

// arrived is what the dialler announced; where it is not of this process, the
// connection as the system shows it, with hosts' addresses where they are meant.
func (n *Net) arrived(f flow) arrival {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a, ok := n.dialled[f]; ok {
		delete(n.dialled, f)
		return a
	}
	return arrival{local: n.unmap(f.to), remote: n.unmap(f.from)}
}

func (n *Net) unmap(ap netip.AddrPort) netip.AddrPort {
	if h := n.byMapped[ap.Addr()]; h != nil {
		return netip.AddrPortFrom(h.Addr(), ap.Port())
	}
	return ap
}

func tcpAddr(ap netip.AddrPort) *net.TCPAddr { return net.TCPAddrFromAddrPort(ap) }
