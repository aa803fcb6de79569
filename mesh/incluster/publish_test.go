package incluster

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/mesh/identity"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube/kubetest"
)

// The API server's trust in the webhooks is kept: a bundle that is missing, that
// somebody replaced, or that a rotation of the authority has outdated is written, and
// what stands there is good for the certificate that the webhooks show.
func TestBundlesAreKept(t *testing.T) {
	const path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/istio-sidecar-injector"
	const hooks = "{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, webhooks: [{name: a, clientConfig: {caBundle: %s}}, {name: b, clientConfig: {}}]}"
	s := kubetest.New(t, map[string]string{path: fmt.Sprintf(hooks, `""`), "/api/v1/namespaces/books": "{apiVersion: v1, kind: Namespace}"})
	client, err := kube.Connect(kube.ClientOptions{Kubeconfig: s.Kubeconfig(), Agent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := identity.NewCA(identity.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const host = "istiod.istio-system.svc"
	server, err := ca.ServerConfig(host)
	if err != nil {
		t.Fatal(err)
	}
	go (&publisher{client: client, ca: ca, logger: slog.New(slog.DiscardHandler), namespace: "istio-system"}).run(t.Context())

	// trusted tells whether the API server, with what stands there, would call the webhooks.
	trusted := func() bool {
		list, _, _ := unstructured.NestedSlice(s.Get(path).Object, "webhooks")
		for _, h := range list {
			text, _, _ := unstructured.NestedString(h.(map[string]any), "clientConfig", "caBundle")
			roots, err := base64.StdEncoding.DecodeString(text)
			if err != nil || len(roots) == 0 || string(roots) != string(ca.RootPEM()) {
				return false
			}
			config, err := identity.ClientConfig(roots, host)
			if err != nil {
				return false
			}
			a, b := net.Pipe()
			go func() { _ = tls.Server(b, server).Handshake() }()
			err = tls.Client(a, config).Handshake()
			a.Close()
			b.Close()
			if err != nil {
				return false
			}
		}
		return len(list) == 2
	}
	await := func(what string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !trusted(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not within a minute: %s", what)
			}
		}
	}
	await("bundles that are missing are written")
	other, err := identity.NewCA(identity.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.Put(t, path, fmt.Sprintf(hooks, base64.StdEncoding.EncodeToString(other.RootPEM())))
	await("a bundle of somebody else's is replaced")
	if err := ca.Rotate(nil); err != nil {
		t.Fatal(err)
	}
	await("the new root is written")
	ca.RetireRoots()
	await("the old root goes")
	if m := s.Get("/api/v1/namespaces/books/configmaps/istio-ca-root-cert"); m == nil {
		t.Error("the namespace has no roots")
	}
}
