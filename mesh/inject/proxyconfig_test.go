package inject

import (
	"strconv"
	"testing"
	"time"

	networkingpb "istio.io/api/networking/v1beta1"
	typepb "istio.io/api/type/v1beta1"
	networkingv1beta1 "istio.io/client-go/pkg/apis/networking/v1beta1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// The order of precedence is Istio's: root namespace, namespace, annotation, selector; of
// several of one kind the oldest.
func TestProxyConfigsByPrecedence(t *testing.T) {
	age := 0
	of := func(namespace, value string, selector map[string]string) *config.Object {
		c := &networkingv1beta1.ProxyConfig{Spec: networkingpb.ProxyConfig{EnvironmentVariables: map[string]string{"LAST": value, "FROM_" + value: "1"}}}
		if selector != nil {
			c.Spec.Selector = &typepb.WorkloadSelector{MatchLabels: selector}
		}
		age++
		return &config.Object{Kind: "ProxyConfig", Namespace: namespace, Name: strconv.Itoa(age), Created: time.Unix(int64(100-age), 0), Value: c}
	}
	o := options
	o.Metadata = map[string]string{"LAST": "mesh", "FROM_mesh": "1"}
	pod := details(t)
	look := func(last string, from ...string) {
		t.Helper()
		env := Env(injected(t, pod, o), ProxyContainer, "10.0.0.7", "")
		if env["LAST"] != last {
			t.Errorf("the last word has %q, want %q", env["LAST"], last)
		}
		for _, f := range from {
			if env["FROM_"+f] != "1" {
				t.Errorf("variables of %s are not there", f)
			}
		}
	}
	look("mesh")
	o.ProxyConfigs = append(o.ProxyConfigs, of("other", "other", nil), of("default", "nobody", map[string]string{"app": "x"}), of("istio-system", "app", map[string]string{"app": "details"}))
	look("mesh")
	o.ProxyConfigs = append(o.ProxyConfigs, of("istio-system", "younger", nil), of("istio-system", "root", nil))
	look("root", "mesh")
	o.ProxyConfigs = append(o.ProxyConfigs, of("default", "namespace", map[string]string{}))
	look("namespace", "mesh", "root")
	pod.Annotations = map[string]string{configKey: "proxyMetadata: {LAST: annotation, FROM_annotation: '1'}"}
	look("annotation", "mesh", "root", "namespace")
	o.ProxyConfigs = append(o.ProxyConfigs, of("default", "selector", map[string]string{"app": "details"}))
	look("selector", "mesh", "root", "namespace", "annotation")
	if len(o.Metadata) != 2 {
		t.Errorf("the mesh's variables have changed: %v", o.Metadata)
	}
}
