package incluster

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/mesh/identity"
)

func TestTokenOwner(t *testing.T) {
	answer := func(authenticated bool, user string, audiences ...any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{
			"authenticated": authenticated, "audiences": audiences, "user": map[string]any{"username": user}}}}
	}
	id, err := tokenOwner(answer(true, "system:serviceaccount:books:reviews", "istio-ca"))
	if err != nil || id != (identity.ID{Namespace: "books", ServiceAccount: "reviews"}) {
		t.Errorf("%v %v", id, err)
	}
	for want, a := range map[string]*unstructured.Unstructured{
		"refused":            answer(false, "system:serviceaccount:books:reviews", "istio-ca"),
		"not for istio-ca":   answer(true, "system:serviceaccount:books:reviews", "api"),
		"is not for":         answer(true, "system:serviceaccount:books:reviews"),
		"no service account": answer(true, "admin", "istio-ca"),
		"refused: gone":      {Object: map[string]any{"status": map[string]any{"authenticated": true, "error": "gone"}}},
	} {
		if _, err := tokenOwner(a); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// A CA that was kept in its Secret, and one in the Secret that users bring for Istio,
// whose chain begins with the signing certificate and ends with the root.
func TestAuthoritySecrets(t *testing.T) {
	ca, err := identity.NewCA(identity.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := ca.Authority()
	if err != nil {
		t.Fatal(err)
	}
	again, err := loadAuthority(authoritySecret("istio-system", kept), "cluster.local")
	if err != nil || !bytes.Equal(again.RootPEM(), ca.RootPEM()) {
		t.Fatalf("%v", err)
	}
	brought := authoritySecret("istio-system", kept)
	chain := base64.StdEncoding.EncodeToString(append(bytes.Clone(kept.Cert), kept.Root...))
	if err := unstructured.SetNestedField(brought.Object, chain, "data", chainKey); err != nil {
		t.Fatal(err)
	}
	if again, err := loadAuthority(brought, "cluster.local"); err != nil || !bytes.Equal(again.RootPEM(), ca.RootPEM()) {
		t.Errorf("%v", err)
	}
	unstructured.RemoveNestedField(brought.Object, "data", keyKey)
	if _, err := loadAuthority(brought, "cluster.local"); err == nil || !strings.Contains(err.Error(), "istio-system/istio-ca-secret has no ca-key.pem") {
		t.Errorf("%v", err)
	}
}

func TestWebhookNames(t *testing.T) {
	for namespace, want := range map[string]string{
		"istio-system": "istio-sidecar-injector istio-validator-istio-system", "mesh": "istio-sidecar-injector-mesh istio-validator-mesh"} {
		mutating, validating := WebhookNames(namespace)
		if got := mutating + " " + validating; got != want {
			t.Errorf("%s: %s", namespace, got)
		}
	}
}
