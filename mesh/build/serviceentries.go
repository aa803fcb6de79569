package build

import (
	"cmp"
	"fmt"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// serviceEntries reads services that Kubernetes does not know.
func (b *builder) serviceEntries() {
	for _, o := range oldestFirst(b.view.Of("ServiceEntry")) {
		if e, ok := o.Value.(*networkingv1.ServiceEntry); ok {
			for i := range e.Spec.GetHosts() {
				b.addEntry(b.serviceEntry(o, &e.Spec, i))
			}
		}
	}
	allocate(b.parts.Services)
}

func (b *builder) serviceEntry(o *config.Object, e *networkingpb.ServiceEntry, host int) *model.Service {
	name := strings.ToLower(e.GetHosts()[host])
	s := &model.Service{
		Host: name, Name: name, Namespace: o.Namespace,
		Addresses: e.GetAddresses(), NoAllocation: optsOut(o),
		External: e.GetLocation() == networkingpb.ServiceEntry_MESH_EXTERNAL,
		Export:   visibility(e.GetExportTo(), b.options.MeshConfig.GetDefaultServiceExportTo(), o.Namespace),
		Selector: e.GetWorkloadSelector().GetLabels(), SubjectAltNames: e.GetSubjectAltNames(),
		Created: o.Created, Source: sourceAt(o, fmt.Sprintf("spec.hosts[%d]", host)),
	}
	switch e.GetResolution() {
	case networkingpb.ServiceEntry_NONE:
		s.Resolution = model.ByClient
	case networkingpb.ServiceEntry_DNS:
		s.Resolution = model.ByDNS
	case networkingpb.ServiceEntry_DNS_ROUND_ROBIN:
		s.Resolution = model.ByDNSRoundRobin
	case networkingpb.ServiceEntry_DYNAMIC_DNS:
		s.Resolution = model.ByName
	}
	byPort := map[uint32][]*model.Endpoint{}
	for _, p := range e.GetPorts() {
		protocol := declaredProtocol(p.GetProtocol())
		if protocol == model.UDP {
			continue
		}
		port := &model.Port{Number: p.GetNumber(), Target: cmp.Or(p.GetTargetPort(), p.GetNumber()), Name: p.GetName(), Protocol: protocol}
		s.Ports = append(s.Ports, port)
		byPort[port.Number] = b.entryEndpoints(o, e, s, port)
	}
	s.Endpoints = collect(byPort)
	return s
}

func (b *builder) entryEndpoints(o *config.Object, e *networkingpb.ServiceEntry, s *model.Service, port *model.Port) []*model.Endpoint {
	var list []*model.Endpoint
	if len(s.Selector) > 0 {
		for _, w := range b.selected(o.Namespace, s.Selector) {
			if w.Address == "" {
				continue
			}
			number := port.Target
			if w.entry != nil {
				number = cmp.Or(w.entry.Spec.GetPorts()[port.Name], number)
			}
			m := endpoint(w.Address, number, w)
			if !w.ready {
				m.Health = model.Unhealthy
			}
			list = append(list, m)
		}
		return list
	}
	for _, w := range e.GetEndpoints() {
		entry := &workload{entry: &networkingv1.WorkloadEntry{}, Workload: model.Workload{
			Namespace: o.Namespace, Labels: w.GetLabels(), Account: w.GetServiceAccount(), Locality: model.ParseLocality(w.GetLocality())}}
		m := endpoint(w.GetAddress(), cmp.Or(w.GetPorts()[port.Name], port.Target), entry)
		m.Weight = max(w.GetWeight(), 1)
		if known := b.pods.byAddress[w.GetAddress()]; known != nil && m.Workload == "" {
			m.Workload = known.Workload.Workload
		}
		list = append(list, m)
	}
	if len(list) == 0 && (s.Resolution == model.ByDNS || s.Resolution == model.ByDNSRoundRobin) && !model.IsWildcard(s.Host) {
		list = append(list, endpoint(s.Host, port.Target, nil))
	}
	return list
}
