// Package store keeps the objects of a cluster and hands out immutable Views of
// them. Sources are a folder, the simulator's memory or a Kubernetes API server;
// what watches them sees one View after another, coalesced.
package store

import (
	"maps"
	"slices"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// View is the state of a cluster at one instant. It never changes.
type View struct {
	// Revision grows with every change.
	Revision uint64
	objects  map[string][]*config.Object // by kind, sorted by namespace, then name
}

// Of returns the objects of a kind ("VirtualService"), sorted by namespace and name.
// "Gateway" is Istio's; the Gateway API's is "gateway.networking.k8s.io/Gateway"
// (config.Object.StoreKind).
func (v *View) Of(kind string) []*config.Object { return v.objects[kind] }

// Get returns one object, or nil.
func (v *View) Get(kind, namespace, name string) *config.Object {
	list := v.objects[kind]
	i, ok := search(list, namespace, name)
	if !ok {
		return nil
	}
	return list[i]
}

// All returns every object, sorted by kind, namespace and name.
func (v *View) All() []*config.Object {
	var all []*config.Object
	for _, kind := range slices.Sorted(maps.Keys(v.objects)) {
		all = append(all, v.objects[kind]...)
	}
	return all
}

// Source is where Views come from.
type Source interface {
	// View returns the latest state.
	View() *View
	// Changed returns a channel that is closed when there is a newer View than the given one.
	Changed(since *View) <-chan struct{}
}
