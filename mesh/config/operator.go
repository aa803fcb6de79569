package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MeshOperator is the object that the mesh configuration is from: the last IstioOperator;
// nil: there is none.
func MeshOperator(objects []*Object) *Object {
	for _, o := range slices.Backward(objects) {
		if _, ok := o.Value.(*IstioOperator); ok {
			return o
		}
	}
	return nil
}

// DecodeMeshNode reads a mesh configuration that stands within another document, which begins
// in a line of a file and has lines. The object knows where the fields stand, by paths such
// as "meshConfig.trustDomain"; it is nil where there is an error.
func DecodeMeshNode(file string, first int, lines []string, n *yaml.Node) (*Object, []Diagnostic) {
	d := &document{schemas: newSchemas(), file: file, chunk: chunk{lines: lines, first: first}, key: Key{Kind: "MeshConfig"}, at: make(map[string]Position)}
	mesh := d.meshConfig(n, "meshConfig")
	inOrder(d.diags)
	if d.failed() {
		return nil, d.diags
	}
	raw, err := yaml.Marshal(map[string]*yaml.Node{"meshConfig": n})
	if err != nil { // it was YAML before
		panic(err)
	}
	return &Object{Kind: "MeshConfig", Value: &IstioOperator{MeshConfig: mesh}, Raw: raw,
		positions: &positions{file: file, start: d.position(n), at: d.at, lines: lines, first: first}}, d.diags
}

// PlaceMesh gives a finding about the mesh configuration its place in the IstioOperator, or
// the object of DecodeMeshNode, that this is. Other findings, and those that have a place,
// stay as they are.
func (o *Object) PlaceMesh(d Diagnostic) Diagnostic {
	if d.Object.Kind != "MeshConfig" || d.Position.File != "" || o == nil {
		return d
	}
	path := o.writtenProvider(d.Path)
	if o.Kind == "IstioOperator" {
		path = "spec." + path
	}
	placed := o.Diagnose(d.Severity, d.Code, path, d.Message, d.Hint)
	placed.Object, placed.Path = d.Object, d.Path
	return placed
}

// writtenProvider is the path with the number that a provider has in the file: in the
// configuration it comes after the defaults.
func (o *Object) writtenProvider(path string) string {
	const field = "meshConfig.extensionProviders"
	number, rest, ok := strings.Cut(strings.TrimPrefix(path, field+"["), "]")
	n, err := strconv.Atoi(number)
	all := o.Value.(*IstioOperator).MeshConfig.GetExtensionProviders()
	if !ok || !strings.HasPrefix(path, field+"[") || err != nil || n >= len(all) {
		return path
	}
	type mesh struct {
		MeshConfig struct {
			ExtensionProviders []struct{ Name string } `yaml:"extensionProviders"`
		} `yaml:"meshConfig"`
	}
	var written struct {
		Mesh mesh `yaml:",inline"`
		Spec mesh
	}
	if err := yaml.Unmarshal(o.Raw, &written); err != nil {
		return field
	}
	for i, p := range append(written.Mesh.MeshConfig.ExtensionProviders, written.Spec.MeshConfig.ExtensionProviders...) {
		if p.Name == all[n].GetName() {
			return fmt.Sprintf("%s[%d]%s", field, i, rest)
		}
	}
	return field
}
