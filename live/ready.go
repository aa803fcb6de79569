package live

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
)

const (
	poll         = 200 * time.Millisecond
	rolloutLimit = 3 * time.Minute
	// noticed is how long the control plane takes at most to hear of a change and to
	// begin with it: a watch event, and its hold-off of 100 ms.
	noticed       = 350 * time.Millisecond
	convergeLimit = time.Minute
	monitoring    = 15014
)

func emptyPod(namespace string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}}
}

// until asks again until nothing is pending; the last answer is the reason where it
// takes too long.
func (w *World) until(ctx context.Context, pending func() (string, error)) error {
	for {
		what, err := pending()
		if err != nil {
			return err
		}
		if what == "" {
			return nil
		}
		if err := w.Sleep(ctx, poll); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// rollout waits until a workload's Pods are what it asks for, and those before are gone.
func (w *World) rollout(ctx context.Context, o *unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeoutCause(ctx, rolloutLimit, fmt.Errorf("not after %s", rolloutLimit))
	defer cancel()
	name := w.names.scenario(kube.Name(o))
	return w.until(ctx, func() (string, error) {
		now, err := w.client.Get(ctx, kube.Resource(o.GetAPIVersion(), o.GetKind()), o.GetNamespace(), o.GetName())
		if err != nil || now == nil {
			return "", err
		}
		want, ready, current := progress(now)
		var of []*pod
		for _, p := range w.pods() {
			if p.Namespace == o.GetNamespace() && (p.workload == o.GetName() || p.Name == o.GetName()) {
				of = append(of, p)
			}
		}
		for _, p := range of {
			if why := p.trouble(); why != "" && w.env.Kind == "kind" && strings.Contains(why, "Image") {
				return "", &run.UnfitError{Reason: fmt.Sprintf("the cluster does not have an image of %s: windtunnel kind load puts it there: %s", name, why)}
			} else if why != "" {
				return "", fmt.Errorf("%s: %s", name, why)
			}
		}
		if !current || ready < want {
			return fmt.Sprintf("%s has %d of %d Pods ready", name, ready, want), nil
		}
		if len(of) > want {
			return fmt.Sprintf("%s has %d Pods that are going", name, len(of)-want), nil
		}
		return "", nil
	})
}

// published waits until the endpoints of the scenario's Services are its ready Pods, of
// which the controller that writes them hears later than we do.
func (w *World) published(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, convergeLimit, fmt.Errorf("not after %s", convergeLimit))
	defer cancel()
	return w.until(ctx, func() (string, error) {
		v := &surroundings{world: w, ctx: ctx}
		if err := v.load(ctx); err != nil {
			return "", err
		}
		pods := w.pods()
		for _, s := range v.services {
			if !w.mine(s.Namespace) || len(s.Spec.Selector) == 0 {
				continue
			}
			var want []string
			for _, p := range pods {
				if p.Namespace == s.Namespace && p.ready() && labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(p.Labels)) {
					want = append(want, p.Status.PodIP)
				}
			}
			slices.Sort(want)
			if have, _ := v.ready(&s, ""); !slices.Equal(want, slices.Compact(have)) {
				return fmt.Sprintf("the endpoints of Service %s are %v, its Pods %v", w.names.scenario(s.Namespace+"/"+s.Name), have, want), nil
			}
		}
		return "", nil
	})
}

// progress reads how many Pods an object wants and how many are ready; current is
// false while its controller has not seen the last change.
func progress(o *unstructured.Unstructured) (want, ready int, current bool) {
	number := func(fields ...string) int {
		n, _, _ := unstructured.NestedInt64(o.Object, fields...)
		return int(n)
	}
	current = number("status", "observedGeneration") >= int(o.GetGeneration())
	switch o.GetKind() {
	case "Pod":
		p := &corev1.Pod{}
		if kube.Into(o, p) == nil && (&pod{p, ""}).ready() {
			ready = 1
		}
		return 1, ready, true
	case "DaemonSet":
		return number("status", "desiredNumberScheduled"), min(number("status", "numberReady"), number("status", "updatedNumberScheduled")), current
	case "Job":
		return 0, 0, true
	}
	want = 1
	if n, found, _ := unstructured.NestedInt64(o.Object, "spec", "replicas"); found {
		want = int(n)
	}
	ready = number("status", "readyReplicas")
	if o.GetKind() == "Deployment" {
		ready = min(number("status", "availableReplicas"), number("status", "updatedReplicas"))
	}
	return want, ready, current
}

// noPods waits until the Pods of an object that was deleted are gone.
func (w *World) noPods(ctx context.Context, o *unstructured.Unstructured) error {
	return w.until(ctx, func() (string, error) {
		for _, p := range w.pods() {
			if p.Namespace == o.GetNamespace() && (p.workload == o.GetName() || p.Name == o.GetName()) {
				return p.Name + " is ending", nil
			}
		}
		return "", nil
	})
}

// converge waits until the control plane has told every proxy of the scenario, and of
// the gateways, what was changed before.
func (w *World) converge(ctx context.Context) error {
	if w.down(ctx) {
		return nil // proxies keep what they have
	}
	if err := w.published(ctx); err != nil {
		return err
	}
	if err := w.Sleep(ctx, noticed); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, convergeLimit, fmt.Errorf("not after %s", convergeLimit))
	defer cancel()
	return w.until(ctx, func() (string, error) {
		body, err := w.controlPlane(ctx, "/debug/syncz")
		if err != nil {
			return err.Error(), nil
		}
		var proxies []struct {
			Node struct {
				ID string
			}
			Synced bool
			Err    string
		}
		if err := json.Unmarshal(body, &proxies); err != nil {
			return "", fmt.Errorf("the control plane's /debug/syncz: %w", err)
		}
		for _, p := range proxies {
			ns := namespaceOfNode(p.Node.ID)
			if (w.mine(ns) || ns == w.env.System) && !p.Synced && !w.stopped(p.Node.ID) {
				return fmt.Sprintf("the proxy %s is not up to date", w.names.scenario(p.Node.ID)), nil
			}
		}
		return "", nil
	})
}

// stopped tells whether a node id is of a Pod that is paused, and cannot answer.
func (w *World) stopped(id string) bool {
	w.nodes.mu.Lock()
	defer w.nodes.mu.Unlock()
	for name := range w.nodes.paused {
		if strings.Contains(id, "~"+name+".") {
			return true
		}
	}
	return false
}

// controlPlane asks the control plane's debug port.
func (w *World) controlPlane(ctx context.Context, path string) ([]byte, error) {
	for _, p := range w.pods() {
		if p.Namespace == w.env.System && p.Labels["app"] == "istiod" && p.ready() {
			address, err := w.forward(p, monitoring)
			if err != nil {
				return nil, err
			}
			body, err := kube.HTTPGet(ctx, address, path)
			if err != nil {
				w.forget(p, monitoring)
			}
			return body, err
		}
	}
	return nil, fmt.Errorf("no Pod of the control plane is ready in %s", w.env.System)
}

// down tells whether a scenario has taken the control plane away.
func (w *World) down(ctx context.Context) bool {
	u, err := w.client.Get(ctx, kube.Resource("apps/v1", "Deployment"), w.env.System, "istiod")
	if err != nil || u == nil {
		return false
	}
	n, found, _ := unstructured.NestedInt64(u.Object, "spec", "replicas")
	return found && n == 0
}
