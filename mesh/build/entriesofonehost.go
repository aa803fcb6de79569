package build

import (
	"maps"
	"reflect"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// addEntry adds a ServiceEntry's service. Entries of one namespace may share a host: as in
// Istio the oldest one is the service, and the others add the ports that it has not and
// their endpoints, where they are found in the same way, selected alike and visible to the same namespaces.
func (b *builder) addEntry(s *model.Service) {
	for _, older := range b.visible[s.Host] {
		if sharesHost(older, s) {
			join(older, s)
			return
		}
	}
	b.addService(s)
}

func sharesHost(older, s *model.Service) bool {
	return !older.Kubernetes && older.Namespace == s.Namespace && older.Resolution == s.Resolution &&
		maps.Equal(older.Selector, s.Selector) && reflect.DeepEqual(older.Export, s.Export)
}

// join adds to a service what another one of its host has.
func join(older, s *model.Service) {
	byPort := older.Endpoints.ByPort
	for _, p := range s.Ports {
		if older.Port(p.Number) == nil {
			older.Ports = append(older.Ports, p)
		}
		byPort[p.Number] = append(byPort[p.Number], s.Endpoints.ByPort[p.Number]...)
	}
	older.Endpoints = collect(byPort)
}
