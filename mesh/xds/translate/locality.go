package translate

import (
	"math"
	"slices"
	"strings"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// localGroup is the endpoints of one locality and priority.
type localGroup struct {
	at       model.Locality
	members  []*model.Endpoint
	weight   uint32
	priority uint32
}

// locality is the locality balancing that holds for a cluster: the policy's own, else
// the Service's, else the mesh's; nil for none. failsOver tells whether endpoints that
// are farther off have a lower priority. Istio does that only where outliers are
// detected, as nothing else makes Envoy give a priority up, or where the Service asks.
func (t *Translator) locality(s *model.Service, policy *model.TrafficPolicy) (set *model.LocalityBalancing, failsOver bool) {
	failsOver = policy.Outlier != nil
	if b := policy.Balancer; b != nil && b.LocalityOff {
		return nil, false
	} else if b != nil && b.Locality != nil {
		return b.Locality, failsOver
	}
	if wish := s.Distribution.Locality(); wish != nil {
		return wish, true
	}
	return t.mesh.Settings.Locality, failsOver
}

// weighByLocality makes the cluster heed the weights of localities. Istio leaves it out
// where only the distance counts: it would interfere with the balancing policy.
func (p *proxy) weighByLocality(c *clusterpb.Cluster, s *model.Service, policy *model.TrafficPolicy) {
	set, failsOver := p.locality(s, policy)
	if set == nil || len(set.Distribute) == 0 && (!failsOver || len(set.Failover) == 0 && len(set.Priority) == 0) {
		return
	}
	c.CommonLbConfig.LocalityConfigSpecifier = &clusterpb.Cluster_CommonLbConfig_LocalityWeightedLbConfig_{
		LocalityWeightedLbConfig: &clusterpb.Cluster_CommonLbConfig_LocalityWeightedLbConfig{}}
}

// vicinity is all that a service's assignments look at of the client, for the key of
// what is made once. It is empty for clients that all get the same.
func (p *proxy) vicinity(s *model.Service, d *model.DestinationRule) string {
	var key strings.Builder
	if s.NodeLocal {
		key.WriteString("on " + p.node.Host + " ")
	}
	near := false
	look := func(policy *model.TrafficPolicy) {
		set, failsOver := p.locality(s, policy)
		if set == nil || !failsOver && len(set.Distribute) == 0 {
			return
		}
		near = true
		for _, l := range set.Priority {
			key.WriteString(l + "=" + p.topology(l) + " ")
		}
	}
	for _, port := range s.Ports {
		look(p.policyFor(d, nil, port.Number))
		if d == nil {
			continue
		}
		for _, subset := range d.Subsets {
			look(p.policyFor(d, subset, port.Number))
		}
	}
	if near {
		at := p.node.Locality
		key.WriteString(at.Region + "/" + at.Zone + "/" + at.SubZone)
	}
	return key.String()
}

// topology is the value that the proxy has for a label of failoverPriority.
func (p *proxy) topology(label string) string {
	return model.Topology(label, p.node.Labels, p.node.Locality, p.node.Cluster, p.node.Host)
}

// place gives groups weights and priorities by where the client is.
func (p *proxy) place(groups []*localGroup, s *model.Service, policy *model.TrafficPolicy) []*localGroup {
	set, failsOver := p.locality(s, policy)
	switch {
	case set == nil:
	case len(set.Distribute) > 0:
		distribute(groups, set.Distribute, p.node.Locality)
	case !failsOver:
	case len(set.Priority) > 0 && s.Resolution == model.ByEndpoints: // Istio has it for EDS only
		groups = p.rank(groups, set.Priority)
		if len(set.Failover) > 0 {
			prioritize(groups, set.Failover, p.node.Locality)
		}
	case len(set.Priority) == 0 || len(set.Failover) > 0:
		prioritize(groups, set.Failover, p.node.Locality)
	}
	return groups
}

// distribute sets the weights that the first rule for the client's locality names. A
// pattern's weight is spread over the localities that match it by the weights that they
// had, and localities that no pattern matches get nothing.
func distribute(groups []*localGroup, rules []model.Distribute, client model.Locality) {
	i := slices.IndexFunc(rules, func(d model.Distribute) bool { return client.Within(d.From) })
	if i < 0 {
		return
	}
	left := slices.Clone(groups)
	for _, to := range rules[i].To {
		var matched []*localGroup
		total := uint32(0)
		left = slices.DeleteFunc(left, func(g *localGroup) bool {
			if !g.at.Within(to.Locality) {
				return false
			}
			matched = append(matched, g)
			total += g.weight
			return true
		})
		for _, g := range matched {
			g.weight = uint32(math.Ceil(float64(g.weight) * float64(to.Weight) / float64(total)))
		}
	}
	for _, g := range left {
		g.members = nil
	}
}

// prioritize numbers groups by how much of the client's locality they share, below the
// priorities that they have. With a failover rule for the client's region, the region
// that it names comes before the others.
func prioritize(groups []*localGroup, rules []model.Failover, client model.Locality) {
	next := slices.IndexFunc(rules, func(f model.Failover) bool { return f.From == client.Region })
	for _, g := range groups {
		distance := uint32(0)
		switch {
		case g.at.Region != client.Region && next >= 0 && g.at.Region != rules[next].To:
			distance = 4
		case g.at.Region != client.Region:
			distance = 3
		case g.at.Zone != client.Zone:
			distance = 2
		case g.at.SubZone != client.SubZone:
			distance = 1
		}
		g.priority = g.priority*5 + distance
	}
	closeGaps(groups)
}

// rank splits groups by the labels that their members have in common with the client:
// those that have all come first, then those that have all but the last, and so on.
func (p *proxy) rank(groups []*localGroup, labels []string) []*localGroup {
	var ranked []*localGroup
	for _, g := range groups {
		byRank := make([]*localGroup, len(labels)+1)
		for _, e := range g.members {
			rank := 0
			for i, l := range labels {
				name, want, given := strings.Cut(l, "=")
				if !given {
					want = p.topology(name)
				}
				if want != model.Topology(name, e.Labels, e.Locality, e.Cluster, e.Host) {
					rank = len(labels) - i
					break
				}
			}
			if byRank[rank] == nil {
				byRank[rank] = &localGroup{at: g.at, priority: uint32(rank)}
			}
			byRank[rank].members = append(byRank[rank].members, e)
			byRank[rank].weight += e.Weight
		}
		ranked = append(ranked, slices.DeleteFunc(byRank, func(g *localGroup) bool { return g == nil })...)
	}
	closeGaps(ranked)
	return ranked
}

// closeGaps numbers the priorities that are used from 0 on: Envoy wants no gaps.
func closeGaps(groups []*localGroup) {
	var used []uint32
	for _, g := range groups {
		used = append(used, g.priority)
	}
	slices.Sort(used)
	used = slices.Compact(used)
	for _, g := range groups {
		g.priority = uint32(slices.Index(used, g.priority))
	}
}
