// Package cluster is Kubernetes in small: it takes the objects that people apply and
// does what the controllers of a real cluster would do with them. Deployments become
// Pods with names and addresses, Services get cluster IPs, ready Pods become
// EndpointSlices; new Pods pass through the sidecar injector first.
//
// What comes in are config.Objects, what goes out is a store that the control plane
// watches. Containers are somebody else's business: a Kubelet. Everything is
// deterministic: names and addresses depend on the seed and the order of calls only.
package cluster

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

// Kubelet runs Pods. Its methods are called by one goroutine at a time.
type Kubelet interface {
	// Start starts a Pod's containers and returns once they run; the Pod may not be ready yet.
	Start(ctx context.Context, pod *corev1.Pod) error
	// Ready tells whether a Pod that was started is ready; an error says why it never will be.
	Ready(pod *corev1.Pod) (bool, error)
	// Changed is closed when the readiness of any Pod changes from what it is now.
	Changed() <-chan struct{}
	// Waiting says what keeps a Pod from being ready.
	Waiting(pod *corev1.Pod) string
	// Stop ends a Pod, with the grace that its spec asks for.
	Stop(ctx context.Context, pod *corev1.Pod) error
}

// Options for New.
type Options struct {
	Store   *store.Memory
	Kubelet Kubelet
	Inject  inject.Options
	Seed    seed.Seed
	// OnPod is told when a Pod starts and stops.
	OnPod func(pod *corev1.Pod, what string)
}

// Cluster is one cluster. Its methods must be called by one goroutine at a time.
type Cluster struct {
	o       Options
	objects map[config.Key]*config.Object // as applied
	pods    []*Pod                        // in order of creation
	vips    map[string]netip.Addr         // Service "ns/name" → cluster IP
	nextPod uint32
	nextVIP uint32
	derived map[config.Key]bool // objects in the store that this package made
	// gateways are those of the Gateway API that have been deployed.
	gateways map[config.Key]*deployed
	// revisions are those from which StatefulSets are updated.
	revisions map[config.Key]revision
	named     map[string]int      // how many Pods have had a name, "ns/name"
	scaled    map[config.Key]bool // whose replicas are not those that were applied
	stalled   []string            // rollouts that the last change has given up waiting for
}

// Pod is a Pod that runs, with the workload that owns it.
type Pod struct {
	*corev1.Pod
	Owner   config.Key
	hash    string // of the template
	ready   bool
	ordinal int // of a StatefulSet's
	created time.Time
	since   time.Time // it is ready since then
	// settled Pods are waited for no more: they have been available, or their rollout has
	// exceeded its deadline.
	settled bool
}

// Workload is the name of the Pod's owner.
func (p *Pod) Workload() string { return p.Owner.Name }

// New returns an empty cluster.
func New(o Options) *Cluster {
	return &Cluster{
		o:       o,
		objects: make(map[config.Key]*config.Object),
		vips:    make(map[string]netip.Addr),
		derived: make(map[config.Key]bool),

		gateways: make(map[config.Key]*deployed),
		scaled:   make(map[config.Key]bool),

		revisions: make(map[config.Key]revision),
		named:     make(map[string]int),
	}
}

// Apply creates or replaces objects and returns when the Pods that follow from
// them are ready and published.
func (c *Cluster) Apply(ctx context.Context, objects []*config.Object) error {
	for _, o := range objects {
		c.objects[o.Key()] = c.keepScale(o)
	}
	return c.reconcile(ctx)
}

// Delete removes objects, and what followed from them. A key that is not there is an error.
func (c *Cluster) Delete(ctx context.Context, keys []config.Key) error {
	for _, k := range keys {
		if c.objects[k] == nil {
			return fmt.Errorf("%s is not in the cluster", k)
		}
	}
	for _, k := range keys {
		delete(c.objects, k)
		delete(c.scaled, k)
		delete(c.revisions, k)
	}
	return c.reconcile(ctx)
}

// Scale sets the replicas of a Deployment, StatefulSet or ReplicaSet.
func (c *Cluster) Scale(ctx context.Context, k config.Key, replicas int) error {
	o := c.objects[k]
	if o == nil {
		return fmt.Errorf("%s is not in the cluster", k)
	}
	scaled, ok := withReplicas(o, int32(replicas))
	if !ok {
		return fmt.Errorf("%s cannot be scaled", k)
	}
	c.objects[k], c.scaled[k] = scaled, true
	return c.reconcile(ctx)
}

// withReplicas is a copy of a workload with another number of replicas; false where it has none.
func withReplicas(o *config.Object, n int32) (*config.Object, bool) {
	scaled := *o
	switch w := o.Value.(type) {
	case *appsv1.Deployment:
		w = w.DeepCopy()
		w.Spec.Replicas, scaled.Value = &n, w
	case *appsv1.StatefulSet:
		w = w.DeepCopy()
		w.Spec.Replicas, scaled.Value = &n, w
	case *appsv1.ReplicaSet:
		w = w.DeepCopy()
		w.Spec.Replicas, scaled.Value = &n, w
	default:
		return nil, false
	}
	return &scaled, true
}

// replicasOf is how many replicas a workload asks for; nil where it leaves that open.
func replicasOf(o *config.Object) *int32 {
	switch w := o.Value.(type) {
	case *appsv1.Deployment:
		return w.Spec.Replicas
	case *appsv1.StatefulSet:
		return w.Spec.Replicas
	case *appsv1.ReplicaSet:
		return w.Spec.Replicas
	}
	return nil
}

// keepScale returns the object as applying it makes it: a manifest that leaves the
// number of replicas open does not undo a scale, as with kubectl apply.
func (c *Cluster) keepScale(o *config.Object) *config.Object {
	k := o.Key()
	if !c.scaled[k] || c.objects[k] == nil || replicasOf(o) != nil {
		delete(c.scaled, k)
		return o
	}
	if kept, ok := withReplicas(o, *replicasOf(c.objects[k])); ok {
		return kept
	}
	return o
}

// Keys returns the keys of all applied objects, sorted.
func (c *Cluster) Keys() []config.Key {
	return slices.SortedFunc(maps.Keys(c.objects), compareKeys)
}

// Object returns an applied object, or nil.
func (c *Cluster) Object(k config.Key) *config.Object { return c.objects[k] }

// Stalled says which rollouts the last change did not wait for any longer, and why: they
// have exceeded the deadline for progress. They go on when their Pods get ready.
func (c *Cluster) Stalled() []string { return c.stalled }

// Pods returns the Pods that run, in order of creation.
func (c *Cluster) Pods() []*Pod { return c.pods }

// ServiceIP returns the cluster IP of a Service.
func (c *Cluster) ServiceIP(namespace, name string) (netip.Addr, bool) {
	ip, ok := c.vips[namespace+"/"+name]
	return ip, ok
}

// keys returns the keys of all applied objects of a kind, sorted.
func (c *Cluster) keys(kinds ...string) []config.Key {
	var keys []config.Key
	for k := range c.objects {
		if slices.Contains(kinds, k.Kind) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, compareKeys)
	return keys
}

// address is the n-th address of a block, leaving out .0 and .255 bytes.
func address(block netip.Addr, n uint32) netip.Addr {
	b := block.As4()
	b[2] += byte(n / 250)
	b[3] = byte(n%250) + 2
	return netip.AddrFrom4(b)
}

var (
	podBlock     = netip.MustParseAddr("10.244.0.0")
	serviceBlock = netip.MustParseAddr("10.96.0.0")

	// NodeAddress is that of the only node.
	NodeAddress = netip.MustParseAddr("192.168.65.1")
)
