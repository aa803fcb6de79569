//go:build kind

package cli_test

import (
	"cmp"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
)

// A whole life of a mesh in the cluster of $KUBECONFIG, in which the image
// windtunnel/meshd of $TAG (latest) has to be there: installed, asked, changed, taken away.
func TestMeshInACluster(t *testing.T) {
	if os.Getenv("KUBECONFIG") == "" {
		t.Fatal("KUBECONFIG has to name a cluster that may be changed")
	}
	client, err := kube.Connect(kube.ClientOptions{Agent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	run := func(want int, args string) string {
		t.Helper()
		code, out, errs := windtunnel(t, strings.Fields(args)...)
		if code != want {
			t.Fatalf("windtunnel %s: code %d\n%s%s", args, code, out, errs)
		}
		return out + errs
	}
	create := func(text string) error {
		t.Helper()
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			t.Fatal(err)
		}
		_, err := client.Apply(t.Context(), u, "test")
		return err
	}
	const namespace = "windtunnel-test"
	t.Cleanup(func() {
		u := &unstructured.Unstructured{}
		u.SetAPIVersion("v1")
		u.SetKind("Namespace")
		u.SetName(namespace)
		if _, err := client.Delete(context.WithoutCancel(t.Context()), u); err != nil {
			t.Log(err)
		}
	})
	run(0, "uninstall --purge")
	small := " --set tag=" + cmp.Or(os.Getenv("TAG"), "latest") + " --set controlPlane.cpu=10m --set controlPlane.memory=100Mi --timeout 2m"
	run(0, "install --profile minimal"+small)
	run(0, "doctor")

	if err := create("{apiVersion: v1, kind: Namespace, metadata: {name: " + namespace + ", labels: {istio-injection: enabled}}}"); err != nil {
		t.Fatal(err)
	}
	// The root certificate comes to new namespaces, and the webhook to new Pods. That
	// the API server is ready to call it can take a moment.
	pod := "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: " + namespace + "}, spec: {containers: [{name: a, image: none.example/a}]}}"
	eventually(t, "the Pod has a sidecar", func() bool {
		if create(pod) != nil {
			return false
		}
		u, err := client.Get(t.Context(), kube.Resource("v1", "Pod"), namespace, "a")
		return err == nil && u != nil && u.GetAnnotations()["sidecar.istio.io/status"] != ""
	})
	eventually(t, "the namespace has the roots", func() bool {
		u, err := client.Get(t.Context(), kube.Resource("v1", "ConfigMap"), namespace, "istio-ca-root-cert")
		return err == nil && u != nil
	})
	err = create("{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: " + namespace + ", annotations: {sidecar.istio.io/bootstrapOverride: x}}, spec: {containers: [{name: a, image: a}]}}")
	if err == nil || !strings.Contains(err.Error(), "sidecar.istio.io/bootstrapOverride is not supported") {
		t.Errorf("a wrong annotation: %v", err)
	}
	route := "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a, namespace: " + namespace + "}, spec: {hosts: [a], http: [{%s: [{destination: {host: a}}]}]}}"
	if err := create(strings.Replace(route, "%s", "rout", 1)); err == nil || !strings.Contains(err.Error(), `did you mean "route"?`) {
		t.Errorf("an unknown field: %v", err)
	}
	if err := create(strings.Replace(route, "%s", "route", 1)); err != nil {
		t.Error(err)
	}

	if got := run(3, "install --set namespace=other"); !strings.Contains(got, "installed already, in the namespace istio-system") {
		t.Error(got)
	}
	if got := run(0, "install --profile minimal --set meshConfig.accessLogFile=/dev/stdout"+small); !strings.Contains(got, "is ready") {
		t.Error(got)
	}
	if got := run(2, "uninstall"); !strings.Contains(got, "1 object would be lost") {
		t.Error(got)
	}
	run(0, "uninstall --purge")
	if got := run(0, "uninstall"); !strings.Contains(got, "nothing of windtunnel's") {
		t.Error(got)
	}
}

func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !yes(); time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}
