package cli_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/identity"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube/kubetest"
)

// expiredRoot is a root of the year 2000, which is when a synctest bubble begins.
func expiredRoot(t *testing.T) (root string) {
	synctest.Test(t, func(t *testing.T) {
		ca, err := identity.NewCA(identity.CAOptions{RootTTL: time.Hour * 48})
		if err != nil {
			t.Fatal(err)
		}
		root = base64.StdEncoding.EncodeToString(ca.RootPEM())
	})
	return root
}

func TestDoctorReadsTheBundles(t *testing.T) {
	const path = "/apis/admissionregistration.k8s.io/v1/"
	for bundle, want := range map[string]string{
		"":             "its caBundle is empty; the control plane writes it",
		"eA==":         "its caBundle has no certificate",
		"'?'":          "its caBundle is not base64",
		expiredRoot(t): "its caBundle has expired, on 2000-01-0",
	} {
		hooks := "webhooks: [{name: a, clientConfig: {caBundle: " + bundle + "}}]}"
		s := kubetest.New(t, map[string]string{deploymentsPath + "istiod": "{apiVersion: apps/v1, kind: Deployment, metadata: {namespace: istio-system}}",
			path + "mutatingwebhookconfigurations/istio-sidecar-injector":         "{apiVersion: v1, kind: M, " + hooks,
			path + "validatingwebhookconfigurations/istio-validator-istio-system": "{apiVersion: v1, kind: V, " + hooks})
		code, out, errs := windtunnel(t, "doctor", "--kubeconfig", s.Kubeconfig())
		if code != 3 || !strings.Contains(out, want) {
			t.Errorf("%.20s: code %d\n%s%s", bundle, code, out, errs)
		}
	}
}
