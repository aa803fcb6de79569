// Package analyze finds what is wrong with a configuration as a whole, before anything
// runs: what decoding, the control plane's own validation and the checks of this package
// say, under one list of codes.
//
// In: a view of the objects, those that a cluster would make (Pods) included, and the
// MeshConfig. Out: Findings, in the order of their places, and reports of them (SARIF,
// JSON). It must not import worlds, xDS or the data plane.
package analyze

import (
	"cmp"
	"slices"
	"strconv"

	meshpb "istio.io/api/mesh/v1alpha1"

	"github.com/windtunnel-mesh/windtunnel/mesh/build"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

// Finding is one thing that is wrong, or worth knowing.
type Finding struct {
	config.Diagnostic
	Istio string // the code of istioctl analyze for the same thing; "" where it has none
}

// Input of Analyze.
type Input struct {
	View       *store.View
	MeshConfig *meshpb.MeshConfig // nil: Istio's defaults
	// Written are the objects as people wrote them, before a cluster changed them (Pods,
	// by injection); nil: those of View.
	Written []*config.Object
	// Found is what was found before: when the objects were decoded, or when Mesh was built.
	Found []config.Diagnostic
	// Mesh is what was built of the view already; nil: it is built, and what that finds is told.
	Mesh *model.Mesh
}

// analysis is the state that the checks share.
type analysis struct {
	view    *store.View
	written []*config.Object
	mesh    *model.Mesh
	root    string // the root namespace
	found   []config.Diagnostic
	// answersDNS: sidecars do, unless their own configuration says otherwise.
	answersDNS bool

	workloads []*model.Workload // of mesh
}

// checks are those that the control plane itself does not make.
var checks = []func(*analysis){
	(*analysis).shadowedRoutes,
	(*analysis).gatewayConflicts,
	(*analysis).gatewayPorts,
	(*analysis).serviceConflicts,
	(*analysis).portNames,
	(*analysis).serviceEntries,
	(*analysis).sidecarConflicts,
	(*analysis).telemetryConflicts,
	(*analysis).clientTLS,
	(*analysis).strictServers,
	(*analysis).policySources,
	(*analysis).namespaces,
	(*analysis).annotations,
	(*analysis).templates,
	(*analysis).certificates,
	(*analysis).envoyFilters,
	(*analysis).claimRoutes,
	(*analysis).ambientSidecars,
	(*analysis).gatewaySelectors,
	(*analysis).conditions,
	(*analysis).logProviders,
	(*analysis).telemetrySelectors,
	(*analysis).emptyNamespaces,
	(*analysis).visibleHosts,
	(*analysis).tokenKeys,
	(*analysis).delegates,
	(*analysis).sidecarHosts,
	(*analysis).principals,
	(*analysis).meshOnlyRules,
	(*analysis).shadowedConnections,
}

// Analyze makes every check. Findings without a place in a file are left out, but for
// those about the mesh configuration: nobody wrote what they are about.
func Analyze(in Input) []Finding {
	mesh, found := in.Mesh, []config.Diagnostic(nil)
	if mesh == nil {
		mesh, found = build.Build(in.View, build.Options{MeshConfig: in.MeshConfig})
	}
	written := in.Written
	if written == nil {
		written = in.View.All()
	}
	a := &analysis{view: in.View, written: written, mesh: mesh, root: mesh.Settings.RootNamespace, workloads: mesh.Workloads(), found: slices.Concat(in.Found, found)}
	a.answersDNS, _ = strconv.ParseBool(in.MeshConfig.GetDefaultConfig().GetProxyMetadata()[config.DNSCapture]) // the build has checked it
	for _, check := range checks {
		check(a)
	}
	return Sorted(a.found)
}

// Sorted makes findings of diagnostics, in the order of their places, each once.
func Sorted(ds []config.Diagnostic) []Finding {
	var list []Finding
	seen := map[config.Diagnostic]bool{}
	for _, d := range ds {
		if d.Position.File == "" && d.Object.Kind != "MeshConfig" || seen[d] {
			continue
		}
		seen[d] = true
		list = append(list, Finding{Diagnostic: d, Istio: istioCode(d)})
	}
	slices.SortStableFunc(list, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Position.File, b.Position.File), cmp.Compare(a.Position.Line, b.Position.Line),
			cmp.Compare(a.Position.Col, b.Position.Col), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Message, b.Message))
	})
	return list
}

// report adds a finding about a field. Objects that nobody wrote have none.
func (a *analysis) report(o *config.Object, s config.Severity, code, path, message, hint string) {
	if o.Position().Line > 0 {
		a.found = append(a.found, o.Diagnose(s, code, path, message, hint))
	}
}

// each calls f with every object of a kind whose value has a type, oldest first where
// they have an age, else by name.
func each[T any](a *analysis, kind string, f func(o *config.Object, v T)) {
	for _, o := range a.view.Of(kind) {
		if v, ok := o.Value.(T); ok {
			f(o, v)
		}
	}
}
