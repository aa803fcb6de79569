package compile

import (
	"bytes"
	"slices"
	"sync"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// Shared is what the proxies of one process have in common: most of a mesh's proxies get
// mostly the same resources, and each of these is kept and compiled once for all of them.
// It grows as long as it is used; what a proxy compiled with the help of files is not in it.
type Shared struct {
	mu        sync.Mutex
	resources map[sharedKey][]*resource.Resource
	results   map[*resource.Resource][]compiled
}

type sharedKey struct {
	typ           resource.Type
	name, version string
}

// NewShared returns one that has nothing yet.
func NewShared() *Shared {
	return &Shared{resources: map[sharedKey][]*resource.Resource{}, results: map[*resource.Resource][]compiled{}}
}

// Resource returns the first resource that was equal to this one, or this one.
func (s *Shared) Resource(t resource.Type, r *resource.Resource) *resource.Resource {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := sharedKey{t, r.Name, r.Version}
	for _, known := range s.resources[key] {
		// Not every control plane's versions are hashes.
		if known.Body.GetTypeUrl() == r.Body.GetTypeUrl() && bytes.Equal(known.Body.GetValue(), r.Body.GetValue()) {
			return known
		}
	}
	s.resources[key] = append(s.resources[key], r)
	return r
}

// Set replaces each resource by the first that was equal to it.
func (s *Shared) Set(set resource.Set) {
	for t, all := range set {
		for name, r := range all {
			all[name] = s.Resource(t, r)
		}
	}
}

// find returns what somebody made of the same inputs.
func (s *Shared) find(inputs []*resource.Resource) (compiled, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.results[inputs[0]] {
		if slices.Equal(c.inputs, inputs) {
			return c, true
		}
	}
	return compiled{}, false
}

func (s *Shared) add(c compiled) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results[c.inputs[0]] = append(s.results[c.inputs[0]], c)
}
