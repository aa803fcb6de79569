package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
)

func set(kind, image, settings string) string {
	return fmt.Sprintf("\napiVersion: apps/v1\nkind: %s\nmetadata: {name: db}\nspec:\n  selector: {matchLabels: {app: db}}\n%s  template:\n    metadata: {labels: {app: db}}\n    spec: {containers: [{name: db, image: %q, readinessProbe: {tcpSocket: {port: 80}}}]}\n", kind, settings, image)
}

// told are the names of Pods as they start and stop: "+db-0 -db-0".
func told(k *kubelet, c *Cluster) *[]string {
	var did []string
	c.o.OnPod = func(p *corev1.Pod, what string) {
		did = append(did, map[string]string{"started": "+", "stopped": "-", "died": "x"}[what]+p.Name)
	}
	return &did
}

func take(did *[]string) string {
	text := strings.Join(*did, " ")
	*did = nil
	return text
}

func TestStatefulSetsReplaceTheirPodsInOrder(t *testing.T) {
	for _, c := range []struct{ settings, started, updated string }{
		{"", "+db-0 +db-1 +db-2", "-db-2 +db-2 -db-1 +db-1 -db-0 +db-0"},
		{"  updateStrategy: {rollingUpdate: {partition: 2}}\n", "+db-0 +db-1 +db-2", "-db-2 +db-2"},
		{"  updateStrategy: {rollingUpdate: {partition: 9}}\n", "+db-0 +db-1 +db-2", ""},
		{"  updateStrategy: {type: OnDelete}\n", "+db-0 +db-1 +db-2", ""},
		{"  podManagementPolicy: Parallel\n  updateStrategy: {rollingUpdate: {maxUnavailable: 2}}\n", "+db-0 +db-1 +db-2", "-db-1 -db-2 +db-1 +db-2 -db-0 +db-0"},
		{"  ordinals: {start: 5}\n", "+db-5 +db-6 +db-7", "-db-7 +db-7 -db-6 +db-6 -db-5 +db-5"},
	} {
		cl, k, _ := newCluster()
		did := told(k, cl)
		apply(t, cl, namespace, set("StatefulSet", "db:1", "  replicas: 3\n"+c.settings))
		if got := take(did); got != c.started {
			t.Errorf("%q: started %s, want %s", c.settings, got, c.started)
		}
		apply(t, cl, set("StatefulSet", "db:2", "  replicas: 3\n"+c.settings))
		if got := take(did); got != c.updated {
			t.Errorf("%q: updated %s, want %s", c.settings, got, c.updated)
		}
		apply(t, cl, set("StatefulSet", "db:2", "  replicas: 1\n"+c.settings))
		if got := len(cl.Pods()); got != 1 || strings.Contains(take(did), "-"+cl.Pods()[0].Name+" ") {
			t.Errorf("%q: %d Pods are left of one", c.settings, got)
		}
	}
}

// A Pod below the partition that dies comes back as it was; one that is to be replaced by
// whoever deletes it comes back new.
func TestPartitionKeepsTheTemplate(t *testing.T) {
	for settings, want := range map[string]string{
		"  updateStrategy: {rollingUpdate: {partition: 1}}\n": "db:1 db:2",
		"  updateStrategy: {type: OnDelete}\n":                "db:2 db:1",
	} {
		c, _, _ := newCluster()
		apply(t, c, namespace, set("StatefulSet", "db:1", "  replicas: 2\n"+settings))
		apply(t, c, set("StatefulSet", "db:2", "  replicas: 2\n"+settings))
		if err := c.Lost(t.Context(), []string{"db-0"}); err != nil {
			t.Fatal(err)
		}
		var images []string
		for _, name := range []string{"db-0", "db-1"} {
			i := slices.IndexFunc(c.Pods(), func(p *Pod) bool { return p.Name == name })
			if i < 0 {
				t.Fatalf("%s%s is not there", settings, name)
			}
			images = append(images, c.Pods()[i].Spec.Containers[0].Image)
		}
		if got := strings.Join(images, " "); got != want {
			t.Errorf("%s%s, want %s", settings, got, want)
		}
	}
}

// A Pod that is never ready keeps those after it from starting, and, with OrderedReady, an
// update from going on.
func TestStatefulSetWaitsForItsPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k, _ := newCluster()
		k.changed = make(chan struct{})
		did := told(k, c)
		k.never = func(p *corev1.Pod) bool { return p.Name == "db-1" }
		apply(t, c, namespace, set("StatefulSet", "db:1", "  replicas: 3\n"))
		if got := take(did); got != "+db-0 +db-1" || len(c.Stalled()) != 1 {
			t.Errorf("%s, %q", got, c.Stalled())
		}
		apply(t, c, set("StatefulSet", "db:2", "  replicas: 3\n"))
		if got := take(did); got != "" {
			t.Errorf("the update went on: %s", got)
		}
		k.never = nil
		if _, err := c.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := take(did), "+db-2 -db-1 +db-1 -db-0 +db-0"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

func TestDaemonSetsReplaceTheirPods(t *testing.T) {
	const nodes = "\napiVersion: v1\nkind: Node\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Node\nmetadata: {name: b}\n"
	for settings, want := range map[string]string{
		"": "-+-+",
		"  updateStrategy: {rollingUpdate: {maxUnavailable: 2}}\n":              "--++",
		"  updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}\n": "+-+-",
		"  updateStrategy: {type: OnDelete}\n":                                  "",
	} {
		c, k, _ := newCluster()
		apply(t, c, namespace, nodes, set("DaemonSet", "db:1", settings))
		k.take()
		apply(t, c, set("DaemonSet", "db:2", settings))
		got := strings.NewReplacer("start db", "+", "stop db", "-", ", ", "").Replace(k.take())
		on := map[string]bool{}
		for _, p := range c.Pods() {
			on[p.Spec.NodeName] = true
		}
		if got != want || len(c.Pods()) != 2 || len(on) != 2 {
			t.Errorf("%q: %s, want %s; Pods on %v", settings, got, want, on)
		}
	}
}
