// Package build makes a model.Mesh of a store.View: an ordered list of
// processors, each of which reads some kinds of objects and adds to the parts of
// the mesh. Mistakes are Diagnostics, and the build goes on without what is wrong.
//
// In: a View and MeshConfig. Out: the model and what is wrong with the
// configuration as a whole (references between objects, conflicts, settings that
// are not supported yet). It must not import xDS, nor the data plane.
package build

import (
	"cmp"
	"slices"

	meshpb "istio.io/api/mesh/v1alpha1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

// Options of a build.
type Options struct {
	MeshConfig    *meshpb.MeshConfig // nil: Istio's defaults
	ClusterDomain string             // default "cluster.local"
	RootNamespace string             // default MeshConfig's, else "istio-system"
	// Keys returns the JSON Web Key Set of an address or, where that is empty, of an
	// issuer; nil: such rules have no keys, and refuse all tokens.
	Keys func(uri, issuer string) string
}

// builder is the state that processors share.
type builder struct {
	view    *store.View
	options Options
	parts   model.Parts
	found   []config.Diagnostic
	pods    pods
	visible map[string][]*model.Service // by host
	origin  origins
}

// origins lead from parts of the mesh back to their objects.
type origins struct {
	virtual  map[*model.VirtualService]*config.Object
	policies map[*model.DestinationRule]*config.Object
	paths    map[*model.Destination]place
	gateways map[string]*config.Object
}

// place is a field of an object.
type place struct {
	object *config.Object
	path   string
}

// processors run in this order: later ones use what earlier ones made.
var processors = []struct {
	name string
	run  func(*builder)
}{
	{"discovery", (*builder).discovery},
	{"what is not supported", (*builder).unsupported},
	{"settings", (*builder).settings},
	{"workloads", (*builder).workloads},
	{"services", (*builder).services},
	{"service entries", (*builder).serviceEntries},
	{"gateways", (*builder).gateways},
	{"virtual services", (*builder).virtualServices},
	{"destination rules", (*builder).destinationRules},
	{"sidecar scopes", (*builder).sidecars},
	{"peer authentication", (*builder).peerAuthentications},
	{"authorization", (*builder).authorizations},
	{"request authentication", (*builder).requestAuthentications},
	{"telemetry", (*builder).telemetries},
	{"envoy filters", (*builder).envoyFilters},
	{"references", (*builder).references},
	{"selectors", (*builder).selectors},
	{"gateway API", (*builder).gatewayAPI},
	{"ingresses", (*builder).ingresses},
}

// Build makes the mesh of a view.
func Build(v *store.View, o Options) (*model.Mesh, []config.Diagnostic) {
	b := newBuilder(v, o)
	for _, p := range processors {
		p.run(b)
	}
	slices.SortStableFunc(b.found, compareDiagnostics)
	return model.New(b.parts), b.found
}

func newBuilder(v *store.View, o Options) *builder {
	if o.MeshConfig == nil {
		o.MeshConfig = &meshpb.MeshConfig{}
	}
	o.ClusterDomain = cmp.Or(o.ClusterDomain, "cluster.local")
	o.RootNamespace = cmp.Or(o.RootNamespace, o.MeshConfig.GetRootNamespace(), "istio-system")
	return &builder{
		view: v, options: o,
		visible: map[string][]*model.Service{},
		origin: origins{
			virtual:  map[*model.VirtualService]*config.Object{},
			policies: map[*model.DestinationRule]*config.Object{},
			paths:    map[*model.Destination]place{},
			gateways: map[string]*config.Object{},
		},
	}
}

func compareDiagnostics(a, b config.Diagnostic) int {
	return cmp.Or(
		cmp.Compare(a.Position.File, b.Position.File),
		cmp.Compare(a.Position.Line, b.Position.Line),
		cmp.Compare(a.Position.Col, b.Position.Col),
		cmp.Compare(a.Object.String(), b.Object.String()),
		cmp.Compare(a.Code, b.Code),
		cmp.Compare(a.Message, b.Message),
	)
}

// report adds a diagnostic about a field.
func (b *builder) report(o *config.Object, s config.Severity, code, path, message, hint string) {
	b.found = append(b.found, o.Diagnose(s, code, path, message, hint))
}

// sourceAt is the provenance of a field.
func sourceAt(o *config.Object, path string) model.Source {
	p := o.Position()
	if path != "" {
		p = o.At(path)
	}
	return model.Source{File: p.File, Line: p.Line, Config: configPath(o)}
}

// configPath is Istio's name of an object in filter metadata. Istio writes all
// versions of its kinds as v1.
func configPath(o *config.Object) string {
	kind := dashed(o.Kind)
	if o.Group == "" {
		return "/api/v1/namespaces/" + o.Namespace + "/" + kind + "/" + o.Name
	}
	return "/apis/" + o.Group + "/v1/namespaces/" + o.Namespace + "/" + kind + "/" + o.Name
}

// dashed is "virtual-service" for "VirtualService".
func dashed(kind string) string {
	var out []byte
	for i := range len(kind) {
		c := kind[i]
		if 'A' <= c && c <= 'Z' {
			if i > 0 {
				out = append(out, '-')
			}
			c += 'a' - 'A'
		}
		out = append(out, c)
	}
	return string(out)
}

// oldestFirst sorts objects as Istio orders configuration: by age, then name, then namespace.
func oldestFirst(list []*config.Object) []*config.Object {
	return slices.SortedStableFunc(slices.Values(list), func(a, b *config.Object) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Namespace, b.Namespace))
	})
}

// visibility resolves an exportTo list.
func visibility(exportTo, defaults []string, namespace string) model.Visibility {
	if len(exportTo) == 0 {
		exportTo = defaults
	}
	if len(exportTo) == 0 {
		return model.Visibility{All: true}
	}
	var v model.Visibility
	for _, e := range exportTo {
		switch e {
		case "*":
			return model.Visibility{All: true}
		case ".":
			v.Namespaces = append(v.Namespaces, namespace)
		case "~":
			// nobody
		default:
			v.Namespaces = append(v.Namespaces, e)
		}
	}
	slices.Sort(v.Namespaces)
	v.Namespaces = slices.Compact(v.Namespaces)
	return v
}
