package config_test

import (
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

func TestBystanders(t *testing.T) {
	for _, c := range []struct {
		api, kind string
		severity  config.Severity
		says      string
		kept      bool
	}{
		{"rbac.authorization.k8s.io/v1", "ClusterRole", config.Info, "ClusterRole has no effect: it says nothing about requests", true},
		{"v1", "PersistentVolumeClaim", config.Info, "PersistentVolumeClaim has no effect", true},
		{"batch/v1", "Job", config.Warning, "Job has no effect: its Pods do not run here", true},
		{"autoscaling/v2", "HorizontalPodAutoscaler", config.Warning, "nobody scales here but the scale step", true},
		{"cert-manager.io/v1", "Certificate", config.Warning, "Certificate of cert-manager.io has no effect: nothing here acts for that API", true},
		{"networking.k8s.io/v1", "NetworkPolicy", config.Error, "NetworkPolicy is not supported", false},
		{"networking.k8s.io/v1", "Ingress", config.Error, `unknown field "anything" in spec`, false},
		// What looks like a slip stays one.
		{"v1", "Servise", config.Error, `unknown kind "Servise"`, false},
		{"apps/v1", "Deploymnt", config.Error, `unknown kind "Deploymnt"`, false},
		{"networkin.istio.io/v1", "VirtualServices", config.Error, `unknown apiVersion "networkin.istio.io/v1"`, false},
		{"extensions.istio.io/v1alpha1", "WasmPlugin", config.Error, "WasmPlugin is not supported", false},
		{"serving.knative.dev/v1", "Service", config.Error, "there is no kind Service in apiVersion", false},
		{"gibberish", "Thing", config.Error, `unknown kind "Thing"`, false},
	} {
		text := "apiVersion: " + c.api + "\nkind: " + c.kind + "\nmetadata:\n  name: x\nspec:\n  anything: [1, {a: b}]\n"
		objects, found := config.Decode("f.yaml", 1, []byte(text))
		if len(found) != 1 || found[0].Severity != c.severity || !strings.Contains(found[0].Message, c.says) {
			t.Errorf("%s %s: found %v, want one of severity %v that says %q", c.api, c.kind, found, c.severity, c.says)
		}
		if kept := len(objects) == 1; kept != c.kept {
			t.Errorf("%s %s: kept %v, want %v", c.api, c.kind, kept, c.kept)
		}
	}
}
