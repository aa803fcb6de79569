package world

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/sim/cluster"
)

// podsOf returns the running Pods that a name in a scenario means: a workload
// ("sleep", "deploy/sleep"), a Pod, either with its namespace in front where the
// name alone is not unique ("foo/sleep").
func (w *World) podsOf(name string) ([]*node, error) {
	var found []*node
	var owners []string
	for _, p := range w.cluster.Pods() {
		if !means(name, p) {
			continue
		}
		found = append(found, w.nodes[p.Name])
		if owner := p.Namespace + "/" + p.Workload(); !slices.Contains(owners, owner) {
			owners = append(owners, owner)
		}
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("no workload and no Pod is called %q; there are: %s", name, strings.Join(w.workloads(), ", "))
	case len(owners) > 1:
		return nil, fmt.Errorf("%q may be any of %s: write NAMESPACE/NAME", name, strings.Join(owners, ", "))
	}
	return found, nil
}

// means tells whether a name in a scenario is one of the Pod's.
func means(name string, p *cluster.Pod) bool {
	for _, kind := range []string{"deploy/", "deployment/", "statefulset/", "sts/", "daemonset/", "ds/", "pod/"} {
		if rest, ok := strings.CutPrefix(name, kind); ok {
			name = rest
			break
		}
	}
	if namespace, rest, ok := strings.Cut(name, "/"); ok {
		return namespace == p.Namespace && (rest == p.Workload() || rest == p.Name)
	}
	return name == p.Workload() || name == p.Name
}

// workloads lists what has Pods, for messages.
func (w *World) workloads() []string {
	var names []string
	for _, p := range w.cluster.Pods() {
		if name := p.Workload(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// workload returns the key of the object that owns a workload's Pods, of which
// there may be none at the moment.
func (w *World) workload(name string) (config.Key, error) {
	var found []config.Key
	for _, k := range w.cluster.Keys() {
		switch k.Kind {
		case "Deployment", "StatefulSet", "ReplicaSet":
			if means(name, &cluster.Pod{Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace}}, Owner: k}) {
				found = append(found, k)
			}
		}
	}
	if len(found) != 1 {
		return config.Key{}, fmt.Errorf("%d workloads are called %q; there are: %s", len(found), name, strings.Join(w.workloads(), ", "))
	}
	return found[0], nil
}
