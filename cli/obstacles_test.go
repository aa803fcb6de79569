package cli_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/cli"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube/kubetest"
)

const (
	deploymentsPath = "/apis/apps/v1/namespaces/istio-system/deployments/"
	hooksPath       = "/apis/admissionregistration.k8s.io/v1/"
	// A node whose memory is nearly taken by a Pod.
	smallNode = "{apiVersion: v1, kind: Node, status: {allocatable: {memory: 4Gi}}}"
	bigPod    = "{apiVersion: v1, kind: Pod, metadata: {namespace: shop}, spec: {nodeName: a, containers: [{name: a, resources: {requests: {memory: 3Gi}}}]}}"
)

// What stands against an installation is a sentence and exit code 3, and nothing is
// applied; what people may decide themselves gives way to --force.
func TestWhatStandsAgainstAnInstallation(t *testing.T) {
	injector := "{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, webhooks: [{name: rev.namespace.sidecar-injector.istio.io}]}"
	for name, c := range map[string]struct {
		minor   int
		objects map[string]string
		want    string // without --force
		forced  string // with it; "": refused all the same
	}{
		"an old Kubernetes": {28, nil, "it is Kubernetes v1.28.0, and 1.29 is the oldest that is supported: upgrade it, or go on with --force", "warning: it is Kubernetes v1.28.0"},
		"Istio": {34, map[string]string{"/apis/apps/v1/namespaces/mesh/deployments/istiod-canary": "{apiVersion: apps/v1, kind: Deployment, metadata: {namespace: mesh, labels: {app: istiod}}}"},
			"another mesh is installed already: Deployment mesh/istiod-canary is not windtunnel's: uninstall it first, or go on with --force", "warning: another mesh is installed already"},
		"Istio where this one would be": {34, map[string]string{deploymentsPath + "istiod": "{apiVersion: apps/v1, kind: Deployment, metadata: {namespace: istio-system, labels: {app: istiod}}}"},
			"Deployment istio-system/istiod is not windtunnel's: uninstall it first", ""},
		"webhooks that an Istio has left": {34, map[string]string{hooksPath + "mutatingwebhookconfigurations/istio-revision-tag-prod": injector},
			"MutatingWebhookConfiguration istio-revision-tag-prod has rev.namespace.sidecar-injector.istio.io, and is not windtunnel's: uninstall that mesh first; " +
				"where it is gone, kubectl delete mutatingwebhookconfiguration istio-revision-tag-prod, or go on with --force", "warning: another mesh has a webhook here"},
		"webhooks that would be overwritten": {34, map[string]string{hooksPath + "mutatingwebhookconfigurations/istio-sidecar-injector": injector},
			"kubectl delete mutatingwebhookconfiguration istio-sidecar-injector\n", ""},
	} {
		s := kubetest.New(t, c.objects)
		s.Minor = c.minor
		s.OnChange = alive
		args := []string{"install", "--kubeconfig", s.Kubeconfig()}
		code, out, errs := windtunnel(t, args...)
		if code != 3 || !strings.Contains(errs, c.want) || s.Get(deploymentsPath+"istio-ingressgateway") != nil {
			t.Errorf("%s: code %d\n%s%s", name, code, out, errs)
		}
		code, out, errs = windtunnel(t, append(args, "--force")...)
		switch {
		case c.forced == "" && (code != 3 || !strings.Contains(errs, c.want)):
			t.Errorf("%s, forced: code %d\n%s%s", name, code, out, errs)
		case c.forced != "" && (code != 0 || !strings.Contains(errs, c.forced)):
			t.Errorf("%s, forced: code %d\n%s%s", name, code, out, errs)
		}
	}
}

func TestMemoryIsToldWithNumbers(t *testing.T) {
	s := kubetest.New(t, map[string]string{"/api/v1/nodes/a": smallNode, "/api/v1/namespaces/shop/pods/big": bigPod})
	s.OnChange = alive
	code, _, errs := windtunnel(t, "install", "--kubeconfig", s.Kubeconfig())
	if code != 0 || !strings.Contains(errs, "warning: no node has the memory that istiod asks for: 2048 MiB, and 1024 MiB are free: its Pods will wait") {
		t.Errorf("code %d\n%s", code, errs)
	}
	if code, _, errs := windtunnel(t, "install", "--kubeconfig", s.Kubeconfig(), "--set", "controlPlane.memory=100Mi"); code != 0 || strings.Contains(errs, "warning") {
		t.Errorf("code %d\n%s", code, errs)
	}
	empty := kubetest.New(t, map[string]string{"/api/v1/nodes/a": smallNode, "/api/v1/namespaces/shop/pods/big": bigPod})
	if code, out, errs := windtunnel(t, "doctor", "--kubeconfig", empty.Kubeconfig()); code != 0 || !strings.Contains(out, "one can be installed; but no node has the memory") {
		t.Errorf("code %d\n%s%s", code, out, errs)
	}
}

// A control plane that dies while it is waited for: the wait goes on, and says for what.
// After Ctrl-C a second install completes what the first has begun.
func TestAnInstallationIsInterruptedAndCompleted(t *testing.T) {
	var dead atomic.Bool
	dead.Store(true)
	s := kubetest.New(t, map[string]string{"/api/v1/namespaces/istio-system/pods/istiod-1": `
{apiVersion: v1, kind: Pod, metadata: {namespace: istio-system, labels: {app: istiod, istio: pilot}}, status: {containerStatuses: [
  {name: discovery, state: {waiting: {reason: CrashLoopBackOff, message: back-off 10s}}, lastState: {terminated: {exitCode: 137, reason: OOMKilled}}}]}}`})
	s.OnChange = func(u *unstructured.Unstructured) {
		if u.GetName() != "istiod" || !dead.Load() {
			alive(u)
		}
	}
	ctx, interrupt := context.WithCancel(t.Context())
	var errs bytes.Buffer
	ended := make(chan int)
	told := &waiter{w: &errs, text: "waiting: ", seen: make(chan struct{})}
	go func() {
		ended <- cli.Main(ctx, []string{"install", "--kubeconfig", s.Kubeconfig()}, cli.Streams{Out: &bytes.Buffer{}, Err: told})
	}()
	select {
	case <-told.seen:
	case code := <-ended:
		t.Fatalf("code %d\n%s", code, &errs)
	}
	interrupt()
	code := <-ended
	const what = "waiting: Deployment istio-system/istiod has 0 of 1 Pods available: istiod-1: discovery CrashLoopBackOff: back-off 10s; the last time it ended with 137, OOMKilled"
	if code != 130 || !strings.Contains(errs.String(), what) || !strings.Contains(errs.String(), "run the command again to complete it") {
		t.Errorf("code %d\n%s", code, &errs)
	}
	dead.Store(false)
	if code, _, errs := windtunnel(t, "install", "--kubeconfig", s.Kubeconfig()); code != 0 || !strings.Contains(errs, "the mesh is installed in istio-system") {
		t.Errorf("again: code %d\n%s", code, errs)
	}
}

// waiter tells when a text was written.
type waiter struct {
	w    *bytes.Buffer
	text string
	seen chan struct{}
	told bool
}

func (w *waiter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	if !w.told && strings.Contains(w.w.String(), w.text) {
		w.told = true
		close(w.seen)
	}
	return n, err
}

// alive plays the controllers of a cluster and the control plane: what is applied is
// ready at once.
func alive(u *unstructured.Unstructured) {
	switch kind := u.GetKind(); {
	case kind == "CustomResourceDefinition":
		u.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Established", "status": "True"}}}
	case kind == "Deployment":
		n, _, _ := unstructured.NestedInt64(u.Object, "spec", "replicas")
		u.Object["status"] = map[string]any{"availableReplicas": n, "updatedReplicas": n, "replicas": n}
	case slices.Contains([]string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}, kind):
		hooks, _, _ := unstructured.NestedSlice(u.Object, "webhooks")
		for _, h := range hooks {
			h.(map[string]any)["clientConfig"] = map[string]any{"caBundle": "eA=="}
		}
		u.Object["webhooks"] = hooks
	}
}
