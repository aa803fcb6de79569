package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// restartedAt is the annotation by which `kubectl rollout restart` changes a template.
const restartedAt = "kubectl.kubernetes.io/restartedAt"

// Lost takes Pods that have died out of their Services at once, and returns when what
// their controllers start in their place is ready and published.
func (c *Cluster) Lost(ctx context.Context, pods []string) error {
	c.pods = slices.DeleteFunc(c.pods, func(p *Pod) bool {
		lost := slices.Contains(pods, p.Name)
		if lost {
			c.o.OnPod(p.Pod, "died")
		}
		return lost
	})
	return c.reconcile(ctx)
}

// Restart replaces the Pods of a Deployment, StatefulSet or DaemonSet as its strategy says.
func (c *Cluster) Restart(ctx context.Context, k config.Key) error {
	o := c.objects[k]
	if o == nil {
		return fmt.Errorf("%s is not in the cluster", k)
	}
	changed := *o
	switch w := o.Value.(type) {
	case *appsv1.Deployment:
		w = w.DeepCopy()
		stamp(&w.Spec.Template)
		changed.Value = w
	case *appsv1.StatefulSet:
		w = w.DeepCopy()
		stamp(&w.Spec.Template)
		changed.Value = w
	case *appsv1.DaemonSet:
		w = w.DeepCopy()
		stamp(&w.Spec.Template)
		changed.Value = w
	default:
		return fmt.Errorf("%s cannot be restarted: only Deployments, StatefulSets and DaemonSets can", k)
	}
	c.objects[k] = &changed
	return c.reconcile(ctx)
}

func stamp(t *corev1.PodTemplateSpec) {
	if t.Annotations == nil {
		t.Annotations = make(map[string]string)
	}
	t.Annotations[restartedAt] = time.Now().UTC().Format(time.RFC3339Nano)
}
