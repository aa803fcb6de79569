package translate

import (
	"cmp"
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
// subsets and PeerAuthentication only: a Pod that comes or goes changes nothing else.
func (p *proxy) endpoints() error {
	for _, s := range p.seenOrCollecting() {
		d := p.scope.policies[s]
		if s.Resolution != model.ByEndpoints || s.Headless && !p.scope.router {
			continue
		}
		local := p.nearby(s, d)
		key := "|eds|" + p.id(s) + "|" + p.policyID(d) + "|" + p.id(s.Endpoints) + "|" + p.id(peersKey{})
		if local != nil {
			key += "|" + local.Region + "/" + local.Zone + "/" + local.SubZone
		}
		m, err := p.once(key, func() (made, error) { return finish(p.assignments(s, d, local)) })
		if err := p.put(resource.Endpoint, m, err); err != nil {
			return err
		}
	}
	return nil
}

// nearby is the proxy's locality where any of the service's policies makes it matter.
func (p *proxy) nearby(s *model.Service, d *model.DestinationRule) *model.Locality {
	if p.node.Locality == (model.Locality{}) {
		return nil
	}
	for _, port := range s.Ports {
		if p.byLocality(p.policyFor(d, nil, port.Number)) {
			return &p.node.Locality
		}
		if d == nil {
			continue
		}
		for _, subset := range d.Subsets {
			if p.byLocality(p.policyFor(d, subset, port.Number)) {
				return &p.node.Locality
			}
		}
	}
	return nil
}

// byLocality: Istio fails over between localities only where outliers are detected.
func (t *Translator) byLocality(policy *model.TrafficPolicy) bool {
	if policy.Outlier == nil {
		return false
	}
	if policy.Balancer != nil && policy.Balancer.Locality != nil {
		return *policy.Balancer.Locality
	}
	return t.mesh.Settings.LocalityLB
}

func (p *proxy) assignments(s *model.Service, d *model.DestinationRule, local *model.Locality) []*endpointpb.ClusterLoadAssignment {
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
		list = append(list, p.assignment(names.Outbound(port.Number, name, s.Host), s, port, subset, policy, local))
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

// assignment groups a port's endpoints by locality. Unhealthy ones are left out.
func (p *proxy) assignment(name string, s *model.Service, port *model.Port, subset *model.Subset, policy *model.TrafficPolicy, local *model.Locality) *endpointpb.ClusterLoadAssignment {
	a := &endpointpb.ClusterLoadAssignment{ClusterName: name}
	groups := map[model.Locality]*endpointpb.LocalityLbEndpoints{}
	var order []model.Locality
	for _, e := range s.Endpoints.On(port) {
		if e.Health != model.Healthy || subset != nil && !model.Selects(subset.Labels, e.Labels) {
			continue
		}
		g := groups[e.Locality]
		if g == nil {
			g = &endpointpb.LocalityLbEndpoints{
				Locality:            &corepb.Locality{Region: e.Locality.Region, Zone: e.Locality.Zone, SubZone: e.Locality.SubZone},
				LoadBalancingWeight: wrapperspb.UInt32(0),
			}
			groups[e.Locality] = g
			order = append(order, e.Locality)
		}
		g.LbEndpoints = append(g.LbEndpoints, p.lbEndpoint(e))
		g.LoadBalancingWeight.Value += e.Weight
	}
	slices.SortFunc(order, func(a, b model.Locality) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.SubZone, b.SubZone))
	})
	for _, l := range order {
		a.Endpoints = append(a.Endpoints, groups[l])
	}
	if local != nil && p.byLocality(policy) {
		prioritize(a.Endpoints, order, *local)
	}
	return a
}

// prioritize numbers localities by how much of the client's they share, without gaps.
func prioritize(groups []*endpointpb.LocalityLbEndpoints, order []model.Locality, local model.Locality) {
	distance := make([]uint32, len(order))
	for i, l := range order {
		switch {
		case l == local:
			distance[i] = 0
		case l.Region == local.Region && l.Zone == local.Zone:
			distance[i] = 1
		case l.Region == local.Region:
			distance[i] = 2
		default:
			distance[i] = 3
		}
	}
	used := slices.Compact(slices.Sorted(slices.Values(distance)))
	for i, g := range groups {
		g.Priority = uint32(slices.Index(used, distance[i]))
	}
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
