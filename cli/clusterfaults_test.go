//go:build kind

package cli_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/windtunnel-mesh/windtunnel/cli"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
)

// scene is a namespace of a cluster in which a test breaks things.
type scene struct {
	t         *testing.T
	client    *kube.Client
	namespace string
	tag       string
}

// newScene makes a namespace, which is gone after the test. The images
// windtunnel/{meshd,meshproxy} of $TAG (latest) and kennethreitz/httpbin have to be in the cluster of $KUBECONFIG.
func newScene(t *testing.T, namespace string) *scene {
	t.Helper()
	s := &scene{t: t, namespace: namespace, tag: cmp.Or(os.Getenv("TAG"), "latest")}
	if os.Getenv("KUBECONFIG") == "" {
		t.Fatal("KUBECONFIG has to name a cluster that may be changed")
	}
	var err error
	if s.client, err = kube.Connect(kube.ClientOptions{Agent: "test"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace"}}
		u.SetName(namespace)
		if _, err := s.client.Delete(context.WithoutCancel(t.Context()), u); err != nil {
			t.Log(err)
		}
	})
	eventually(t, "the namespace of a test before is gone", func() bool {
		u, err := s.client.Get(t.Context(), kube.Resource("v1", "Namespace"), "", namespace)
		return err == nil && u == nil
	})
	if err := s.apply("{apiVersion: v1, kind: Namespace, metadata: {name: " + namespace + ", labels: {istio-injection: enabled}}}"); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *scene) apply(text string) error {
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		s.t.Fatal(err)
	}
	if u.GetKind() != "Namespace" {
		u.SetNamespace(s.namespace)
	}
	_, err := s.client.Apply(s.t.Context(), u, "test")
	return err
}

// await asks for a Pod until it is as wanted.
func (s *scene) await(what, name string, yes func(*corev1.Pod) bool) {
	s.t.Helper()
	var last corev1.Pod
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(300 * time.Millisecond) {
		u, err := s.client.Get(s.t.Context(), kube.Resource("v1", "Pod"), s.namespace, name)
		if err == nil && u != nil && kube.Into(u, &last) == nil && yes(&last) {
			return
		}
	}
	s.t.Fatalf("not within a minute: %s\n%+v", what, last.Status)
}

func (s *scene) pod(name, more string) string {
	return fmt.Sprintf("{apiVersion: v1, kind: Pod, metadata: {name: %s, annotations: {sidecar.istio.io/proxyCPU: 10m%s}}, "+
		"spec: {terminationGracePeriodSeconds: 2, containers: [{name: app, imagePullPolicy: IfNotPresent, image: kennethreitz/httpbin}]}}", name, more)
}

func (s *scene) install() (code int, text string) {
	code, _, errs := windtunnel(s.t, "install", "--profile", "minimal", "--set", "tag="+s.tag, "--set", "controlPlane.cpu=10m", "--set", "controlPlane.memory=100Mi", "--timeout", "3m")
	return code, errs
}

// What goes wrong in clusters, in one that is real: the control plane dies while it is
// installed, nobody answers the webhook, its bundle is somebody else's, rules fail.
func TestFaultsInACluster(t *testing.T) {
	s := newScene(t, "windtunnel-faults")
	t.Cleanup(func() { windtunnel(t, "uninstall", "--purge") })

	// Killed while it is waited for.
	killed := make(chan error)
	go func() {
		for {
			pods, err := s.client.List(t.Context(), kube.Resource("v1", "Pod"), "istio-system", "app=istiod")
			if err != nil || len(pods) > 0 {
				if err == nil {
					err = s.client.Kill(t.Context(), "istio-system", "", "app=istiod")
				}
				killed <- err
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
	code, text := s.install()
	if err := <-killed; err != nil || code != 0 || !strings.Contains(text, "waiting: Deployment istio-system/istiod has 0 of 1 Pods available") {
		t.Fatalf("%v; code %d\n%s", err, code, text)
	}

	eventually(t, "a Pod gets a sidecar that Kubernetes runs as one", func() bool { return s.apply(s.pod("native", ", sidecar.istio.io/nativeSidecar: 'true'")) == nil })
	s.await("it is ready, and its sidecar is an init container", "native", func(p *corev1.Pod) bool {
		n := len(p.Spec.InitContainers)
		return n == 2 && p.Spec.InitContainers[1].RestartPolicy != nil && len(p.Spec.Containers) == 1 && ready(p)
	})

	s.rulesFail()

	scale := func(n int) {
		t.Helper()
		if err := s.client.Merge(t.Context(), "apps/v1", "Deployment", "istio-system", "istiod", fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n), ""); err != nil {
			t.Fatal(err)
		}
	}
	scale(0)
	tries := 0 // the webhook sees new Pods only
	eventually(t, "a Pod is refused while nobody answers", func() bool {
		tries++
		err := s.apply(s.pod(fmt.Sprintf("refused-%d", tries), ""))
		return err != nil && strings.Contains(err.Error(), `failed calling webhook "namespace.sidecar-injector.istio.io"`)
	})
	if code, out, _ := windtunnel(t, "doctor"); code != 3 || !strings.Contains(out, "FAIL  control plane") {
		t.Errorf("doctor: code %d\n%s", code, out)
	}
	// Nobody is there to repair the bundle until the control plane comes back.
	if err := s.client.Merge(t.Context(), "admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "", "istio-sidecar-injector", s.staleBundle(), ""); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := windtunnel(t, "doctor"); code != 3 || !strings.Contains(out, "its caBundle has expired, on 2000-01-0") {
		t.Errorf("doctor: code %d\n%s", code, out)
	}
	scale(1)
	eventually(t, "the control plane repairs the bundle", func() bool { return s.apply(s.pod("accepted", "")) == nil })
	s.await("the Pod is ready", "accepted", ready)
	if code, out, _ := windtunnel(t, "doctor"); code != 0 {
		t.Errorf("doctor: code %d\n%s", code, out)
	}
}

// rulesFail makes a Pod as the injector does, but without the capability.
func (s *scene) rulesFail() {
	s.t.Helper()
	code, out, errs := windtunnelIn(s.t, s.pod("norules", ""), "inject", "-f", "-", "--set", "tag="+s.tag)
	if code != 0 || !strings.Contains(out, "- NET_ADMIN\n") {
		s.t.Fatalf("code %d\n%s%s", code, out, errs)
	}
	out = strings.ReplaceAll(strings.ReplaceAll(out, "- NET_ADMIN\n", ""), "- NET_RAW\n", "- CHOWN\n")
	if err := s.apply(strings.Replace(out, "---\n", "", 1)); err != nil {
		s.t.Fatal(err)
	}
	s.await("the Pod does not start, and says why", "norules", func(p *corev1.Pod) bool {
		for _, c := range p.Status.InitContainerStatuses {
			for _, end := range []*corev1.ContainerStateTerminated{c.State.Terminated, c.LastTerminationState.Terminated} {
				if end != nil && end.ExitCode != 0 && strings.Contains(end.Message, "it must not start") && strings.Contains(end.Message, "NET_ADMIN") {
					return !ready(p)
				}
			}
		}
		return false
	})
}

// staleBundle is a patch of all webhooks by a root that has expired.
func (s *scene) staleBundle() []byte {
	s.t.Helper()
	u, err := s.client.Get(s.t.Context(), kube.Resource("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"), "", "istio-sidecar-injector")
	if err != nil || u == nil {
		s.t.Fatalf("%v %v", u, err)
	}
	hooks, _, _ := unstructured.NestedSlice(u.Object, "webhooks")
	bundle := expiredRoot(s.t)
	for _, h := range hooks {
		if err := unstructured.SetNestedField(h.(map[string]any), bundle, "clientConfig", "caBundle"); err != nil {
			s.t.Fatal(err)
		}
	}
	text, err := (&unstructured.Unstructured{Object: map[string]any{"webhooks": hooks, "kind": "x"}}).MarshalJSON()
	if err != nil {
		s.t.Fatal(err)
	}
	return []byte(strings.Replace(string(text), `"kind":"x",`, "", 1))
}

func ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// windtunnelIn runs a command line with an input.
func windtunnelIn(t *testing.T, in string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = cli.Main(t.Context(), args, cli.Streams{In: strings.NewReader(in), Out: &o, Err: &e})
	return code, o.String(), e.String()
}
