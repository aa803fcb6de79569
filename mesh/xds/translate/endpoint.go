package translate

import (
	"cmp"
	"maps"
	"slices"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// endpoints makes the assignments of all EDS clusters. They depend on endpoints,
// subsets and PeerAuthentication only, and where policies look at it on where the
// client is: a Pod that comes or goes changes nothing else.
func (p *proxy) endpoints() error {
	for _, s := range p.seenOrCollecting() {
		d := p.scope.policies[s]
		if s.Resolution != model.ByEndpoints || s.Headless && !p.scope.router {
			continue
		}
		key := "|eds|" + p.id(s) + "|" + p.policyID(d) + "|" + p.id(s.Endpoints) + "|" + p.id(peersKey{}) + "|" + p.vicinity(s, d)
		if p.forwards {
			key += "|sni"
		}
		m, err := p.once(key, func() (made, error) { return finish(p.assignments(s, d)) })
		if err := p.put(resource.Endpoint, m, err); err != nil {
			return err
		}
	}
	return nil
}

func (p *proxy) assignments(s *model.Service, d *model.DestinationRule) []*endpointpb.ClusterLoadAssignment {
	var list []*endpointpb.ClusterLoadAssignment
	add := func(port *model.Port, subset *model.Subset) {
		policy := p.policyFor(d, subset, port.Number)
		if policy.Balancer != nil && policy.Balancer.Algorithm == model.Passthrough {
			return // the cluster is ORIGINAL_DST
		}
		name := ""
		if subset != nil {
			name = subset.Name
		}
		list = append(list, p.assignment(names.Outbound(port.Number, name, s.Host), s, port, subset, policy))
		if p.forwards {
			list = append(list, p.assignment(names.SNI(port.Number, name, s.Host), s, port, subset, policy))
		}
	}
	for _, port := range s.Ports {
		add(port, nil)
		if d == nil {
			continue
		}
		for _, subset := range d.Subsets {
			add(port, subset)
		}
	}
	return list
}

// assignment groups a port's endpoints by locality. Unhealthy ones are left out, and
// of a service that is local to nodes those on others.
func (p *proxy) assignment(name string, s *model.Service, port *model.Port, subset *model.Subset, policy *model.TrafficPolicy) *endpointpb.ClusterLoadAssignment {
	groups := map[model.Locality]*localGroup{}
	for _, e := range s.Endpoints.On(port) {
		if e.Health != model.Healthy || !p.families.reaches(e.Address) || subset != nil && !e.Carries(subset.Labels) || s.NodeLocal && e.Host != p.node.Host {
			continue
		}
		g := groups[e.Locality]
		if g == nil {
			g = &localGroup{at: e.Locality}
			groups[e.Locality] = g
		}
		g.members = append(g.members, e)
		g.weight += e.Weight
	}
	order := slices.SortedFunc(maps.Values(groups), func(a, b *localGroup) int {
		return cmp.Or(cmp.Compare(a.at.Region, b.at.Region), cmp.Compare(a.at.Zone, b.at.Zone), cmp.Compare(a.at.SubZone, b.at.SubZone))
	})
	a := &endpointpb.ClusterLoadAssignment{ClusterName: name}
	for _, g := range p.place(order, s, policy) {
		l := &endpointpb.LocalityLbEndpoints{
			Locality:            &corepb.Locality{Region: g.at.Region, Zone: g.at.Zone, SubZone: g.at.SubZone},
			LoadBalancingWeight: wrapperspb.UInt32(g.weight), Priority: g.priority,
		}
		for _, e := range g.members {
			l.LbEndpoints = append(l.LbEndpoints, p.lbEndpoint(e))
		}
		a.Endpoints = append(a.Endpoints, l)
	}
	return a
}

func (p *proxy) lbEndpoint(e *model.Endpoint) *endpointpb.LbEndpoint {
	m := &corepb.Metadata{FilterMetadata: map[string]*structpb.Struct{}}
	if e.TLSMode == "istio" && p.mesh.MTLS(e.Namespace, e.Labels).On(e.Port) != model.Disable {
		m.FilterMetadata["envoy.transport_socket_match"] = stringsStruct(map[string]string{"tlsMode": "istio"})
	}
	if e.Workload != "" {
		m.FilterMetadata["istio"] = stringsStruct(map[string]string{
			"workload": e.Workload + ";" + e.Namespace + ";" + e.App + ";" + e.Revision + ";" + e.Cluster})
	}
	lb := &endpointpb.LbEndpoint{
		HostIdentifier: &endpointpb.LbEndpoint_Endpoint{Endpoint: &endpointpb.Endpoint{Address: address(e.Address, e.Port)}},
		HealthStatus:   corepb.HealthStatus_HEALTHY, LoadBalancingWeight: wrapperspb.UInt32(e.Weight),
	}
	if len(m.FilterMetadata) > 0 {
		lb.Metadata = m
	}
	return lb
}

func address(host string, port uint32) *corepb.Address {
	return &corepb.Address{Address: &corepb.Address_SocketAddress{SocketAddress: &corepb.SocketAddress{
		Address: host, PortSpecifier: &corepb.SocketAddress_PortValue{PortValue: port}}}}
}
