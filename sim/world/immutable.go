package world

import (
	"fmt"
	"reflect"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// selectorOf is the selector of a workload whose selector Kubernetes lets nobody
// change; nil for everything else.
func selectorOf(o *config.Object) *metav1.LabelSelector {
	switch w := o.Value.(type) {
	case *appsv1.Deployment:
		return w.Spec.Selector
	case *appsv1.StatefulSet:
		return w.Spec.Selector
	case *appsv1.ReplicaSet:
		return w.Spec.Selector
	case *appsv1.DaemonSet:
		return w.Spec.Selector
	}
	return nil
}

// immutable refuses workloads that would change the selector of one that is there,
// as the API server does, and returns the rest. Earlier objects of the same list
// count as there.
func immutable(present func(config.Key) *config.Object, objects []*config.Object) (kept []*config.Object, found []config.Diagnostic) {
	earlier := make(map[config.Key]*config.Object)
	for _, o := range objects {
		old := earlier[o.Key()]
		if old == nil {
			old = present(o.Key())
		}
		selector := selectorOf(o)
		if old != nil && selector != nil && !reflect.DeepEqual(selectorOf(old), selector) {
			found = append(found, o.Diagnose(config.Error, "", "spec.selector",
				fmt.Sprintf("%s is there with another selector, and spec.selector is immutable", o.Key()),
				"give it a name of its own, or delete the other first"))
			continue
		}
		earlier[o.Key()] = o
		kept = append(kept, o)
	}
	return kept, found
}
