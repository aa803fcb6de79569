package live

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
)

// pod is a Pod of the scenario, or of the mesh.
type pod struct {
	*corev1.Pod
	workload string
}

// proxied tells whether a proxy runs in the Pod, and whether it is the application's sidecar.
func (p *pod) proxied() (proxied, sidecar bool) {
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if c.Name == inject.ProxyContainer {
			proxied = true
		}
	}
	return proxied, proxied && len(p.Spec.Containers) > 1
}

func (p *pod) ready() bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// crashes are how often a container may end before its Pod is given up.
const crashes = 4

// trouble is why a Pod will not become ready by waiting; "" where it may.
func (p *pod) trouble() string {
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := s.State.Waiting; w != nil && slices.Contains([]string{"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError"}, w.Reason) {
			return fmt.Sprintf("%s: container %s: %s: %s", p.Name, s.Name, w.Reason, w.Message)
		}
		if w := s.State.Waiting; w != nil && w.Reason == "CrashLoopBackOff" && s.RestartCount >= crashes {
			if last := s.LastTerminationState.Terminated; last != nil && last.Message != "" {
				return fmt.Sprintf("%s: container %s has ended %d times: %s", p.Name, s.Name, s.RestartCount, strings.TrimSpace(last.Message))
			}
			return fmt.Sprintf("%s: container %s has ended %d times: windtunnel run --keep leaves it, and kubectl logs tells why", p.Name, s.Name, s.RestartCount)
		}
	}
	return ""
}

// workloadOf names the controller behind a Pod as people do: the Deployment, not its ReplicaSet.
func workloadOf(p *corev1.Pod) string {
	for _, o := range p.OwnerReferences {
		if o.Controller == nil || !*o.Controller {
			continue
		}
		if hash := p.Labels["pod-template-hash"]; o.Kind == "ReplicaSet" && hash != "" {
			return strings.TrimSuffix(o.Name, "-"+hash)
		}
		return o.Name
	}
	return p.Name
}

// place is a Pod as results name it.
type place struct{ pod, namespace, workload string }

// places remembers Pods by address, also those that are gone: their lines come late.
type places struct {
	mu   sync.Mutex
	byIP map[netip.Addr]place
}

func (p *places) know(ip string, at place) {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byIP[addr] = at
}

// at is the Pod of "ADDRESS:PORT"; the zero place: none.
func (p *places) at(address string) place {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return place{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byIP[ap.Addr()]
}

// pods are the Pods of the scenario's namespaces that are there now, then those of the mesh.
func (w *World) pods() []*pod {
	var list []*pod
	all, _, _ := w.mirror.State()
	for _, u := range all {
		if !w.mine(u.GetNamespace()) && u.GetNamespace() != w.names.system {
			continue
		}
		p := &corev1.Pod{}
		if err := kube.Into(u, p); err != nil {
			continue // a Pod that cannot be read is none of ours
		}
		list = append(list, &pod{p, workloadOf(p)})
	}
	slices.SortStableFunc(list, func(a, b *pod) int {
		return boolean(a.Namespace == w.names.system) - boolean(b.Namespace == w.names.system)
	})
	return list
}

// mirrored waits until the Pods of the cluster are known.
func (w *World) mirrored(ctx context.Context) error {
	return w.until(ctx, func() (string, error) {
		if _, synced, _ := w.mirror.State(); !synced {
			return "the Pods of the cluster are not known yet", nil
		}
		return "", nil
	})
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// mine tells whether a namespace is one of the scenario's.
func (w *World) mine(namespace string) bool {
	return namespace == w.names.suffix || strings.HasPrefix(namespace, w.names.suffix+"-") && namespace != w.clientNamespace()
}

// podsOf are the Pods that a scenario means by a name, those that are ready first.
func (w *World) podsOf(name string) ([]*pod, error) {
	asked := w.names.workload(name)
	var found []*pod
	var owners, known []string
	for _, p := range w.pods() {
		if !slices.Contains(known, p.workload) {
			known = append(known, p.workload)
		}
		if p.DeletionTimestamp != nil || !means(asked, p) {
			continue
		}
		found = append(found, p)
		if owner := w.names.scenario(p.Namespace) + "/" + p.workload; !slices.Contains(owners, owner) {
			owners = append(owners, owner)
		}
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("no workload and no Pod is called %q; there are: %s", name, strings.Join(known, ", "))
	case len(owners) > 1:
		return nil, fmt.Errorf("%q may be any of %s: write NAMESPACE/NAME", name, strings.Join(owners, ", "))
	}
	slices.SortStableFunc(found, func(a, b *pod) int { return boolean(b.ready()) - boolean(a.ready()) })
	return found, nil
}

// means tells whether a name in a scenario is one of the Pod's.
func means(name string, p *pod) bool {
	for _, kind := range []string{"deploy/", "deployment/", "statefulset/", "sts/", "daemonset/", "ds/", "pod/"} {
		if rest, ok := strings.CutPrefix(name, kind); ok {
			name = rest
			break
		}
	}
	if namespace, rest, ok := strings.Cut(name, "/"); ok {
		return namespace == p.Namespace && (rest == p.workload || rest == p.Name)
	}
	return name == p.workload || name == p.Name
}
