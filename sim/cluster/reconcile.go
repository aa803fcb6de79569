package cluster

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
)

func compareKeys(a, b config.Key) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Name, b.Name), cmp.Compare(a.Group, b.Group))
}

// recreate stops the Pods of older templates first where a Deployment's strategy is
// Recreate.
func (c *Cluster) recreate(ctx context.Context) error {
	var old []*Pod
	for _, p := range c.pods {
		o := c.objects[p.Owner]
		if o == nil {
			continue
		}
		d, ok := o.Value.(*appsv1.Deployment)
		if ok && d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType && newOwner(p.Owner, d.Spec.Replicas, d.Spec.Template).hash != p.hash {
			p.ready = false
			old = append(old, p)
		}
	}
	if len(old) == 0 {
		return nil
	}
	c.publish()
	return c.stop(ctx, old)
}

// owner is one workload that wants Pods.
type owner struct {
	key      config.Key
	replicas int
	template corev1.PodTemplateSpec
	hash     string
	rollout  rollout
	numbers  *ordinals // of a StatefulSet
}

// owners returns the workloads in order of their keys.
func (c *Cluster) owners() []owner {
	var owners []owner
	for _, k := range c.keys("Deployment", "StatefulSet", "ReplicaSet", "DaemonSet") {
		switch w := c.objects[k].Value.(type) {
		case *appsv1.Deployment:
			o := newOwner(k, w.Spec.Replicas, w.Spec.Template)
			o.rollout = rolloutOf(&w.Spec, o.replicas)
			owners = append(owners, o)
		case *appsv1.StatefulSet:
			owners = append(owners, c.statefulSet(newOwner(k, w.Spec.Replicas, w.Spec.Template), &w.Spec))
		case *appsv1.ReplicaSet:
			o := newOwner(k, w.Spec.Replicas, w.Spec.Template)
			o.rollout.minReady = time.Duration(w.Spec.MinReadySeconds) * time.Second
			owners = append(owners, o)
		case *appsv1.DaemonSet:
			owners = append(owners, c.daemonSet(newOwner(k, nil, w.Spec.Template), &w.Spec))
		}
	}
	for _, k := range c.keys("Pod") {
		pod := c.objects[k].Value.(*corev1.Pod)
		owners = append(owners, newOwner(k, nil, corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}))
	}
	return owners
}

func newOwner(k config.Key, replicas *int32, t corev1.PodTemplateSpec) owner {
	o := owner{key: k, replicas: 1, template: t, rollout: freely}
	if replicas != nil {
		o.replicas = int(*replicas)
	}
	// The template is plain data: it always marshals.
	text, err := json.Marshal(t)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(text)
	o.hash = hex.EncodeToString(sum[:5])
	return o
}

// everywhere is a DaemonSet's Pods: one per Node that fits. Where that is an error, one
// Pod is wanted, and its scheduling says what is wrong.
func (c *Cluster) everywhere(o owner) owner {
	if fit, err := c.fitting(o); err == nil && len(fit) > 0 {
		o.replicas = len(fit)
	}
	return o
}

// newPod makes the Pod that a real cluster's ReplicaSet controller, API server
// (with the injector's webhook) and scheduler would make.
func (c *Cluster) newPod(o owner) (*Pod, error) {
	name := o.key.Name
	if o.key.Kind != "Pod" {
		name = fmt.Sprintf("%s-%s-%s", o.key.Name, o.hash, c.suffix(o.key))
	}
	return c.namedPod(o, name)
}

func (c *Cluster) namedPod(o owner, name string) (*Pod, error) {
	pod := &corev1.Pod{ObjectMeta: *o.template.ObjectMeta.DeepCopy(), Spec: *o.template.Spec.DeepCopy()}
	pod.Name, pod.Namespace = name, o.key.Namespace
	pod.UID = types.UID(name)
	if c.named[pod.Namespace+"/"+name]++; c.named[pod.Namespace+"/"+name] > 1 {
		pod.UID += types.UID(fmt.Sprintf("-%d", c.named[pod.Namespace+"/"+name]))
	}
	pod.CreationTimestamp = metav1.NewTime(time.Now())
	if o.key.Kind == "Deployment" {
		if pod.Labels == nil {
			pod.Labels = make(map[string]string)
		}
		pod.Labels["pod-template-hash"] = o.hash
	}
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = "default"
	}
	yes := true
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: o.key.Kind, Name: o.key.Name, Controller: &yes}}
	node, err := c.schedule(o)
	if err != nil {
		return nil, err
	}
	injected, _, err := inject.Pod(pod, c.namespace(o.key.Namespace), c.injection())
	if err != nil {
		return nil, fmt.Errorf("inject %s: %w", o.key, err)
	}
	injected.Spec.NodeName = node
	ip := address(podBlock, c.nextPod)
	c.nextPod++
	injected.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip.String(), HostIP: NodeAddress.String(),
		PodIPs: []corev1.PodIP{{IP: ip.String()}}}
	return &Pod{Pod: injected, Owner: o.key, hash: o.hash, created: time.Now()}, nil
}

// injection is the injector's configuration, with the ProxyConfigs that there are.
func (c *Cluster) injection() inject.Options {
	o := c.o.Inject
	for _, k := range c.keys("ProxyConfig") {
		o.ProxyConfigs = append(o.ProxyConfigs, c.objects[k])
	}
	return o
}

// Uninjectable finds what the injector would refuse of objects, if they were applied.
func (c *Cluster) Uninjectable(objects []*config.Object) []config.Diagnostic {
	var found []config.Diagnostic
	for _, o := range objects {
		if g, ok := o.Value.(*gatewayv1.Gateway); ok && !c.serves(g) {
			continue
		}
		ns := c.namespace(o.Namespace)
		for _, other := range objects {
			if other.Key() == (config.Key{Kind: "Namespace", Name: o.Namespace}) {
				ns = other.Value.(*corev1.Namespace)
			}
		}
		found = append(found, inject.Check(o, ns, c.injection())...)
	}
	return found
}

// suffix is the random end of a Pod's name, in Kubernetes' alphabet.
func (c *Cluster) suffix(k config.Key) string {
	const alphabet = "bcdfghjklmnpqrstvwxz2456789"
	draw := c.o.Seed.Sub("pod/" + k.String()).At(uint64(c.nextPod))
	b := make([]byte, 5)
	for i := range b {
		b[i] = alphabet[draw%uint64(len(alphabet))]
		draw /= uint64(len(alphabet))
	}
	return string(b)
}

// namespace returns the Namespace, made up where nobody applied one.
func (c *Cluster) namespace(name string) *corev1.Namespace {
	if o := c.objects[config.Key{Kind: "Namespace", Name: name}]; o != nil {
		return o.Value.(*corev1.Namespace)
	}
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// stop stops Pods after they have been withdrawn from all Services.
func (c *Cluster) stop(ctx context.Context, pods []*Pod) error {
	for _, p := range pods {
		if err := c.o.Kubelet.Stop(ctx, p.Pod); err != nil {
			return fmt.Errorf("stop pod %s: %w", p.Name, err)
		}
		c.o.OnPod(p.Pod, "stopped")
	}
	c.pods = slices.DeleteFunc(c.pods, func(p *Pod) bool { return slices.Contains(pods, p) })
	c.publish()
	return nil
}
