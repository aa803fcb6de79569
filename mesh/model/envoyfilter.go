package model

import (
	"cmp"
	"slices"
	"time"
)

// EnvoyFilter is a set of patches of what proxies get.
type EnvoyFilter struct {
	Name, Namespace string
	Selector        map[string]string // nil: the namespace, or the mesh from the root namespace
	Priority        int32
	Patches         []*EnvoyPatch
	Created         time.Time
	Source          Source
}

// EnvoyPatch is one patch. Names of targets, contexts and operations are Istio's.
type EnvoyPatch struct {
	Target    string // "HTTP_FILTER"
	Context   string // "ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY"
	Version   string // regular expression of the proxy's version; "": any
	Operation string // "MERGE"
	Value     []byte // JSON of the message; nil: none
	Path      string // of the patch in its object: "spec.configPatches[0]"
	// At most one of these is set.
	Cluster  *ClusterMatch
	Listener *ListenerMatch
	Route    *RouteTableMatch
}

// ClusterMatch picks clusters; zero fields match any.
type ClusterMatch struct {
	Name, Service, Subset string
	Port                  uint32
}

// ListenerMatch picks listeners, filter chains and filters; zero fields match any.
type ListenerMatch struct {
	Name           string
	Port           uint32
	ListenerFilter string
	Chain          *ChainMatch
}

// ChainMatch picks filter chains, and in them a network filter and an HTTP filter.
type ChainMatch struct {
	Name, SNI, Transport string
	Protocols            []string
	Port                 uint32 // of the chain's own match
	Filter, HTTPFilter   string
}

// RouteTableMatch picks route configurations, virtual hosts and routes; zero fields match any.
type RouteTableMatch struct {
	Name              string
	Port              uint32
	PortName, Gateway string
	HasHost           bool
	Host, Domain      string
	HasRoute          bool
	Route, Action     string // Action: "ROUTE", "REDIRECT", "DIRECT_RESPONSE"; "ANY" or "": any
}

// EnvoyFilters returns those of a workload, in the order in which they are applied: by
// priority; of one priority, those of the root namespace first, then the oldest.
func (m *Mesh) EnvoyFilters(namespace string, labels map[string]string) []*EnvoyFilter {
	var list []*EnvoyFilter
	for _, f := range m.envoyFilters {
		if slices.Contains(m.policyNamespaces(namespace), f.Namespace) && Selects(f.Selector, labels) {
			list = append(list, f)
		}
	}
	local := func(f *EnvoyFilter) int {
		if f.Namespace == m.Settings.RootNamespace {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(list, func(a, b *EnvoyFilter) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), local(a)-local(b), a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// AllEnvoyFilters returns all of them, oldest first.
func (m *Mesh) AllEnvoyFilters() []*EnvoyFilter { return m.envoyFilters }
