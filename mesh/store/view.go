// Package store keeps the objects of a cluster and hands out immutable Views of
// them. Sources are a folder, the simulator's memory or a Kubernetes API server;
// what watches them sees one View after another, coalesced.
package store

import (
	"cmp"
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
func (v *View) Of(kind string) []*config.Object { return v.objects[kind] }

// Get returns one object, or nil.
func (v *View) Get(kind, namespace, name string) *config.Object {
	list := v.objects[kind]
	i, ok := slices.BinarySearchFunc(list, config.Key{Namespace: namespace, Name: name}, func(o *config.Object, k config.Key) int {
		return cmp.Or(cmp.Compare(o.Namespace, k.Namespace), cmp.Compare(o.Name, k.Name))
	})
	if !ok {
		return nil
	}
	return list[i]
}

// Source is where Views come from.
type Source interface {
	// View returns the latest state.
	View() *View
	// Changed returns a channel that is closed when there is a newer View than the given one.
	Changed(since *View) <-chan struct{}
}
