package serve

import (
	"maps"
	"sync"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// generation is one revision of the configuration, with what was made of it so far.
type generation struct {
	gen      Generator
	revision string
	seq      uint64

	mu      sync.Mutex
	results map[string]*result
	refs    *references
}

// result is what Generate made for one key.
type result struct {
	once sync.Once
	set  resource.Set
	err  error
}

// generate returns the resources of a proxy. Proxies with one key share the work;
// those without a key are told apart by their node id.
func (g *generation) generate(n Node) (resource.Set, error) {
	key := "id\x00" + n.ID
	if k, ok := g.gen.(Keyed); ok {
		key = "key\x00" + k.Key(n)
	}
	g.mu.Lock()
	r := g.results[key]
	if r == nil {
		r = new(result)
		g.results[key] = r
	}
	g.mu.Unlock()
	r.once.Do(func() { r.set, r.err = g.gen.Generate(n) })
	return r.set, r.err
}

// references remembers what resources refer to; they do not change, and are the
// same from one generation to the next wherever content is.
type references struct {
	mu sync.Mutex
	by map[*resource.Resource][]resource.Reference
	// before is the previous generation's; it is not chained any further.
	before map[*resource.Resource][]resource.Reference
}

func (r *references) next() *references {
	n := &references{by: map[*resource.Resource][]resource.Reference{}}
	if r != nil {
		r.mu.Lock()
		n.before = maps.Clone(r.by)
		r.mu.Unlock()
	}
	return n
}

// of returns the references of a resource. One that does not parse has none: the
// proxy will say what it thinks of it.
func (r *references) of(t resource.Type, res *resource.Resource) []resource.Reference {
	r.mu.Lock()
	refs, ok := r.by[res]
	if !ok {
		if refs, ok = r.before[res]; ok {
			r.by[res] = refs
		}
	}
	r.mu.Unlock()
	if ok {
		return refs
	}
	refs, err := res.References(t)
	if err != nil {
		refs = nil
	}
	r.mu.Lock()
	r.by[res] = refs
	r.mu.Unlock()
	return refs
}
