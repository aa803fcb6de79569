package live

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/workload/fault"
)

// nodes breaks Pods from their nodes, by a privileged Pod on each that is started when
// it is needed first.
type nodes struct {
	mu     sync.Mutex
	pods   map[string]*pod // who breaks, by node
	paused map[string]*pod // by name
	broken map[string]*filtered
}

// filtered is a Pod whose packets are filtered.
type filtered struct {
	pod    *pod
	drop   map[string][]netip.Addr // by what made it
	refuse []uint16
}

// agentOn is the Pod that breaks those of a node.
func (w *World) agentOn(ctx context.Context, node string) (*pod, error) {
	w.nodes.mu.Lock()
	known := w.nodes.pods[node]
	w.nodes.mu.Unlock()
	if known != nil {
		return known, nil
	}
	if err := w.makeNamespace(ctx, w.clientNamespace(), map[string]string{"istio-injection": "disabled", "pod-security.kubernetes.io/enforce": "privileged"}); err != nil {
		return nil, err
	}
	p := &pod{Pod: emptyPod(w.clientNamespace())}
	p.Name = "windtunnel-node-" + strings.ReplaceAll(node, ".", "-")
	err := w.runPod(ctx, p.Name, map[string]any{
		"terminationGracePeriodSeconds": int64(1), "hostPID": true, "nodeName": node,
		"containers": []any{map[string]any{"name": "node", "image": w.env.ClientImage, "imagePullPolicy": "IfNotPresent", "args": []any{"node"},
			"securityContext": map[string]any{"privileged": true, "runAsUser": int64(0)}}}})
	if err != nil {
		return nil, fmt.Errorf("faults need a privileged Pod on the node %s: %w", node, err)
	}
	w.nodes.mu.Lock()
	defer w.nodes.mu.Unlock()
	w.nodes.pods[node] = p
	return p, nil
}

// order has something done to a Pod.
func (w *World) order(ctx context.Context, p *pod, o *fault.Order) error {
	agent, err := w.agentOn(ctx, p.Spec.NodeName)
	if err != nil {
		return err
	}
	if len(o.Containers) == 0 {
		o.Containers = containersOf(p, "")
	}
	address, err := w.forward(agent, agentPort)
	if err != nil {
		return err
	}
	if err := fault.Ask(ctx, http.DefaultClient, "http://"+address, o); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	return nil
}

// containersOf are the ids of a Pod's running containers, or of the one with the name.
func containersOf(p *pod, name string) []string {
	var ids []string
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		_, id, ok := strings.Cut(s.ContainerID, "://")
		if ok && s.State.Running != nil && (name == "" || s.Name == name) {
			ids = append(ids, id)
		}
	}
	return ids
}

// pause stops the processes of a workload's Pods, or lets them go on.
func (w *World) pause(ctx context.Context, name string) error {
	pods, err := w.podsOf(name)
	if err != nil {
		return err
	}
	for _, p := range pods {
		if err := w.order(ctx, p, &fault.Order{Action: fault.Pause}); err != nil {
			return err
		}
		w.log.event("fault", "pause %s", p.Name)
		w.nodes.mu.Lock()
		w.nodes.paused[p.Name] = p
		w.nodes.mu.Unlock()
	}
	return nil
}

func (w *World) resume(ctx context.Context, name string) error {
	w.nodes.mu.Lock()
	p := w.nodes.paused[name]
	delete(w.nodes.paused, name)
	w.nodes.mu.Unlock()
	if p == nil {
		return nil
	}
	w.log.event("fault", "resume %s", name)
	if err := w.order(ctx, p, &fault.Order{Action: fault.Resume}); err != nil && w.there(p) {
		return err
	}
	return nil
}

// there tells whether a Pod is still there: what was broken in one that is gone is whole.
func (w *World) there(p *pod) bool {
	return slices.ContainsFunc(w.pods(), func(now *pod) bool { return now.UID == p.UID && now.DeletionTimestamp == nil })
}

// partition cuts the Pods of two workloads off from each other; label tells what for.
func (w *World) partition(ctx context.Context, from, to, label string) error {
	a, err := w.podsOf(from)
	if err != nil {
		return err
	}
	b, err := w.podsOf(to)
	if err != nil {
		return err
	}
	w.log.event("fault", "partition %s from %s", from, to)
	for _, side := range [][2][]*pod{{a, b}, {b, a}} {
		var peers []netip.Addr
		for _, p := range side[1] {
			for _, ip := range p.Status.PodIPs {
				if addr, err := netip.ParseAddr(ip.IP); err == nil {
					peers = append(peers, addr)
				}
			}
		}
		for _, p := range side[0] {
			if err := w.refilter(ctx, p, func(f *filtered) { f.drop[label] = peers }); err != nil {
				return err
			}
		}
	}
	return nil
}

// refilter changes what is filtered at a Pod.
func (w *World) refilter(ctx context.Context, p *pod, change func(*filtered)) error {
	w.nodes.mu.Lock()
	f := w.nodes.broken[p.Name]
	if f == nil {
		f = &filtered{pod: p, drop: make(map[string][]netip.Addr)}
		w.nodes.broken[p.Name] = f
	}
	change(f)
	o := &fault.Order{Action: fault.Filter, Refuse: slices.Clone(f.refuse)}
	for _, label := range slices.Sorted(maps.Keys(f.drop)) {
		o.Drop = append(o.Drop, f.drop[label]...)
	}
	if len(o.Drop)+len(o.Refuse) == 0 {
		delete(w.nodes.broken, p.Name)
	}
	w.nodes.mu.Unlock()
	if err := w.order(ctx, p, o); err != nil && w.there(p) {
		return err
	}
	return nil
}

// unite takes back what a label cut off.
func (w *World) unite(ctx context.Context, label string) error {
	for _, f := range w.filteredPods() {
		w.nodes.mu.Lock()
		cut := f.drop[label] != nil
		w.nodes.mu.Unlock()
		if !cut {
			continue
		}
		if err := w.refilter(ctx, f.pod, func(f *filtered) { delete(f.drop, label) }); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) filteredPods() []*filtered {
	w.nodes.mu.Lock()
	defer w.nodes.mu.Unlock()
	var list []*filtered
	for _, name := range slices.Sorted(maps.Keys(w.nodes.broken)) {
		list = append(list, w.nodes.broken[name])
	}
	return list
}

// whole undoes everything that was done from nodes.
func (w *World) whole(ctx context.Context) error {
	w.nodes.mu.Lock()
	names := slices.Sorted(maps.Keys(w.nodes.paused))
	w.nodes.mu.Unlock()
	for _, name := range names {
		if err := w.resume(ctx, name); err != nil {
			return err
		}
	}
	for _, f := range w.filteredPods() {
		err := w.refilter(ctx, f.pod, func(f *filtered) { f.refuse, f.drop = nil, make(map[string][]netip.Addr) })
		if err != nil {
			return err
		}
	}
	return nil
}

// sidecarPorts are those to which traffic is redirected.
var sidecarPorts = []uint16{15001, 15006}

// proxyFault ends the sidecars of a workload. The kubelet starts them again at once, so
// that, until somebody restarts them, their ports refuse what is redirected there.
func (w *World) proxyFault(ctx context.Context, name, action string) error {
	pods, err := w.podsOf(name)
	if err != nil {
		return err
	}
	for _, p := range pods {
		if _, sidecar := p.proxied(); !sidecar {
			return fmt.Errorf("%s has no sidecar", p.Name)
		}
	}
	for _, p := range pods {
		w.nodes.mu.Lock()
		f := w.nodes.broken[p.Name]
		dead := f != nil && len(f.refuse) > 0
		w.nodes.mu.Unlock()
		if !dead {
			if err := w.refilter(ctx, p, func(f *filtered) { f.refuse = sidecarPorts }); err != nil {
				return err
			}
			w.log.event("fault", "proxy of %s killed", p.Name)
			if err := w.order(ctx, p, &fault.Order{Action: fault.Kill, Containers: containersOf(p, inject.ProxyContainer)}); err != nil {
				return err
			}
		}
		if action != "restart" {
			continue
		}
		if err := w.revived(ctx, p); err != nil {
			return err
		}
		if err := w.refilter(ctx, p, func(f *filtered) { f.refuse = nil }); err != nil {
			return err
		}
		w.log.event("fault", "proxy of %s restarted", p.Name)
	}
	if action == "restart" {
		return w.connected(ctx)
	}
	return nil
}

// revived waits until the kubelet has started a Pod's sidecar again, and it is ready.
func (w *World) revived(ctx context.Context, p *pod) error {
	killed := containersOf(p, inject.ProxyContainer)
	return w.until(ctx, func() (string, error) {
		for _, now := range w.pods() {
			if now.UID != p.UID {
				continue
			}
			ids := containersOf(now, inject.ProxyContainer)
			if len(ids) == 1 && !slices.Equal(ids, killed) && proxyReady(now) {
				return "", nil
			}
			return "the proxy of " + p.Name + " is not ready", nil
		}
		return "", fmt.Errorf("the Pod %s is gone", p.Name)
	})
}

func proxyReady(p *pod) bool {
	return slices.ContainsFunc(slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses), func(s corev1.ContainerStatus) bool {
		return s.Name == inject.ProxyContainer && s.Ready
	})
}

// runPod makes a Pod beside the scenario's, and waits until it is ready.
func (w *World) runPod(ctx context.Context, name string, spec map[string]any) error {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"name": name, "namespace": w.clientNamespace()}, "spec": spec}}
	if err := w.account(ctx, w.clientNamespace()); err != nil {
		return err
	}
	now, err := w.client.Apply(ctx, u, owner)
	if err != nil {
		return err
	}
	return w.rollout(ctx, now)
}
