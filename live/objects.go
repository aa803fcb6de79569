package live

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// document is one object of a scenario with its place in the files.
type document struct {
	position string // file:line
	object   *unstructured.Unstructured
}

// decode reads documents as they are written, a List as its items.
func decode(docs []spec.Document) ([]document, error) {
	var all []document
	for _, d := range docs {
		position := fmt.Sprintf("%s:%d", d.File, d.Line)
		var o map[string]any
		if err := yaml.Unmarshal(d.Text, &o); err != nil {
			return nil, fmt.Errorf("%s: %w", position, err)
		}
		if len(o) == 0 {
			continue
		}
		u := &unstructured.Unstructured{Object: o}
		if !u.IsList() {
			all = append(all, document{position, u})
			continue
		}
		err := u.EachListItem(func(item runtime.Object) error {
			all = append(all, document{position, item.(*unstructured.Unstructured)})
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", position, err)
		}
	}
	return all, nil
}

// decodable are the documents that can be decoded. What cannot is rejected when it is applied.
func decodable(docs []spec.Document) []document {
	var all []document
	for _, d := range docs {
		if found, err := decode([]spec.Document{d}); err == nil {
			all = append(all, found...)
		}
	}
	return all
}

// clusterKinds have no namespace.
func clusterKind(kind string) bool {
	return slices.ContainsFunc(config.Kinds(), func(k config.KindInfo) bool { return k.Name == kind && k.Cluster })
}

// prepare gives an object its place in the cluster.
func (w *World) prepare(u *unstructured.Unstructured) {
	w.names.object(u.Object)
	w.keepLog(u)
	unstructured.RemoveNestedField(u.Object, "status")
	switch {
	case u.GetKind() == "Namespace":
		u.SetName(w.names.namespace(u.GetName()))
		u.SetLabels(marked(u.GetLabels(), w.scenario.Name))
	case !clusterKind(u.GetKind()):
		if u.GetNamespace() == "" {
			u.SetNamespace(w.names.namespace(""))
		}
	}
	if template, found, err := unstructured.NestedMap(u.Object, "spec", "template"); found && err == nil && rank(u.GetKind()) == 4 {
		annotate(template)
		_ = unstructured.SetNestedMap(u.Object, template, "spec", "template") // it was one before
	}
	// Images of a kind cluster were put there: there is no registry to ask.
	for _, path := range [][]string{{"spec", "template", "spec"}, {"spec"}} {
		for _, list := range []string{"containers", "initContainers"} {
			containers, found, err := unstructured.NestedSlice(u.Object, append(path, list)...)
			if err != nil || !found {
				continue
			}
			for _, c := range containers {
				if m, ok := c.(map[string]any); ok && (m["imagePullPolicy"] == nil || w.env.Kind == "kind") {
					m["imagePullPolicy"] = "IfNotPresent"
				}
			}
			_ = unstructured.SetNestedSlice(u.Object, containers, append(path, list)...) // it was one before
		}
	}
}

// annotate asks for little for the sidecar of a template, where it does not say: many
// scenarios have to fit on one node.
func annotate(template map[string]any) {
	for name, value := range map[string]string{"sidecar.istio.io/proxyCPU": "10m", "sidecar.istio.io/proxyMemory": "24Mi"} {
		path := []string{"metadata", "annotations", name}
		if _, found, err := unstructured.NestedString(template, path...); !found && err == nil {
			_ = unstructured.SetNestedField(template, value, path...) // metadata that is no mapping is refused by the API server
		}
	}
}

// marked adds the label by which leftovers are found.
func marked(labels map[string]string, scenario string) map[string]string {
	if labels == nil {
		labels = make(map[string]string)
	}
	labels[scenarioLabel] = scenario
	return labels
}

// rank is the order of kinds in an apply: places first, then what the mesh is to know
// when the first Pod comes, workloads last.
func rank(kind string) int {
	switch kind {
	case "Namespace":
		return 0
	case "ServiceAccount", "ConfigMap", "Secret":
		return 1
	case "Service":
		return 2
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Pod", "Job":
		return 4
	}
	return 3
}

// namespacesOf are all namespaces that a scenario's documents are in or make.
func namespacesOf(docs []document) []string {
	var list []string
	for _, d := range docs {
		ns := d.object.GetNamespace()
		if d.object.GetKind() == "Namespace" {
			ns = d.object.GetName()
		}
		if ns != "" && !slices.Contains(list, ns) {
			list = append(list, ns)
		}
	}
	return list
}

// documentsOf are all documents of a scenario, those of its steps too.
func documentsOf(s *spec.Scenario) []spec.Document {
	docs := slices.Clone(s.Resources)
	for _, st := range s.Steps {
		if st.Apply != nil {
			docs = append(docs, st.Apply.Documents...)
		}
		if st.Delete != nil {
			docs = append(docs, st.Delete.Documents...)
		}
	}
	return docs
}
