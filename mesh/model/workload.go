package model

import (
	"slices"
	"time"
)

// MTLS is what a workload accepts.
type MTLS uint8

// The modes. Unset inherits.
const (
	Unset MTLS = iota
	Disable
	Permissive
	Strict
)

// PeerAuthentication is one policy.
type PeerAuthentication struct {
	Name, Namespace string
	Selector        map[string]string // nil: the namespace, or the mesh from the root namespace
	Mode            MTLS
	Ports           map[uint32]MTLS // workload ports
	Created         time.Time
	Source          Source
}

// Effective is what a workload accepts, with the policy behind it.
type Effective struct {
	Mode   MTLS
	Ports  map[uint32]MTLS
	Source Source
}

// On is the mode of a workload port.
func (e Effective) On(port uint32) MTLS {
	if m := e.Ports[port]; m != Unset {
		return m
	}
	return e.Mode
}

// MTLS settles inheritance: mesh, namespace, workload, the oldest of each level,
// an unset mode taking the level above. With no policy the mode is permissive.
func (m *Mesh) MTLS(namespace string, labels map[string]string) Effective {
	effective := Effective{Mode: Permissive}
	levels := []func(*PeerAuthentication) bool{
		func(p *PeerAuthentication) bool {
			return p.Namespace == m.Settings.RootNamespace && p.Selector == nil
		},
		func(p *PeerAuthentication) bool {
			return p.Namespace == namespace && p.Selector == nil && namespace != m.Settings.RootNamespace
		},
		func(p *PeerAuthentication) bool {
			return p.Namespace == namespace && p.Selector != nil && Selects(p.Selector, labels)
		},
	}
	for _, level := range levels {
		i := slices.IndexFunc(m.peers, level) // peers are sorted by age
		if i < 0 {
			continue
		}
		p := m.peers[i]
		if p.Mode != Unset {
			effective.Mode, effective.Source = p.Mode, p.Source
		}
		if len(p.Ports) > 0 {
			effective.Ports = p.Ports
			if effective.Source.Config == "" {
				effective.Source = p.Source
			}
		}
	}
	return effective
}

// SidecarScope limits what proxies see.
type SidecarScope struct {
	Name, Namespace string
	Selector        map[string]string
	// Egress are the hosts for the ports that no listener has; nil: everything.
	Egress []EgressHost
	// Listeners are those of single ports, which know other hosts.
	Listeners []EgressListener
	AllowAny  *bool
	// EgressProxy gets what no service matches, where that is let out; nil: it goes where it was to go.
	EgressProxy *Destination
	// Ingress, where it is set, are all ports that the workload takes requests on.
	Ingress     []IngressListener
	InboundPool *Pool // of ports without their own; nil: the DestinationRule's
	Created     time.Time
	Source      Source
}

// IngressListener is one port of a workload, and where its application listens.
type IngressListener struct {
	Port     uint32
	Protocol Protocol
	Name     string
	// Target is the application's port, at the loopback address, or where Instance is set
	// at the workload's own; 0: where the client meant to go.
	Target   uint32
	Instance bool
	// IPv6 is the family of the address that somebody wrote.
	IPv6 bool
	Bind string // an address; empty: the workload's own
	Open bool   // nobody redirects connections: the proxy itself listens, at Bind
	Pool *Pool
}

// EgressListener is one port of outbound requests: what the proxy knows there.
type EgressListener struct {
	Port     uint32
	Protocol Protocol // in place of the services' own
	Bind     string   // an address; empty: those of the services
	Open     bool     // nobody redirects connections: the proxy itself listens, at Bind
	Loopback bool     // Bind is empty and stands for the proxy's own loopback addresses
	Hosts    []EgressHost
}

// EgressHost is "namespace/host".
type EgressHost struct {
	Namespace string // "*": any; "~": none; resolved from "."
	Host      string
}

// Scope returns the Sidecar that holds for a workload, or nil: one that selects
// it, else its namespace's, else the root namespace's; the oldest of each.
func (m *Mesh) Scope(namespace string, labels map[string]string) *SidecarScope {
	levels := []func(*SidecarScope) bool{
		func(s *SidecarScope) bool {
			return s.Namespace == namespace && s.Selector != nil && Selects(s.Selector, labels)
		},
		func(s *SidecarScope) bool { return s.Namespace == namespace && s.Selector == nil },
		func(s *SidecarScope) bool { return s.Namespace == m.Settings.RootNamespace && s.Selector == nil },
	}
	for _, level := range levels {
		if i := slices.IndexFunc(m.sidecars, level); i >= 0 {
			return m.sidecars[i]
		}
	}
	return nil
}

// Imports reports whether a scope lets a service or route of a namespace in.
func (s *SidecarScope) Imports(namespace, host string) bool {
	if s == nil || s.Egress == nil {
		return true
	}
	return hosts(s.Egress, namespace, host) || slices.ContainsFunc(s.Listeners, func(l EgressListener) bool { return hosts(l.Hosts, namespace, host) })
}

// ImportsAll reports whether a scope lets all ports of a service in; else they are ports.
func (s *SidecarScope) ImportsAll(namespace, host string) (all bool, ports []uint32) {
	if s == nil || s.Egress == nil || hosts(s.Egress, namespace, host) {
		return true, nil
	}
	for _, l := range s.Listeners {
		if hosts(l.Hosts, namespace, host) {
			ports = append(ports, l.Port)
		}
	}
	return false, ports
}

func hosts(list []EgressHost, namespace, host string) bool {
	return slices.ContainsFunc(list, func(e EgressHost) bool {
		return (e.Namespace == "*" || e.Namespace == namespace) && Overlaps(e.Host, host)
	})
}
