package cluster

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
)

// rollout is how a workload replaces the Pods of older templates.
type rollout struct {
	surge       int           // Pods beyond the replicas that may run meanwhile
	unavailable int           // replicas that may be missing meanwhile
	minReady    time.Duration // a Pod that is ready for so long is available
	deadline    time.Duration // for the next Pod to make progress
	onDelete    bool          // Pods of older templates stay until somebody ends them
}

// freely starts all new Pods before old ones end.
var freely = rollout{surge: math.MaxInt32, deadline: 10 * time.Minute}

// rolloutOf is a Deployment's, with Kubernetes' defaults: a quarter of the replicas may be
// too many, which is rounded up, and a quarter may be missing, rounded down.
func rolloutOf(s *appsv1.DeploymentSpec, replicas int) rollout {
	r := rollout{minReady: time.Duration(s.MinReadySeconds) * time.Second, deadline: freely.deadline}
	if s.ProgressDeadlineSeconds != nil {
		r.deadline = time.Duration(*s.ProgressDeadlineSeconds) * time.Second
	}
	quarter := intstr.FromString("25%")
	surge, unavailable := &quarter, &quarter
	if u := s.Strategy.RollingUpdate; u != nil {
		surge, unavailable = cmp.Or(u.MaxSurge, surge), cmp.Or(u.MaxUnavailable, unavailable)
	}
	r.surge, r.unavailable = scaled(surge, replicas, true), scaled(unavailable, replicas, false)
	if r.surge == 0 && r.unavailable == 0 {
		r.unavailable = 1 // percentages may both come to nothing, and something has to move
	}
	return r
}

// scaled is a number, or a share of the replicas. What is neither has been refused.
func scaled(v *intstr.IntOrString, replicas int, up bool) int {
	n, err := intstr.GetScaledValueFromIntOrPercent(v, replicas, up)
	if err != nil {
		return 0
	}
	return n
}

// reconcile makes the world what the objects say. It returns when the Pods that follow
// from them are available, or their rollouts have exceeded the deadline for progress.
func (c *Cluster) reconcile(ctx context.Context) error {
	c.stalled = nil
	if err := c.deployGateways(); err != nil {
		return err
	}
	c.publish()
	if err := c.recreate(ctx); err != nil {
		return err
	}
	progress := make(map[config.Key]time.Time)
	begun := time.Now()
	for {
		changed := c.o.Kubelet.Changed()
		moved, err := c.advance(ctx)
		if err != nil {
			return err
		}
		for _, k := range moved {
			progress[k] = time.Now()
		}
		if len(moved) > 0 {
			continue
		}
		next := c.waitFor(begun, progress)
		if next.IsZero() {
			return nil
		}
		if err := until(ctx, changed, next); err != nil {
			return fmt.Errorf("wait until the Pods are ready: %w", err)
		}
	}
}

// Refresh follows what has become of the Pods without anybody's doing: their probes'
// results are published, and rollouts go on. It returns when there will be something to do
// even where nothing changes; the zero time: never.
func (c *Cluster) Refresh(ctx context.Context) (next time.Time, err error) {
	for {
		moved, err := c.advance(ctx)
		if err != nil || len(moved) == 0 {
			return c.nextAvailable(c.owners()), err
		}
	}
}

// until waits for a change or an instant.
func until(ctx context.Context, changed <-chan struct{}, next time.Time) error {
	t := time.NewTimer(time.Until(next))
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// advance takes one step of all rollouts: it looks at the Pods, starts new ones and stops
// those that are not needed any more. It returns the workloads that have come further.
func (c *Cluster) advance(ctx context.Context) (moved []config.Key, err error) {
	owners := c.owners()
	moved, held, err := c.look(owners)
	if err != nil || held {
		return moved, err
	}
	for _, o := range owners {
		start := c.startPods
		if o.numbers != nil {
			start = c.startNumbered
		}
		started, err := start(ctx, o)
		if err != nil {
			return nil, err
		}
		if started {
			moved = append(moved, o.key)
		}
	}
	if len(moved) > 0 {
		return moved, nil
	}
	surplus := c.surplus(owners)
	if len(surplus) == 0 {
		return nil, nil
	}
	for _, p := range surplus {
		p.ready = false
		moved = append(moved, p.Owner)
	}
	c.publish()
	return moved, c.stop(ctx, surplus)
}

// look takes over which Pods are ready. Pods without probes are ready as soon as their
// proxies are, so that they are waited for (held) and published together.
func (c *Cluster) look(owners []owner) (moved []config.Key, held bool, err error) {
	type change struct {
		pod   *Pod
		ready bool
	}
	var changes []change
	surplus := c.surplus(owners)
	for _, p := range c.pods {
		if slices.Contains(surplus, p) && !p.ready {
			continue
		}
		ready, err := c.o.Kubelet.Ready(p.Pod)
		switch {
		case err != nil:
			return nil, false, fmt.Errorf("pod %s: %w", p.Name, err)
		case ready != p.ready:
			changes = append(changes, change{p, ready})
		case !ready && !gated(p.Pod):
			held = true
		}
	}
	if held || len(changes) == 0 {
		return nil, held, nil
	}
	for _, ch := range changes {
		if ch.pod.ready = ch.ready; ch.ready {
			ch.pod.since = time.Now()
			moved = append(moved, ch.pod.Owner)
		}
	}
	c.publish()
	return moved, false, nil
}

// gated tells whether a Pod has probes of its own that keep it from being ready.
func gated(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Containers, func(k corev1.Container) bool {
		return k.Name != inject.ProxyContainer && (Asks(k.StartupProbe) || Asks(k.ReadinessProbe) || Asks(k.LivenessProbe))
	})
}

// Asks tells whether there is a probe.
func Asks(p *corev1.Probe) bool {
	return p != nil && (p.HTTPGet != nil || p.TCPSocket != nil || p.GRPC != nil || p.Exec != nil)
}

// available tells whether a Pod has been ready for long enough.
func (r rollout) available(p *Pod) bool {
	return p.ready && time.Since(p.since) >= r.minReady
}

// waitFor returns until when at the latest the Pods that are new are waited for; the zero
// time: there are none. It gives up those whose rollout makes no progress.
func (c *Cluster) waitFor(begun time.Time, progress map[config.Key]time.Time) (next time.Time) {
	for _, o := range c.owners() {
		var waiting []*Pod
		for _, p := range c.pods {
			if p.Owner != o.key || p.settled {
				continue
			}
			if p.settled = o.rollout.available(p); !p.settled {
				waiting = append(waiting, p)
			}
		}
		if len(waiting) == 0 {
			continue
		}
		last := begun
		if at, ok := progress[o.key]; ok {
			last = at
		}
		deadline := last.Add(o.rollout.deadline)
		if !time.Now().Before(deadline) {
			c.giveUp(o, waiting)
			continue
		}
		next = earlier(next, deadline)
	}
	if next.IsZero() {
		return next
	}
	return earlier(next, c.nextAvailable(c.owners()))
}

// giveUp notes that a rollout has exceeded its deadline.
func (c *Cluster) giveUp(o owner, waiting []*Pod) {
	for _, p := range waiting {
		p.settled = true
	}
	c.stalled = append(c.stalled, fmt.Sprintf("%s %s has exceeded its progress deadline of %v: %s is not ready: %s",
		o.key.Kind, o.key.Name, o.rollout.deadline, waiting[0].Name, c.o.Kubelet.Waiting(waiting[0].Pod)))
}

// nextAvailable is when the next ready Pod will count as available; the zero time: all do.
func (c *Cluster) nextAvailable(owners []owner) (next time.Time) {
	for _, p := range c.pods {
		i := slices.IndexFunc(owners, func(o owner) bool { return o.key == p.Owner })
		if i >= 0 && p.ready && !owners[i].rollout.available(p) {
			next = earlier(next, p.since.Add(owners[i].rollout.minReady))
		}
	}
	return next
}

// earlier is the earlier one of two instants, of which the zero time is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// count is how many Pods a workload has.
type count struct{ fresh, available, old, oldAvailable int }

func (c *Cluster) count(o owner) (n count) {
	for _, p := range c.pods {
		if p.Owner != o.key {
			continue
		}
		available := o.rollout.available(p)
		if p.hash == o.hash {
			n.fresh++
		} else {
			n.old++
		}
		switch {
		case available && p.hash == o.hash:
			n.available++
		case available:
			n.oldAvailable++
		}
	}
	return n
}

// startPods starts the Pods of a workload that are missing and may run beside the old ones.
func (c *Cluster) startPods(ctx context.Context, o owner) (started bool, err error) {
	n := c.count(o)
	missing := min(o.replicas-n.fresh, o.replicas+o.rollout.surge-n.fresh-n.old)
	for ; missing > 0; missing-- {
		p, err := c.newPod(o)
		if err != nil {
			return false, err
		}
		if err := c.startPod(ctx, p); err != nil {
			return false, err
		}
		started = true
	}
	return started, nil
}

func (c *Cluster) startPod(ctx context.Context, p *Pod) error {
	if err := c.o.Kubelet.Start(ctx, p.Pod); err != nil {
		return fmt.Errorf("pod %s: %w", p.Name, err)
	}
	c.pods = append(c.pods, p)
	c.o.OnPod(p.Pod, "started")
	return nil
}

// surplus returns the Pods that nobody needs any more: of workloads that are gone, of older
// templates as far as enough others are available, and those beyond the number of replicas.
func (c *Cluster) surplus(owners []owner) []*Pod {
	ends := make(map[*Pod]bool)
	known := make(map[config.Key]bool, len(owners))
	for _, o := range owners {
		known[o.key] = true
		if o.numbers != nil {
			for _, p := range c.surplusNumbered(o) {
				ends[p] = true
			}
			continue
		}
		var fresh, old []*Pod
		for _, p := range c.pods {
			switch {
			case p.Owner == o.key && p.hash == o.hash:
				fresh = append(fresh, p)
			case p.Owner == o.key:
				old = append(old, p)
			}
		}
		for _, p := range excess(fresh, len(fresh)-o.replicas) {
			ends[p] = true
		}
		for _, p := range c.replaced(o, old) {
			ends[p] = true
		}
	}
	var surplus []*Pod
	for _, p := range c.pods {
		if !known[p.Owner] || ends[p] {
			surplus = append(surplus, p)
		}
	}
	return surplus
}

// excess are n Pods of a workload that has too many: those that are not ready, then the newest.
func excess(pods []*Pod, n int) []*Pod {
	if n <= 0 {
		return nil
	}
	order := slices.Clone(pods)
	slices.Reverse(order)
	slices.SortStableFunc(order, func(a, b *Pod) int { return cmp.Compare(truth(a.ready), truth(b.ready)) })
	return order[:n]
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// replaced are the Pods of older templates that may end now. As in Kubernetes' Deployment
// controller those that are not available go first, as many as no new Pod that is still to
// become available stands for; of the others as many as are available beyond the minimum.
func (c *Cluster) replaced(o owner, old []*Pod) []*Pod {
	if len(old) == 0 || o.rollout.onDelete {
		return nil
	}
	if o.key.Kind == "DaemonSet" && o.rollout.surge > 0 { // each gives way to the new one on its Node
		return slices.DeleteFunc(old, func(p *Pod) bool {
			return !slices.ContainsFunc(c.pods, func(n *Pod) bool {
				return n.Owner == o.key && n.hash == o.hash && n.Spec.NodeName == p.Spec.NodeName && o.rollout.available(n)
			})
		})
	}
	n := c.count(o)
	minimum := o.replicas - o.rollout.unavailable
	most := n.fresh + n.old - minimum - (n.fresh - n.available)
	beyond := n.available + n.oldAvailable - minimum
	var end []*Pod
	for _, p := range old {
		if len(end) < most && !o.rollout.available(p) {
			end = append(end, p)
		}
	}
	for _, p := range old {
		if len(end) < most && beyond > 0 && o.rollout.available(p) {
			end = append(end, p)
			beyond--
		}
	}
	return end
}
