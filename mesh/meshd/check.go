package meshd

import (
	"github.com/windtunnel-mesh/windtunnel/mesh/build"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/patch"
)

// Build makes the mesh of a view, and tells what is wrong with the view: also with
// what only shows in Envoy's terms, the values of EnvoyFilters.
func Build(v *store.View, o build.Options) (*model.Mesh, []config.Diagnostic) {
	mesh, findings := build.Build(v, o)
	for _, f := range mesh.AllEnvoyFilters() {
		object := v.Get("EnvoyFilter", f.Namespace, f.Name)
		for _, p := range patch.Check(f) {
			findings = append(findings, object.Diagnose(config.Error, build.CodePatch, p.Path, p.Text, ""))
		}
	}
	return mesh, findings
}
