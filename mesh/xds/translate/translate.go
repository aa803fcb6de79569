// Package translate makes Envoy's configuration of a model.Mesh, one proxy at a
// time: names, shapes and choices of fields are those of istiod, so that a real
// Envoy takes it and Istio's users recognise it.
//
// In: a model.Mesh and a model.Node. Out: a resource.Set. It imports the model,
// names, resource and Envoy's protos; it must not import config, store or build.
//
// Work is shared: a resource is made once for all proxies that get the same, and is
// kept from one mesh to the next as long as everything that it was made of is equal.
package translate

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// Translator makes the resources of the proxies of one mesh. It may be used by many goroutines.
type Translator struct {
	mesh *model.Mesh

	mu     sync.Mutex
	ids    map[any]uint64   // of the parts of this mesh, by pointer
	known  map[string]known // of the same parts, by name
	next   uint64
	base   string // id of what everything depends on
	made   map[string]made
	before map[string]made // of the previous mesh, until it is used here
	scopes map[string]*scope
}

// known is a part of a mesh and the number that stands for its content.
type known struct {
	value any
	id    uint64
}

// made is what a key led to: resources of one type, and what they say about themselves.
type made []*resource.Resource

// New returns a translator. prev, which may be nil, is the one of the mesh before:
// parts that are equal keep their numbers, and what was made of them is used again.
func New(m *model.Mesh, prev *Translator) *Translator {
	t := &Translator{
		mesh: m, ids: map[any]uint64{}, known: map[string]known{}, made: map[string]made{},
		scopes: map[string]*scope{},
	}
	var old map[string]known
	if prev != nil {
		prev.mu.Lock()
		old, t.next, t.before = prev.known, prev.next, prev.made
		prev.mu.Unlock()
	}
	t.base = "m" + strconv.FormatUint(t.number(old, "settings", m.Settings), 10)
	for _, s := range m.Services {
		name := s.Namespace + "/" + s.Host
		plain := *s
		plain.Endpoints = nil // apart: endpoints change on their own
		t.ids[s] = t.number(old, "service "+name, plain)
		t.ids[s.Endpoints] = t.number(old, "endpoints "+name, *s.Endpoints)
	}
	for _, d := range m.Policies() {
		t.ids[d] = t.number(old, "policy "+d.Namespace+"/"+d.Host+"/"+d.Name, *d)
	}
	for _, v := range m.Virtual {
		t.ids[v] = t.number(old, "virtual "+v.Namespace+"/"+v.Name, *v)
	}
	for _, g := range m.Gateways {
		t.ids[g] = t.number(old, "gateway "+g.Ref(), *g)
	}
	for _, f := range m.AllEnvoyFilters() {
		t.ids[f] = t.number(old, "envoy filter "+f.Namespace+"/"+f.Name, *f)
	}
	t.ids[peersKey{}] = t.number(old, "peers", m.Peers())
	return t
}

type peersKey struct{}

// number returns the number of a part: the one it had if it is equal, else a new one.
func (t *Translator) number(old map[string]known, name string, value any) uint64 {
	k, ok := old[name]
	if !ok || !reflect.DeepEqual(k.value, value) {
		t.next++
		k = known{value, t.next}
	}
	t.known[name] = k
	return k.id
}

// id is the number of a part, as text for keys.
func (t *Translator) id(part any) string { return strconv.FormatUint(t.ids[part], 36) }

// once makes resources for a key, unless they are there already.
func (t *Translator) once(key string, make func() (made, error)) (made, error) {
	key = t.base + key
	if m, ok := t.made[key]; ok {
		return m, nil
	}
	m, ok := t.before[key]
	if !ok {
		var err error
		if m, err = make(); err != nil {
			return nil, err
		}
	}
	t.made[key] = m
	return m, nil
}

// once is the translator's, for all proxies with addresses of the same families.
func (p *proxy) once(key string, make func() (made, error)) (made, error) {
	return p.Translator.once(p.families.key()+key, make)
}

// Proxy returns all resources of a proxy. Every type is present, if only empty.
func (t *Translator) Proxy(n model.Node) (_ resource.Set, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer func() {
		switch r := recover().(type) {
		case nil:
		case invalid:
			err = fmt.Errorf("translate for %s %s.%s: %w", n.Type, n.ID, n.Namespace, r.error)
		default:
			panic(r)
		}
	}()
	set := resource.Set{}
	for _, typ := range resource.Types {
		set[typ] = map[string]*resource.Resource{}
	}
	if w := t.mesh.Workload(n.Namespace, n.ID); w != nil {
		if len(n.Labels) == 0 {
			n.Labels = w.Labels
		}
		if n.Locality == (model.Locality{}) {
			n.Locality = w.Locality
		}
		n.Host = cmp.Or(n.Host, w.Host)
	}
	p := &proxy{Translator: t, node: n, families: familiesOf(n), scope: t.scopeOf(n), set: set}
	switch n.Type {
	case model.Sidecar:
		err = p.sidecar()
	case model.Router:
		err = p.router()
	default:
		err = fmt.Errorf("node type %q is not supported", n.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("translate for %s %s.%s: %w", n.Type, n.ID, n.Namespace, err)
	}
	if err := p.patch(); err != nil {
		return nil, fmt.Errorf("translate for %s %s.%s: %w", n.Type, n.ID, n.Namespace, err)
	}
	return set, nil
}

// proxy is the work for one proxy.
type proxy struct {
	*Translator
	node     model.Node
	families families
	scope    *scope
	set      resource.Set
	// serviceless: routes are being made for a host that has no service on the port.
	// Istio then knows no service's ports either, and keeps the listener's.
	serviceless bool
	// forwards: a Gateway sends TLS on by server names, for which there are clusters.
	forwards bool
}

func (p *proxy) put(typ resource.Type, m made, err error) error {
	if err != nil {
		return err
	}
	for _, r := range m {
		p.set.Put(typ, r)
	}
	return nil
}

func (p *proxy) sidecar() error {
	if err := p.clusters(); err != nil {
		return err
	}
	if err := p.clientSecrets(); err != nil {
		return err
	}
	if err := p.endpoints(); err != nil {
		return err
	}
	if err := p.outbound(); err != nil {
		return err
	}
	if err := p.names(); err != nil {
		return err
	}
	return p.inbound()
}

func (p *proxy) router() error {
	p.forwards = slices.ContainsFunc(p.servers(), func(s served) bool { return s.server.TLS != nil && s.server.TLS.Auto })
	if err := p.clusters(); err != nil {
		return err
	}
	if err := p.clientSecrets(); err != nil {
		return err
	}
	if err := p.endpoints(); err != nil {
		return err
	}
	return p.gateway()
}

// validated is a message that knows its own rules, as all of Envoy's do.
type validated interface {
	proto.Message
	Validate() error
}

// finish makes resources of messages, which must obey their own rules.
func finish[M validated](messages []M) (made, error) {
	out := make(made, 0, len(messages))
	for _, m := range messages {
		name := resource.NameOf(m)
		if err := m.Validate(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		r, err := resource.New(name, m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, r)
	}
	return out, nil
}
