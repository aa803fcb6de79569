package world

import (
	"errors"
	"fmt"
	"strings"

	meshpb "istio.io/api/mesh/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/images"
)

// Check reads documents as Apply will and looks up the images that they name,
// without running anything.
func Check(s *spec.Scenario, docs []spec.Document) []config.Diagnostic {
	catalogue := images.NewCatalogue(s.Behaviours)
	var findings []config.Diagnostic
	for _, d := range docs {
		objects, ds := config.Decode(d.File, d.Line, d.Text)
		findings = append(findings, ds...)
		for _, o := range objects {
			findings = append(findings, checkImages(catalogue, o)...)
		}
	}
	return findings
}

// checkImages finds containers whose image nobody can play.
func checkImages(catalogue *images.Catalogue, o *config.Object) []config.Diagnostic {
	var pod corev1.PodSpec
	field := "spec.template.spec.containers"
	switch w := o.Value.(type) {
	case *appsv1.Deployment:
		pod = w.Spec.Template.Spec
	case *appsv1.StatefulSet:
		pod = w.Spec.Template.Spec
	case *appsv1.ReplicaSet:
		pod = w.Spec.Template.Spec
	case *appsv1.DaemonSet:
		pod = w.Spec.Template.Spec
	case *corev1.Pod:
		pod, field = w.Spec, "spec.containers"
	default:
		return nil
	}
	var findings []config.Diagnostic
	for i, c := range pod.Containers {
		var unknown *images.UnknownError
		if _, err := catalogue.Find(o.Name, c.Image); errors.As(err, &unknown) {
			findings = append(findings, o.Diagnose(config.Error, config.CodeUnknownImage, fmt.Sprintf("%s[%d].image", field, i), err.Error(), unknown.Hint()))
		}
	}
	return findings
}

// CheckMesh reads the scenario's MeshConfig.
func CheckMesh(s *spec.Scenario) []config.Diagnostic {
	_, findings := meshConfig(s)
	return findings
}

// meshConfig is Istio's default MeshConfig with the scenario's on top.
func meshConfig(s *spec.Scenario) (*meshpb.MeshConfig, []config.Diagnostic) {
	if len(s.Mesh) == 0 {
		return config.DefaultMeshConfig(), nil
	}
	text, err := yaml.Marshal(s.Mesh)
	if err != nil { // it was YAML before
		panic(err)
	}
	mesh, findings := config.DecodeMeshConfig(s.MeshPosition.File, s.MeshPosition.Line, text)
	for i := range findings { // the text was written again: only its beginning has a place
		findings[i].Position = config.Position{File: s.MeshPosition.File, Line: s.MeshPosition.Line, Col: s.MeshPosition.Col}
		findings[i].Excerpt = ""
	}
	return mesh, findings
}

// meshConfig is what the control plane of this world runs with.
func (w *World) meshConfig() (*meshpb.MeshConfig, error) {
	mesh, findings := meshConfig(w.o.Scenario)
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
