package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// ordinals is how a StatefulSet numbers its Pods and in which order it handles them.
type ordinals struct {
	first   int    // of the numbers
	below   int    // Pods with a lower number keep their template
	inOrder bool   // one Pod after the other, each when those before it are available
	service string // whose name is the Pods' domain; may be empty
}

// revision is a template that all Pods of a StatefulSet have had.
type revision struct {
	template corev1.PodTemplateSpec
	hash     string
}

// statefulSet is what a StatefulSet wants. Kubernetes' defaults: one Pod after the other
// is started, and replaced from the highest number down, each ended before its successor starts.
func (c *Cluster) statefulSet(o owner, s *appsv1.StatefulSetSpec) owner {
	o.numbers = &ordinals{inOrder: s.PodManagementPolicy != appsv1.ParallelPodManagement, service: s.ServiceName}
	o.rollout = rollout{unavailable: 1, minReady: time.Duration(s.MinReadySeconds) * time.Second, deadline: freely.deadline,
		onDelete: s.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType}
	if s.Ordinals != nil {
		o.numbers.first = int(s.Ordinals.Start)
	}
	o.numbers.below = o.numbers.first
	if u := s.UpdateStrategy.RollingUpdate; u != nil {
		if u.Partition != nil {
			o.numbers.below += int(*u.Partition)
		}
		if u.MaxUnavailable != nil {
			o.rollout.unavailable = max(scaled(u.MaxUnavailable, o.replicas, true), 1)
		}
	}
	return o
}

// daemonSet is what a DaemonSet wants: one Pod less at a time, or as its strategy says.
func (c *Cluster) daemonSet(o owner, s *appsv1.DaemonSetSpec) owner {
	o = c.everywhere(o)
	one, none := intstr.FromInt32(1), intstr.FromInt32(0)
	surge, unavailable := &none, &one
	if u := s.UpdateStrategy.RollingUpdate; u != nil {
		surge, unavailable = cmp.Or(u.MaxSurge, surge), cmp.Or(u.MaxUnavailable, unavailable)
	}
	o.rollout = rollout{surge: scaled(surge, o.replicas, true), unavailable: scaled(unavailable, o.replicas, true),
		minReady: time.Duration(s.MinReadySeconds) * time.Second, deadline: freely.deadline,
		onDelete: s.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType}
	if o.rollout.surge > 0 {
		o.rollout.unavailable = 0
	}
	return o
}

// numbered returns a StatefulSet's Pods by number, from the lowest.
func (c *Cluster) numbered(o owner) []*Pod {
	var pods []*Pod
	for _, p := range c.pods {
		if p.Owner == o.key {
			pods = append(pods, p)
		}
	}
	slices.SortFunc(pods, func(a, b *Pod) int { return a.ordinal - b.ordinal })
	return pods
}

// startNumbered starts the Pods of a StatefulSet that are missing: all of them, or the first,
// when all before it are available. Those below the partition are of the template that all had last.
func (c *Cluster) startNumbered(ctx context.Context, o owner) (started bool, err error) {
	pods := c.numbered(o)
	if n := c.count(o); n.old == 0 && n.fresh > 0 && n.fresh == o.replicas {
		c.revisions[o.key] = revision{o.template, o.hash}
	}
	for i := o.numbers.first; i < o.numbers.first+o.replicas; i++ {
		at := slices.IndexFunc(pods, func(p *Pod) bool { return p.ordinal == i })
		switch {
		case at >= 0 && o.numbers.inOrder && !o.rollout.available(pods[at]):
			return started, nil
		case at >= 0:
			continue
		}
		of := o
		if last, ok := c.revisions[o.key]; ok && i < o.numbers.below {
			of.template, of.hash = last.template, last.hash
		}
		p, err := c.newNumbered(of, i)
		if err != nil {
			return false, err
		}
		if err := c.startPod(ctx, p); err != nil {
			return false, err
		}
		started = true
		if o.numbers.inOrder {
			break
		}
	}
	return started, nil
}

// newNumbered makes the Pod of a StatefulSet with a number, with the labels that tell it, and
// with a name of its own below the Service that governs the set.
func (c *Cluster) newNumbered(o owner, number int) (*Pod, error) {
	name := fmt.Sprintf("%s-%d", o.key.Name, number)
	o.template = *o.template.DeepCopy()
	if o.template.Labels == nil {
		o.template.Labels = map[string]string{}
	}
	o.template.Labels[appsv1.StatefulSetPodNameLabel] = name
	o.template.Labels[appsv1.PodIndexLabel] = strconv.Itoa(number)
	o.template.Labels[appsv1.StatefulSetRevisionLabel] = o.key.Name + "-" + o.hash
	o.template.Spec.Hostname, o.template.Spec.Subdomain = name, o.numbers.service
	p, err := c.namedPod(o, name)
	if err == nil {
		p.ordinal = number
	}
	return p, err
}

// surplusNumbered are the Pods of a StatefulSet that end now: those with numbers beyond the replicas,
// the highest first, and those of older templates.
func (c *Cluster) surplusNumbered(o owner) []*Pod {
	pods := c.numbered(o)
	slices.Reverse(pods)
	var end []*Pod
	for _, p := range pods {
		if p.ordinal >= o.numbers.first+o.replicas || p.ordinal < o.numbers.first {
			end = append(end, p)
		}
	}
	switch {
	case len(end) > 0 && o.numbers.inOrder:
		return end[:1]
	case len(end) > 0:
		return end
	case o.rollout.onDelete:
		return nil
	}
	// Kubernetes goes on when all are well, also where one that is not would be replaced.
	if o.numbers.inOrder && slices.ContainsFunc(pods, func(p *Pod) bool { return !o.rollout.available(p) }) {
		return nil
	}
	unavailable := o.replicas - len(pods)
	for _, p := range pods {
		switch {
		case p.ordinal < o.numbers.below || unavailable >= o.rollout.unavailable:
			return end
		case p.hash != o.hash:
			end = append(end, p)
			unavailable++
		case !o.rollout.available(p):
			unavailable++
		}
	}
	return end
}
