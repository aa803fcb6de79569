package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

// kubelet notes what it is told to do.
type kubelet struct {
	did     []string
	fail    error
	unready map[string]bool
	never   func(*corev1.Pod) bool // gets ready
	changed chan struct{}
}

func (k *kubelet) Start(_ context.Context, p *corev1.Pod) error {
	k.did = append(k.did, "start "+workload(p))
	return k.fail
}

func (k *kubelet) Ready(p *corev1.Pod) (bool, error) {
	if k.unready[p.Name] {
		return false, nil
	}
	return k.never == nil || !k.never(p), nil
}

func (k *kubelet) Changed() <-chan struct{} { return k.changed }

func (k *kubelet) Waiting(*corev1.Pod) string { return "the test says so" }

func (k *kubelet) Stop(_ context.Context, p *corev1.Pod) error {
	k.did = append(k.did, "stop "+workload(p))
	return nil
}

func workload(p *corev1.Pod) string { return p.OwnerReferences[0].Name }

func (k *kubelet) take() string {
	did := strings.Join(k.did, ", ")
	k.did = nil
	return did
}

func newCluster() (*Cluster, *kubelet, *store.Memory) {
	k, s := &kubelet{}, store.NewMemory(store.MemoryOptions{})
	return New(Options{Store: s, Kubelet: k, Inject: inject.Options{ProxyImage: "proxy"}, Seed: seed.New(1),
		OnPod: func(*corev1.Pod, string) {}}), k, s
}

func decode(t *testing.T, text string) []*config.Object {
	t.Helper()
	objects, findings := config.Decode("test.yaml", 1, []byte(text))
	for _, f := range findings {
		t.Fatalf("%s: %s", f.Position, f.Message)
	}
	return objects
}

const namespace = `
apiVersion: v1
kind: Namespace
metadata: {name: default, labels: {istio-injection: enabled}}
`

const service = `
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: http}
  - {name: admin, port: 81, targetPort: 9000}
`

func deployment(image string, replicas int) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web-v1}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, version: v1}}
    spec:
      containers:
      - {name: web, image: %s, ports: [{name: http, containerPort: 8080}]}
`, replicas, image)
}

func apply(t *testing.T, c *Cluster, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err := c.Apply(t.Context(), decode(t, text)); err != nil {
			t.Fatal(err)
		}
	}
}

func slice(t *testing.T, s *store.Memory) (addresses []string, ports map[string]int32) {
	t.Helper()
	o := s.View().Get("EndpointSlice", "default", "web")
	if o == nil {
		t.Fatal("the Service has no EndpointSlice")
	}
	ports = make(map[string]int32)
	es := o.Value.(*discoveryv1.EndpointSlice)
	for _, e := range es.Endpoints {
		if *e.Conditions.Ready {
			addresses = append(addresses, e.Addresses...)
		}
	}
	for _, p := range es.Ports {
		ports[*p.Name] = *p.Port
	}
	return addresses, ports
}

func TestDeploymentBecomesInjectedPodsAndEndpoints(t *testing.T) {
	c, k, s := newCluster()
	apply(t, c, namespace, service, deployment("nginx", 2))
	if got, want := k.take(), "start web-v1, start web-v1"; got != want {
		t.Fatalf("kubelet did %q, want %q", got, want)
	}
	for _, p := range c.Pods() {
		if len(p.Spec.Containers) != 2 || !strings.HasPrefix(p.Name, "web-v1-") {
			t.Errorf("Pod %s has %d containers", p.Name, len(p.Spec.Containers))
		}
	}
	addresses, ports := slice(t, s)
	if len(addresses) != 2 || addresses[0] == addresses[1] || ports["http"] != 8080 || ports["admin"] != 9000 {
		t.Fatalf("endpoints are %v with %v", addresses, ports)
	}
	if ip, ok := c.ServiceIP("default", "web"); !ok || ip.String() != s.View().Get("Service", "default", "web").Value.(*corev1.Service).Spec.ClusterIP {
		t.Fatal("the Service's address is not in the store")
	}
	before := s.View().Revision
	apply(t, c, service)
	if s.View().Revision != before {
		t.Fatal("applying the same again was a change")
	}
}

func TestRecreateStopsOldPodsFirst(t *testing.T) {
	c, k, _ := newCluster()
	recreate := func(image string) string {
		return strings.Replace(deployment(image, 1), "  replicas: 1", "  replicas: 1\n  strategy: {type: Recreate}", 1)
	}
	apply(t, c, namespace, service, recreate("nginx"))
	k.take()
	apply(t, c, recreate("nginx:2"))
	if got, want := k.take(), "stop web-v1, start web-v1"; got != want {
		t.Fatalf("a new template made the kubelet do %q, want %q", got, want)
	}
	apply(t, c, recreate("nginx:2"))
	if got := k.take(); got != "" || len(c.Pods()) != 1 {
		t.Fatalf("the same template made the kubelet do %q", got)
	}
}

func TestScaleSurvivesAnApplyThatLeavesItOpen(t *testing.T) {
	c, _, _ := newCluster()
	open := strings.Replace(deployment("nginx", 1), "  replicas: 1\n", "", 1)
	key := config.Key{Group: "apps", Kind: "Deployment", Namespace: "default", Name: "web-v1"}
	apply(t, c, namespace, service, open)
	if err := c.Scale(t.Context(), key, 0); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		text string
		want int
	}{{open, 0}, {deployment("nginx", 2), 2}, {open, 1}} {
		if apply(t, c, step.text); len(c.Pods()) != step.want {
			t.Fatalf("%d Pods, want %d, after %s", len(c.Pods()), step.want, step.text)
		}
	}
}

func TestNewTemplateRollsAndScaleStopsTheNewest(t *testing.T) {
	c, k, s := newCluster()
	apply(t, c, namespace, service, deployment("nginx", 1))
	old := c.Pods()[0].Name
	k.take()
	apply(t, c, deployment("nginx:2", 1))
	if got, want := k.take(), "start web-v1, stop web-v1"; got != want {
		t.Fatalf("a new template made the kubelet do %q, want %q", got, want)
	}
	if len(c.Pods()) != 1 || c.Pods()[0].Name == old {
		t.Fatal("the old Pod is still there")
	}
	key := config.Key{Group: "apps", Kind: "Deployment", Namespace: "default", Name: "web-v1"}
	for _, replicas := range []int{3, 1, 0} {
		if err := c.Scale(t.Context(), key, replicas); err != nil {
			t.Fatal(err)
		}
		if addresses, _ := slice(t, s); len(addresses) != replicas || len(c.Pods()) != replicas {
			t.Fatalf("scaled to %d: %d Pods, endpoints %v", replicas, len(c.Pods()), addresses)
		}
	}
}

func TestDeleteTakesWhatFollowed(t *testing.T) {
	c, k, s := newCluster()
	apply(t, c, namespace, service, deployment("nginx", 1))
	k.take()
	if err := c.Delete(t.Context(), []config.Key{{Group: "apps", Kind: "Deployment", Namespace: "default", Name: "web-v1"}, {Kind: "Service", Namespace: "default", Name: "web"}}); err != nil {
		t.Fatal(err)
	}
	if got := k.take(); got != "stop web-v1" {
		t.Fatalf("kubelet did %q", got)
	}
	for _, kind := range []string{"Pod", "Service", "EndpointSlice", "Deployment"} {
		if left := s.View().Of(kind); len(left) > 0 {
			t.Errorf("%s %s is left", kind, left[0].Name)
		}
	}
	if err := c.Delete(t.Context(), []config.Key{{Kind: "Service", Namespace: "default", Name: "web"}}); err == nil {
		t.Error("what is not there was deleted")
	}
}

func TestNamesDependOnSeedAndOrderOnly(t *testing.T) {
	names := func() (all []string) {
		c, _, _ := newCluster()
		apply(t, c, namespace, service, deployment("nginx", 3))
		for _, p := range c.Pods() {
			all = append(all, p.Name+" "+p.Status.PodIP)
		}
		return all
	}
	if a, b := names(), names(); !slices.Equal(a, b) {
		t.Fatalf("%v\n%v", a, b)
	}
}

func TestPodThatDoesNotStart(t *testing.T) {
	c, k, _ := newCluster()
	k.fail = errors.New("no such image")
	if err := c.Apply(t.Context(), decode(t, deployment("x", 1))); !errors.Is(err, k.fail) {
		t.Fatalf("got %v", err)
	}
}
