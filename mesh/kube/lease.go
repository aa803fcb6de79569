package kube

import (
	"context"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// LeaseOptions name a Lease, and who wants it.
type LeaseOptions struct {
	Namespace, Name string
	Identity        string // unique among those who want it
	Logger          *slog.Logger
}

// How long a leader that is gone without a word is waited for, how long one goes on that
// cannot renew its Lease, and how often all of them look: as Kubernetes' own controllers.
const (
	leaseDuration = 15 * time.Second
	leaseDeadline = 10 * time.Second
	leaseRetry    = 2 * time.Second
)

// lease is a Lease that is wanted.
type lease struct {
	client *Client
	o      LeaseOptions
	// seen is the version that was read last, and since when: clocks of others do not count.
	seen  string
	since time.Time
}

// Lead runs f while this process has the Lease, until the context ends. f's context ends
// when the Lease is lost, and f runs anew when it is back.
func (c *Client) Lead(ctx context.Context, o LeaseOptions, f func(context.Context)) {
	l := &lease{client: c, o: o}
	for ctx.Err() == nil {
		switch held, err := l.take(ctx, o.Identity); {
		case held:
			o.Logger.Info("this control plane has the lease", "lease", o.Name)
			l.hold(ctx, f)
		case err != nil && ctx.Err() == nil:
			o.Logger.Error("take the lease", "lease", o.Name, "error", err)
		}
		pause(ctx)
	}
}

func pause(ctx context.Context) {
	timer := time.NewTimer(leaseRetry)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// hold runs f, and renews the Lease until it cannot. At the end of the context it gives
// it back, for another to have at once.
func (l *lease) hold(ctx context.Context, f func(context.Context)) {
	leading, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f(leading)
	}()
	for last := time.Now(); leading.Err() == nil; pause(leading) {
		held, err := l.take(leading, l.o.Identity)
		if held {
			last = time.Now()
		} else if err == nil || time.Since(last) > leaseDeadline {
			if ctx.Err() == nil {
				l.o.Logger.Error("this control plane has lost the lease", "lease", l.o.Name, "error", err)
			}
			break
		}
	}
	stop()
	<-ended
	if ctx.Err() != nil {
		back, done := context.WithTimeout(context.WithoutCancel(ctx), leaseRetry)
		defer done()
		if _, err := l.take(back, ""); err != nil {
			l.o.Logger.Error("give the lease back", "lease", l.o.Name, "error", err)
		}
	}
}

// take writes a holder into the Lease; false where another has it, or was faster.
func (l *lease) take(ctx context.Context, holder string) (bool, error) {
	now, err := l.client.Get(ctx, Resource("coordination.k8s.io/v1", "Lease"), l.o.Namespace, l.o.Name)
	if err != nil {
		return false, err
	}
	if now == nil {
		now = &unstructured.Unstructured{Object: map[string]any{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}}
		now.SetNamespace(l.o.Namespace)
		now.SetName(l.o.Name)
		now.SetLabels(map[string]string{OwnerLabel: OwnerValue})
		l.write(now, holder)
		return l.client.Create(ctx, now)
	}
	if version := now.GetResourceVersion(); version != l.seen {
		l.seen, l.since = version, time.Now()
	}
	has, _, _ := unstructured.NestedString(now.Object, "spec", "holderIdentity")
	if has != "" && has != l.o.Identity && time.Since(l.since) < leaseDuration {
		return false, nil
	}
	l.write(now, holder)
	written, err := l.client.on(now).Update(ctx, now, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) {
		return false, nil
	}
	if err != nil {
		return false, l.client.Explain("write "+Name(now), err)
	}
	l.seen, l.since = written.GetResourceVersion(), time.Now()
	return true, nil
}

// write makes a Lease's spec say who holds it.
func (l *lease) write(u *unstructured.Unstructured, holder string) {
	at := time.Now().UTC().Format(metav1.RFC3339Micro)
	spec, _, _ := unstructured.NestedMap(u.Object, "spec")
	if spec == nil {
		spec = make(map[string]any)
	}
	if was, _ := spec["holderIdentity"].(string); was != holder && holder != "" {
		before, _ := spec["leaseTransitions"].(int64)
		spec["acquireTime"], spec["leaseTransitions"] = at, before+1
	}
	spec["holderIdentity"], spec["renewTime"], spec["leaseDurationSeconds"] = holder, at, int64(leaseDuration/time.Second)
	u.Object["spec"] = spec
}
