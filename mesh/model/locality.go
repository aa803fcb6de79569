package model

import "strings"

// Locality is where a workload runs.
type Locality struct{ Region, Zone, SubZone string }

// ParseLocality reads "region/zone/subzone".
func ParseLocality(s string) Locality {
	parts := append(strings.SplitN(s, "/", 3), "", "")
	return Locality{Region: parts[0], Zone: parts[1], SubZone: parts[2]}
}

// Within reports whether a locality matches a pattern of localityLbSetting: "*" matches
// any segment, and what the pattern does not say does not matter.
func (l Locality) Within(pattern string) bool {
	p := ParseLocality(pattern)
	return (p.Region == "*" || p.Region == l.Region) &&
		(p.Zone == "*" || p.Zone == "" || p.Zone == l.Zone) &&
		(p.SubZone == "*" || p.SubZone == "" || p.SubZone == l.SubZone)
}

// The labels that say where a workload is. Endpoints and proxies have them whether or
// not they are written on the Pod.
const (
	LabelRegion  = "topology.kubernetes.io/region"
	LabelZone    = "topology.kubernetes.io/zone"
	LabelSubZone = "topology.istio.io/subzone"
	LabelCluster = "topology.istio.io/cluster"
	LabelNetwork = "topology.istio.io/network"
	LabelHost    = "kubernetes.io/hostname"
)

// LocalityBalancing prefers endpoints by where they are. With Distribute set, the
// others do not count (Istio: LocalityLoadBalancerSetting).
type LocalityBalancing struct {
	Distribute []Distribute
	Failover   []Failover
	// Priority are labels, or "label=value": the more of them, from the first on, an
	// endpoint has in common with the client, the sooner it is used.
	Priority []string
}

// Distribute says where the requests of clients in a locality go, in percent.
type Distribute struct {
	From string
	To   []LocalityShare // sorted by locality
}

// LocalityShare is one part of a distribution.
type LocalityShare struct {
	Locality string
	Weight   uint32
}

// Failover says which region is next when the client's own one fails.
type Failover struct{ From, To string }

// Distribution is a Service's own wish, which a DestinationRule's settings override.
type Distribution uint8

// The wishes.
const (
	Anywhere Distribution = iota
	PreferSameZone
	PreferSameNode
)

// Locality is the locality balancing that the wish stands for; nil for none. It fails
// over also where no outliers are detected.
func (d Distribution) Locality() *LocalityBalancing {
	labels := []string{LabelNetwork, LabelRegion, LabelZone, LabelSubZone}
	switch d {
	case PreferSameZone:
		return &LocalityBalancing{Priority: labels}
	case PreferSameNode:
		return &LocalityBalancing{Priority: append(labels, LabelHost)}
	default:
		return nil
	}
}

// Topology is the value of a label, of a workload with these labels at this place.
func Topology(label string, labels map[string]string, at Locality, cluster, host string) string {
	known := ""
	switch label {
	case LabelRegion:
		known = at.Region
	case LabelZone:
		known = at.Zone
	case LabelSubZone:
		known = at.SubZone
	case LabelCluster:
		known = cluster
	case LabelHost:
		known = host
	}
	if known != "" {
		return known
	}
	return labels[label]
}

// Carries reports whether an endpoint has all of some labels. Those that say where it is
// it has of its place, whether or not they are written on it.
func (e *Endpoint) Carries(labels map[string]string) bool {
	for key, value := range labels {
		if have, written := e.Labels[key]; Topology(key, e.Labels, e.Locality, e.Cluster, e.Host) != value || !written && have == value {
			return false
		}
	}
	return true
}
