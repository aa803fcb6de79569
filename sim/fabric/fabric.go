// Package fabric is the network under a world: hosts with addresses, names and
// capture rules. simnet implements it in virtual time, loopnet on 127.0.0.0/8.
package fabric

import (
	"net/netip"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
)

// Fabric makes hosts and connects them.
type Fabric interface {
	// AddHost adds a host. Names are unique among hosts that are up.
	AddHost(name string, addr netip.Addr) (Host, error)
	// SetResolver sets how names that are no literals resolve, as seen from a process: a
	// host's capture rules may lead its queries to the host's proxy.
	SetResolver(func(from Process, name string) ([]netip.Addr, error))
	// SetServiceAddress sets what kube-proxy does: a destination that is a Service's
	// address becomes one of its endpoints. It is asked for connections that no
	// capture rule turned aside. ok is false where the destination is no Service's;
	// a Service without endpoints is an error (connection refused).
	SetServiceAddress(func(from Host, dst netip.AddrPort) (endpoint netip.AddrPort, ok bool, err error))
	// Close breaks all connections and listeners.
	Close() error
}

// Host is a pod or a client with one address of its own and a loopback interface.
type Host interface {
	Name() string
	Addr() netip.Addr
	// Network is the host's network as a process of that user sees it.
	Network(uid, gid int) netx.Network
	// SetCapture installs redirect rules; nil removes them. Established connections stay.
	SetCapture(Capture)
	// Close takes the host down: its connections are reset, its listeners closed.
	Close() error
}

// Capture decides about new connections; *capture.Rules implements it.
type Capture interface {
	Output(capture.Packet) capture.Verdict
	Prerouting(capture.Packet) capture.Verdict
}
