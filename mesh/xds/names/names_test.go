package names_test

import (
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
)

func TestParseNode(t *testing.T) {
	const id = "sidecar~10.0.0.7~reviews-v1.abc.default~default.svc.cluster.local"
	n, err := names.ParseNode(id, map[string]any{"LABELS": map[string]any{"app": "reviews"}, "WORKLOAD_NAME": "reviews-v1", "SERVICE_ACCOUNT": "sa"})
	if err != nil {
		t.Fatal(err)
	}
	if n.ID != "reviews-v1.abc" || n.Namespace != "default" || n.Labels["app"] != "reviews" || n.Workload != "reviews-v1" || n.Account != "sa" {
		t.Errorf("node %+v", n)
	}
	if names.ID(n) != id {
		t.Errorf("id %q, want %q", names.ID(n), id)
	}
	for _, bad := range []string{"", "sidecar~10.0.0.7~a.b", "ztunnel~10.0.0.7~a.b~c", "sidecar~nowhere~a.b~c", "router~10.0.0.7~ab~c", "router~10.0.0.7~.b~c"} {
		if _, err := names.ParseNode(bad, nil); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if _, err := names.ParseNode(id, map[string]any{"LABELS": map[string]any{"app": 1}}); err == nil {
		t.Error("a label that is a number was taken")
	}
}

func TestClusterNames(t *testing.T) {
	name := names.Outbound(9080, "v1", "reviews.default.svc.cluster.local")
	direction, port, subset, host, ok := names.ParseCluster(name)
	if !ok || direction != "outbound" || port != 9080 || subset != "v1" || host != "reviews.default.svc.cluster.local" {
		t.Errorf("%q is %s %d %s %s %v", name, direction, port, subset, host, ok)
	}
	if _, _, _, _, ok := names.ParseCluster("PassthroughCluster"); ok {
		t.Error("PassthroughCluster was taken apart")
	}
}
