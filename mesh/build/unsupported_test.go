package build

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	meshpb "istio.io/api/mesh/v1alpha1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// roots are the shapes of everything that is read: all kinds but those that are
// refused, and the mesh configuration.
func roots() []shape {
	list := []shape{shapeOfMessage((&meshpb.MeshConfig{}).ProtoReflect().Descriptor())}
	for _, k := range config.Kinds() {
		o := &config.Object{Kind: k.Name, Group: k.Group}
		if k.Value != nil && !isRefusedKind(o.StoreKind()) {
			list = append(list, shapeOf(reflect.TypeOf(k.Value)))
		}
	}
	return list
}

// Every field that can be set has a verdict, and every verdict has a field.
func TestEveryFieldHasAVerdict(t *testing.T) {
	table := newSupportTable()
	seen := map[shape]bool{}
	used := map[string]bool{}
	var visit func(shape)
	visit = func(s shape) {
		if seen[s] {
			return
		}
		seen[s] = true
		for _, f := range s.fields() {
			used[f.name] = true
			if s.structure != nil && !f.below.scalar() && s.structure.FieldByIndex(f.index).Type.Kind() == reflect.Map && table[f.name].support == Supported {
				t.Errorf("%s is a map of structs, which the walker does not read", f.name)
			}
			v := table[f.name]
			if v.support == Unlisted {
				t.Errorf("%s is in no list of supported.go or unsupported.go", f.name)
			}
			if v.support == Supported && !f.below.scalar() {
				visit(f.below)
			}
		}
	}
	for _, s := range roots() {
		visit(s)
	}
	for name := range table {
		if !used[name] {
			t.Errorf("no field is called %s", name)
		}
	}
}

// A field stands in one list only: two verdicts would hide one of them.
func TestVerdictsAreUnique(t *testing.T) {
	lists := map[string][]string{}
	add := func(list, name string) {
		if !slices.Contains(lists[name], list) {
			lists[name] = append(lists[name], list)
		}
	}
	for _, m := range supportedFields {
		for _, f := range strings.Fields(m.fields) {
			add("supported", m.message+"."+f)
		}
	}
	for _, m := range elsewhereFields {
		for _, f := range strings.Fields(m.fields) {
			add("elsewhere", m.message+"."+f)
		}
	}
	for _, f := range partlySupported {
		add("supported", f.name) // it may stand in both: this one says more
	}
	for _, f := range ineffectiveFields {
		add("ineffective", f.name)
	}
	for _, f := range refusedFields {
		add("refused", f.name)
	}
	for name, in := range lists {
		if len(in) > 1 {
			t.Errorf("%s is in several lists: %s", name, strings.Join(in, ", "))
		}
	}
}
