package incluster

import (
	"context"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/mesh/build"
)

// condition is one of an object's, as the Gateway API has them.
type condition struct {
	kind            string
	is              bool
	reason, message string
}

// conditionOf makes a condition of what the build found: true for the reason of its own
// name, as Gateway API's conditions are, unless there is another.
func conditionOf(kind string, v build.Verdict, message string) condition {
	if v.Good() {
		return condition{kind, true, kind, message}
	}
	return condition{kind, false, v.Reason, v.Message}
}

// stamped writes conditions as they are in a status, over those that are there: the time
// of a transition is the status' alone.
func stamped(now *unstructured.Unstructured, live any, conditions []condition) []any {
	var list []any
	for _, c := range conditions {
		status := map[bool]string{true: "True", false: "False"}[c.is]
		m := map[string]any{"type": c.kind, "status": status, "reason": c.reason, "message": c.message,
			"observedGeneration": now.GetGeneration(), "lastTransitionTime": time.Now().UTC().Format(time.RFC3339)}
		if was := named(live, "type", c.kind); was["status"] == status {
			m["lastTransitionTime"] = was["lastTransitionTime"]
		}
		list = append(list, m)
	}
	return list
}

// named is the mapping of a list that has a value under a key; nil: there is none.
func named(list any, key string, value any) map[string]any {
	all, _ := list.([]any)
	for _, e := range all {
		if m, ok := e.(map[string]any); ok && m[key] == value {
			return m
		}
	}
	return nil
}

// agrees tells whether something of an object says what is wanted of it already. Others
// may have written more: into mappings, and into lists whose elements have a type or a
// name. Where nothing is wanted, nothing may be there.
func agrees(live, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		has, _ := live.(map[string]any)
		for k, v := range want {
			if !agrees(has[k], v) {
				return false
			}
		}
		return len(want) > 0 || len(has) == 0
	case []any:
		has, _ := live.([]any)
		for i, v := range want {
			m, _ := v.(map[string]any)
			var there any
			if m["type"] != nil && m["status"] != nil {
				there = named(has, "type", m["type"])
			} else if len(has) != len(want) {
				return false
			} else {
				there = has[i]
			}
			if !agrees(there, v) {
				return false
			}
		}
		return len(want) > 0 || len(has) == 0
	}
	return reflect.DeepEqual(live, want)
}

// write puts what is wanted into an object's status, where it says anything else.
// resourceVersion is the one that it was read with where it must not have changed since:
// of lists that belong to several writers the whole is written.
func (g *gateways) write(ctx context.Context, now *unstructured.Unstructured, status map[string]any, resourceVersion string) error {
	if agrees(now.Object["status"], status) {
		return nil
	}
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": now.GetAPIVersion(), "kind": now.GetKind(), "status": status}}
	u.SetName(now.GetName())
	u.SetNamespace(now.GetNamespace())
	if resourceVersion != "" {
		u.SetResourceVersion(resourceVersion)
	}
	return g.client.ApplyStatus(ctx, u, owner)
}
