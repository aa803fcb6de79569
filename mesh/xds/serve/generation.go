package serve

import (
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

// references returns what a resource refers to. One that does not parse refers to
// nothing: the proxy will say what it thinks of it.
func references(t resource.Type, res *resource.Resource) []resource.Reference {
	refs, err := res.References(t)
	if err != nil {
		return nil
	}
	return refs
}
