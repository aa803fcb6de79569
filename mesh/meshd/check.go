package meshd

import (
	"github.com/windtunnel-mesh/windtunnel/mesh/build"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/patch"
)

// Build makes the mesh of a view, and tells what is wrong with the view: also with
// what only shows in Envoy's terms, the values of EnvoyFilters.
func Build(v *store.View, o build.Options) (*model.Mesh, []config.Diagnostic) {
	mesh, findings := build.Build(v, o)
	for _, f := range mesh.AllEnvoyFilters() {
		object := v.Get("EnvoyFilter", f.Namespace, f.Name)
		for _, p := range append(patch.Check(f), unsupported(f)...) {
			findings = append(findings, object.Diagnose(config.Error, build.CodePatch, p.Path, p.Text, ""))
		}
	}
	return mesh, findings
}

// unsupported are the values that Envoy might take and meshproxy does not: every proxy
// that got them would refuse all that comes with them.
func unsupported(f *model.EnvoyFilter) []patch.Problem {
	var problems []patch.Problem
	for _, v := range patch.Values(f) {
		check := compile.Strict
		if v.Partial {
			check = compile.Unsupported
		}
		for _, p := range check(v.Message) {
			text := p.Text
			if p.Path != "" {
				text = p.Path + ": " + text
			}
			problems = append(problems, patch.Problem{Path: v.Path(p.Path), Text: text})
		}
	}
	return problems
}
