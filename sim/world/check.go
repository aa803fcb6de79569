package world

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	meshpb "istio.io/api/mesh/v1alpha1"
	"sigs.k8s.io/yaml"

	"github.com/windtunnel-mesh/windtunnel/mesh/build"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/meshd"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/images"
)

// Check reads documents as Apply will, asks the control plane what it refuses of them
// and looks up the images that they name, without running anything.
func Check(s *spec.Scenario, docs []spec.Document) []config.Diagnostic {
	catalogue := images.NewCatalogue(s.Behaviours)
	var findings []config.Diagnostic
	var all []*config.Object
	for _, d := range docs {
		objects, ds := config.Decode(d.File, d.Line, d.Text)
		findings = append(findings, ds...)
		for _, o := range objects {
			findings = append(findings, checkImages(catalogue, o)...)
		}
		all = append(all, objects...)
	}
	mesh, _ := MeshConfig(s)
	return append(findings, refusals(mesh, all)...)
}

// checkImages finds containers whose image nobody can play.
func checkImages(catalogue *images.Catalogue, o *config.Object) []config.Diagnostic {
	pod, path := inject.PodOf(o)
	if pod == nil {
		return nil
	}
	var findings []config.Diagnostic
	for i, c := range pod.Spec.Containers {
		if c.Name == inject.ProxyContainer { // what is no proxy's image there is the injector's to replace
			continue
		}
		var unknown *images.UnknownError
		if _, err := catalogue.Find(o.Name, c.Image); errors.As(err, &unknown) {
			findings = append(findings, o.Diagnose(config.Error, config.CodeUnknownImage, fmt.Sprintf("%sspec.containers[%d].image", path, i), err.Error(), unknown.Hint()))
		}
	}
	return findings
}

// refusals are what the control plane refuses for what it is, whatever else there may be.
func refusals(mesh *meshpb.MeshConfig, objects []*config.Object) []config.Diagnostic {
	_, findings := meshd.Build(store.NewView(objects...), build.Options{MeshConfig: mesh})
	return slices.DeleteFunc(findings, func(d config.Diagnostic) bool {
		return d.Code != build.CodeUnsupported && d.Code != build.CodePatch || d.Severity != config.Error || d.Object.Kind == "MeshConfig"
	})
}

// CheckMesh reads the scenario's MeshConfig, and asks the control plane what it
// refuses of it or does not follow.
func CheckMesh(s *spec.Scenario) []config.Diagnostic {
	written, mesh, findings := meshConfigOf(s)
	if mesh == nil {
		return findings
	}
	_, refused := build.Build(store.NewView(), build.Options{MeshConfig: mesh})
	for _, d := range refused {
		if d.Code == build.CodeUnknownHost { // what there will be is not known yet
			continue
		}
		if written == nil {
			d.Position = meshPosition(s)
		}
		findings = append(findings, written.PlaceMesh(d))
	}
	return findings
}

// MeshConfig is Istio's default MeshConfig with the scenario's on top.
func MeshConfig(s *spec.Scenario) (*meshpb.MeshConfig, []config.Diagnostic) {
	_, mesh, findings := meshConfigOf(s)
	return mesh, findings
}

// meshConfigOf is MeshConfig with the object that knows where it stands; nil: the scenario's
// file does not have it.
func meshConfigOf(s *spec.Scenario) (*config.Object, *meshpb.MeshConfig, []config.Diagnostic) {
	if len(s.Mesh) == 0 {
		return nil, config.DefaultMeshConfig(), nil
	}
	if from := s.MeshSource; from != nil {
		written, findings := config.DecodeMeshNode(s.MeshPosition.File, from.Line, from.Lines, from.Node)
		if written == nil {
			return nil, nil, findings
		}
		return written, written.Value.(*config.IstioOperator).MeshConfig, findings
	}
	text, err := yaml.Marshal(s.Mesh)
	if err != nil { // it was YAML before
		panic(err)
	}
	mesh, findings := config.DecodeMeshConfig(s.MeshPosition.File, s.MeshPosition.Line, text)
	for i := range findings { // the text was written again: only its beginning has a place
		findings[i].Position, findings[i].Excerpt = meshPosition(s), ""
	}
	return nil, mesh, findings
}

func meshPosition(s *spec.Scenario) config.Position {
	return config.Position{File: s.MeshPosition.File, Line: s.MeshPosition.Line, Col: s.MeshPosition.Col}
}

// meshConfig is what the control plane of this world runs with.
func (w *World) meshConfig() (*meshpb.MeshConfig, error) {
	mesh, findings := MeshConfig(w.o.Scenario)
	for _, f := range findings {
		if f.Severity == config.Error {
			return nil, fmt.Errorf("%s: %s", f.Position, f.Message)
		}
	}
	return mesh, nil
}

// podOfNode is the Pod in a node id: "sidecar~10.0.0.7~reviews-v1-abc.default~…".
func podOfNode(id string) string {
	parts := strings.Split(id, "~")
	if len(parts) != 4 {
		return id
	}
	pod, _, _ := strings.Cut(parts[2], ".")
	return pod
}
