package live

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// Fault implements run.World.
func (w *World) Fault(ctx context.Context, f *spec.Fault) error {
	switch {
	case f.Kill != "":
		return w.kill(ctx, f.Kill)
	case f.Restart != "":
		return w.restart(ctx, f.Restart)
	case f.ControlPlane != "":
		return w.controlPlaneFault(ctx, f.ControlPlane)
	case f.Pause != nil:
		return w.lasting(ctx, f.Pause.For, func(ctx context.Context) error { return w.pause(ctx, f.Pause.Workload) }, w.resumeAll(f.Pause.Workload))
	case f.Partition != nil:
		w.faults++
		label := fmt.Sprint(w.faults)
		return w.lasting(ctx, f.Partition.For, func(ctx context.Context) error { return w.partition(ctx, f.Partition.From, f.Partition.To, label) },
			func(ctx context.Context) error { return w.unite(ctx, label) })
	case f.Proxy != nil:
		return w.proxyFault(ctx, f.Proxy.Workload, f.Proxy.Action)
	case f.Heal != "":
		w.log.event("fault", "heal all")
		if err := w.whole(ctx); err != nil {
			return err
		}
		if w.down(ctx) {
			return w.controlPlaneFault(ctx, "up")
		}
		return w.connected(ctx)
	}
	return simulatedFault(f)
}

// lasting begins a fault, and ends it after a while where it does not last until healed.
func (w *World) lasting(ctx context.Context, limit time.Duration, begin, end func(context.Context) error) error {
	if err := begin(ctx); err != nil {
		return err
	}
	if limit == 0 {
		return nil
	}
	w.timers.Go(func() {
		if w.Sleep(w.ctx, limit) != nil {
			return // the world's end undoes it
		}
		if err := end(w.ctx); err != nil {
			w.log.event("warning", "%v", err)
		}
	})
	return nil
}

// resumeAll lets the Pods go on that a pause of the workload has stopped.
func (w *World) resumeAll(workload string) func(context.Context) error {
	return func(ctx context.Context) error {
		pods, err := w.podsOf(workload)
		for _, p := range pods {
			err = errors.Join(err, w.resume(ctx, p.Name))
		}
		return err
	}
}

// kill deletes Pods without grace: their processes get SIGKILL. As in the simulator it
// returns at once, while their controllers replace them.
func (w *World) kill(ctx context.Context, name string) error {
	pods, err := w.podsOf(name)
	if err != nil {
		return err
	}
	for _, p := range pods {
		w.log.event("fault", "kill %s", p.Name)
		if err := w.client.Kill(ctx, p.Namespace, p.Name, ""); err != nil {
			return err
		}
	}
	return nil
}

// restart is kubectl rollout restart.
func (w *World) restart(ctx context.Context, name string) error {
	o, err := w.controller(ctx, name)
	if err != nil {
		return err
	}
	w.log.event("fault", "restart %s", name)
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
	if err := w.client.Merge(ctx, o.GetAPIVersion(), o.GetKind(), o.GetNamespace(), o.GetName(), patch, ""); err != nil {
		return err
	}
	if err := w.rollout(ctx, o); err != nil {
		return err
	}
	return w.converge(ctx)
}

func (w *World) controlPlaneFault(ctx context.Context, action string) error {
	o, err := w.client.Get(ctx, kube.Resource("apps/v1", "Deployment"), w.env.System, "istiod")
	if err != nil {
		return err
	}
	if o == nil {
		return fmt.Errorf("there is no Deployment %s/istiod", w.env.System)
	}
	o.SetAPIVersion("apps/v1")
	o.SetKind("Deployment")
	w.log.event("fault", "control plane %s", action)
	switch action {
	case "down":
		replicas := replicasOf(o)
		w.heal = append(w.heal, func(ctx context.Context) error {
			if !w.down(ctx) {
				return nil
			}
			return w.client.Merge(ctx, "apps/v1", "Deployment", w.env.System, "istiod", fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas), "")
		})
		return w.scale(ctx, o, 0)
	case "up":
		if err := w.scale(ctx, o, max(replicasOf(o), 1)); err != nil {
			return err
		}
	case "restart":
		if err := w.restart(ctx, w.env.System+"/istiod"); err != nil {
			return err
		}
	}
	return w.connected(ctx)
}

// connected waits until the proxies of all Pods are connected and up to date.
func (w *World) connected(ctx context.Context) error {
	err := w.until(ctx, func() (string, error) {
		body, err := w.controlPlane(ctx, "/debug/syncz")
		if err != nil {
			return err.Error(), nil
		}
		for _, p := range w.pods() {
			if proxied, _ := p.proxied(); proxied && p.ready() && !strings.Contains(string(body), p.Name+"."+p.Namespace) {
				return p.Name + " is not connected to the control plane", nil
			}
		}
		return "", nil
	})
	if err != nil {
		return err
	}
	return w.converge(ctx)
}

func replicasOf(o *unstructured.Unstructured) int {
	n, found, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
	if !found {
		return 1
	}
	return int(n)
}

// namespaceOfNode is the namespace in a node id: "sidecar~10.0.0.7~reviews-v1-abc.default~…".
func namespaceOfNode(id string) string {
	parts := strings.Split(id, "~")
	if len(parts) != 4 {
		return ""
	}
	_, namespace, _ := strings.Cut(parts[2], ".")
	return namespace
}
