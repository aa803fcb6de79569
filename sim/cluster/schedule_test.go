package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func twoNodes() string {
	return "apiVersion: v1\nkind: Node\nmetadata: {name: a, labels: {zone: one}}\n---\napiVersion: v1\nkind: Node\nmetadata: {name: b, labels: {zone: two}}\n---\n"
}

func workloadOf(kind, name, spec string, replicas string) string {
	return fmt.Sprintf("apiVersion: apps/v1\nkind: %s\nmetadata: {name: %s}\nspec:\n  %s\n  selector: {matchLabels: {app: %s}}\n"+
		"  template:\n    metadata: {labels: {app: %s}}\n    spec: {%s containers: [{name: c, image: i}]}\n---\n", kind, name, replicas, name, name, spec)
}

func TestPodsAreSpreadOverTheNodesThatFit(t *testing.T) {
	c, _, _ := newCluster()
	text := twoNodes() + workloadOf("Deployment", "even", "", "replicas: 4") +
		workloadOf("Deployment", "picky", "nodeSelector: {zone: two},", "replicas: 2") +
		workloadOf("Deployment", "named", "nodeName: a,", "") + workloadOf("DaemonSet", "daemon", "", "") +
		workloadOf("Deployment", "not", "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: NotIn, values: [one]}]}]}}},", "")
	if err := c.Apply(context.Background(), decode(t, text)); err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, p := range c.Pods() {
		got[p.Workload()] = append(got[p.Workload()], p.Spec.NodeName)
	}
	for name, want := range map[string]string{"even": "a a b b", "picky": "b b", "named": "a", "daemon": "a b", "not": "b"} {
		slices.Sort(got[name])
		if nodes := strings.Join(got[name], " "); nodes != want {
			t.Errorf("%s runs on %s, want %s", name, nodes, want)
		}
	}
}

func TestAPodThatFitsNowhereIsAnError(t *testing.T) {
	for _, spec := range []string{"nodeSelector: {zone: three},", "nodeName: c,", "affinity: {podAntiAffinity: {}},"} {
		c, _, _ := newCluster()
		if err := c.Apply(context.Background(), decode(t, twoNodes()+workloadOf("Deployment", "lost", spec, ""))); err == nil {
			t.Errorf("%s: no error", spec)
		}
	}
}
