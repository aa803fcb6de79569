package world

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// healLimit is how long a mesh may take to be whole again, in the world's time: what a
// fault held back may wait two minutes for TCP's next retransmission.
const healLimit = 5 * time.Minute

// Fault implements run.World.
func (w *World) Fault(ctx context.Context, f *spec.Fault) error {
	if f.Chaos != nil {
		return w.chaos(ctx, f.Chaos)
	}
	leave, err := w.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	switch {
	case f.Kill != "":
		return w.kill(ctx, f.Kill)
	case f.Restart != "":
		return w.restart(ctx, f.Restart)
	case f.Proxy != nil:
		return w.proxyFault(ctx, f.Proxy)
	case f.ControlPlane != "":
		return w.controlPlane(ctx, f.ControlPlane)
	case f.Heal != "":
		return w.heal(ctx)
	}
	return w.networkFault(f)
}

// setNode adds a Pod that runs, or takes it out.
func (w *World) setNode(name string, n *node) {
	w.nodesMu.Lock()
	defer w.nodesMu.Unlock()
	if n == nil {
		delete(w.nodes, name)
		return
	}
	w.nodes[name] = n
}

// kill ends Pods as `kubectl delete pod --force --grace-period=0` does: nothing is
// drained, nobody is told, and who still calls is refused.
func (w *World) kill(ctx context.Context, name string) error {
	pods, err := w.podsOf(name)
	if err != nil {
		return err
	}
	var names []string
	var errs []error
	for _, n := range pods {
		if isMeshd(n.pod) {
			return errors.New("kill: the control plane has a fault of its own: controlPlane: down")
		}
	}
	for _, n := range pods {
		w.log.event("fault", n.pod.Name, "killed")
		w.log.killed(n.pod.Name)
		errs = append(errs, n.close())
		w.setNode(n.pod.Name, nil)
		names = append(names, n.pod.Name)
	}
	if err := errors.Join(append(errs, w.cluster.Lost(ctx, names))...); err != nil {
		return err
	}
	return w.settle(ctx)
}

// restart replaces a workload's Pods one for one, as kubectl rollout restart does.
func (w *World) restart(ctx context.Context, name string) error {
	k, err := w.workload(name)
	if err != nil {
		return err
	}
	if k.Namespace == systemNamespace && k.Name == controlPlane {
		return errors.New("restart: the control plane has a fault of its own: controlPlane: restart")
	}
	w.log.event("fault", name, "restarted")
	if err := w.cluster.Restart(ctx, k); err != nil {
		return err
	}
	w.noteStalled(nil)
	return w.settle(ctx)
}

// proxyFault kills sidecars; the applications in their Pods go on.
func (w *World) proxyFault(ctx context.Context, f *spec.ProxyFault) error {
	pods, err := w.podsOf(f.Workload)
	if err != nil {
		return err
	}
	for _, n := range pods {
		if n.daemon == nil || isMeshd(n.pod) {
			return fmt.Errorf("%s has no sidecar", n.pod.Name)
		}
	}
	for _, n := range pods {
		if n.daemon.runs() {
			n.daemon.stop()
			w.log.event("fault", n.pod.Name, "proxy killed")
		}
		n.proxy = nil
		if f.Action == "restart" {
			if err := w.reviveProxy(ctx, n); err != nil {
				return err
			}
		}
	}
	if f.Action == "restart" {
		return w.converge(ctx)
	}
	return nil
}

// reviveProxy starts a sidecar that has ended, and waits until it serves.
func (w *World) reviveProxy(ctx context.Context, n *node) error {
	c := n.daemon.container
	if err := w.startProxy(n.ctx, n, c, inject.Env(n.pod, c.Name, n.pod.Status.PodIP, n.pod.Status.HostIP)); err != nil {
		return err
	}
	w.log.event("fault", n.pod.Name, "proxy restarted")
	if err := w.waitDaemon(ctx, n); err != nil {
		return fmt.Errorf("the proxy of %s: %w", n.pod.Name, err)
	}
	return nil
}

// controlPlane ends meshd, or starts it again. Proxies keep what they have, and
// come back by themselves.
func (w *World) controlPlane(ctx context.Context, what string) error {
	pods, err := w.podsOf(systemNamespace + "/" + controlPlane)
	if err != nil {
		return err
	}
	n := pods[0]
	if what != "up" && !w.down {
		w.log.event("fault", n.pod.Name, "down")
		w.down = true
		n.daemon.stop()
	}
	if what == "down" || !w.down {
		return nil
	}
	if err := w.startMeshd(n.ctx, n, n.daemon.container); err != nil {
		return err
	}
	w.down = false
	w.log.event("fault", n.pod.Name, "up")
	if err := w.waitDaemon(ctx, n); err != nil {
		return err
	}
	return w.converge(ctx)
}

// heal undoes every fault, and requires that the mesh is whole again.
func (w *World) heal(ctx context.Context) error {
	w.log.event("fault", "", "heal all")
	for _, remove := range w.rules {
		remove()
	}
	w.rules, w.cutOff = nil, false
	if err := w.controlPlane(ctx, "up"); err != nil {
		return err
	}
	for _, p := range w.cluster.Pods() {
		if n := w.nodes[p.Name]; n.daemon != nil && !n.daemon.runs() {
			if err := w.reviveProxy(ctx, n); err != nil {
				return err
			}
		}
	}
	return w.converge(ctx)
}

// converge returns when every proxy that runs is connected and has accepted what
// the cluster's objects say.
func (w *World) converge(ctx context.Context) error {
	if w.down {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, healLimit, fmt.Errorf("not every proxy was up to date after %s", healLimit))
	defer cancel()
	for {
		want := 0
		for _, n := range w.nodes {
			if n.proxy != nil && n.daemon.runs() {
				want++
			}
		}
		if len(w.meshd.Status()) >= want {
			return w.settle(ctx)
		}
		if err := w.Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}
