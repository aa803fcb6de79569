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

// PlaceMesh gives a finding about the mesh configuration its place in the IstioOperator that
// this is. Other findings, and those that have a place, stay as they are.
func (o *Object) PlaceMesh(d Diagnostic) Diagnostic {
	if d.Object.Kind != "MeshConfig" || d.Position.File != "" || o == nil {
		return d
	}
	placed := o.Diagnose(d.Severity, d.Code, "spec."+o.writtenProvider(d.Path), d.Message, d.Hint)
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
	var written struct {
		Spec struct {
			MeshConfig struct {
				ExtensionProviders []struct{ Name string } `yaml:"extensionProviders"`
			} `yaml:"meshConfig"`
		}
	}
	if err := yaml.Unmarshal(o.Raw, &written); err != nil {
		return field
	}
	for i, p := range written.Spec.MeshConfig.ExtensionProviders {
		if p.Name == all[n].GetName() {
			return fmt.Sprintf("%s[%d]%s", field, i, rest)
		}
	}
	return field
}
