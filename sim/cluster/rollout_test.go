package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func rolling(image string, replicas int, settings string) string {
	return strings.Replace(deployment(image, replicas), "spec:\n", "spec:\n"+settings, 1)
}

// A Pod less or more at a time, as the strategy says.
func TestRollingUpdateFollowsItsStrategy(t *testing.T) {
	for _, c := range []struct {
		strategy string
		replicas int
		want     string
	}{
		{"{maxSurge: 1, maxUnavailable: 0}", 2, "+-+-"},
		{"{maxSurge: 0, maxUnavailable: 1}", 2, "-+-+"},
		{"{maxSurge: 100%, maxUnavailable: 0}", 3, "+++---"},
		{"{maxSurge: 1, maxUnavailable: 1}", 3, "+--++-"},
		{"{maxSurge: 10%, maxUnavailable: 10%}", 4, "+-+-+-+-"},
		{"{maxSurge: 0, maxUnavailable: 10%}", 4, "-+-+-+-+"},
		{"{}", 4, "+--++--+"},
	} {
		cl, k, _ := newCluster()
		settings := "  strategy: {rollingUpdate: " + c.strategy + "}\n"
		apply(t, cl, namespace, service, rolling("nginx", c.replicas, settings))
		k.take()
		apply(t, cl, rolling("nginx:2", c.replicas, settings))
		got := strings.NewReplacer("start web-v1", "+", "stop web-v1", "-", ", ", "").Replace(k.take())
		if got != c.want || len(cl.Pods()) != c.replicas {
			t.Errorf("%s of %d: %s, want %s", c.strategy, c.replicas, got, c.want)
		}
	}
}

func TestStalledRolloutKeepsOldPodsAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k, s := newCluster()
		k.changed = make(chan struct{})
		settings := "  progressDeadlineSeconds: 60\n  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 1}}\n"
		probed := func(image string) string {
			return strings.Replace(rolling(image, 3, settings), "image: "+image, "image: "+image+", readinessProbe: {tcpSocket: {port: 8080}}", 1)
		}
		apply(t, c, namespace, service, probed("nginx"))
		k.never = func(p *corev1.Pod) bool { return p.Spec.Containers[0].Image == "nginx:2" }
		begun := time.Now()
		apply(t, c, probed("nginx:2"))
		if took := time.Since(begun); took != time.Minute || len(c.Stalled()) != 1 || !strings.Contains(c.Stalled()[0], "the test says so") {
			t.Fatalf("after %v: %q", took, c.Stalled())
		}
		if ready, _ := slice(t, s); len(ready) != 2 || len(c.Pods()) != 4 {
			t.Fatalf("%d of %d Pods are ready, want 2 of 4", len(ready), len(c.Pods()))
		}
		begun = time.Now()
		if apply(t, c, service); time.Since(begun) != 0 || len(c.Stalled()) != 0 {
			t.Fatal("a change of something else waited for the rollout")
		}
		k.never = nil
		if _, err := c.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if ready, _ := slice(t, s); len(ready) != 3 || len(c.Pods()) != 3 {
			t.Fatalf("%d of %d Pods are ready, want 3 of 3", len(ready), len(c.Pods()))
		}
	})
}

func TestMinReadySecondsPaceARollout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, _ := newCluster()
		settings := "  minReadySeconds: 10\n  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}\n"
		for i, want := range []time.Duration{10 * time.Second, 20 * time.Second} {
			begun := time.Now()
			apply(t, c, rolling(fmt.Sprintf("nginx:%d", i), 2, settings))
			if got := time.Since(begun); got != want {
				t.Errorf("version %d was there after %v, want %v", i, got, want)
			}
		}
	})
}

func TestPodThatGetsUnreadyLeavesItsService(t *testing.T) {
	c, k, s := newCluster()
	apply(t, c, namespace, service, deployment("nginx", 2))
	sick := c.Pods()[0]
	k.unready = map[string]bool{sick.Name: true}
	sick.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{}}}
	if _, err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ready, _ := slice(t, s); len(ready) != 1 || slices.Contains(ready, sick.Status.PodIP) {
		t.Fatalf("endpoints are %v", ready)
	}
	if apply(t, c, deployment("nginx", 1)); len(c.Pods()) != 1 || c.Pods()[0] == sick {
		t.Fatal("scaled down, the Pod that is not ready is not the one that went")
	}
}
