package install

import (
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
)

func manifest(t *testing.T, profile string, set ...string) []*unstructured.Unstructured {
	t.Helper()
	s, err := Profile(profile)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Set(set...); err != nil {
		t.Fatal(err)
	}
	objects, err := Manifest(s)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func names(objects []*unstructured.Unstructured, kind string) string {
	var list []string
	for _, o := range objects {
		if o.GetKind() == kind {
			list = append(list, o.GetName())
		}
	}
	return strings.Join(list, " ")
}

func find(t *testing.T, objects []*unstructured.Unstructured, kind, name string, into any) {
	t.Helper()
	for _, o := range objects {
		if o.GetKind() == kind && o.GetName() == name {
			if err := kube.Into(o, into); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no %s %s", kind, name)
}

func TestProfiles(t *testing.T) {
	for profile, want := range map[string]string{
		"minimal": "istiod", "default": "istiod istio-ingressgateway", "demo": "istiod istio-ingressgateway istio-egressgateway",
	} {
		if got := names(manifest(t, profile), "Deployment"); got != want {
			t.Errorf("%s: %s", profile, got)
		}
	}
	if d := Differences("default", "demo"); len(d) != 4 || d[2].Name != "egressGateway.enabled" || d[2].New != "true" {
		t.Errorf("%v", d)
	}
}

func TestSettings(t *testing.T) {
	objects := manifest(t, "default", "namespace=mesh", "tag=1.10", "ingressGateway.serviceType=NodePort", "meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY",
		"meshConfig.accessLogFile=/dev/stdout", "controlPlane.replicas=2")
	var m corev1.ConfigMap
	find(t, objects, "ConfigMap", "istio", &m)
	if !strings.Contains(m.Data["mesh"], "REGISTRY_ONLY") || !strings.Contains(m.Data["mesh"], "/dev/stdout") || m.Namespace != "mesh" {
		t.Errorf("%+v", m)
	}
	var service corev1.Service
	find(t, objects, "Service", "istio-ingressgateway", &service)
	if service.Spec.Type != corev1.ServiceTypeNodePort {
		t.Errorf("%+v", service.Spec)
	}
	text, err := YAML(objects)
	if err != nil || !strings.Contains(string(text), "image: windtunnel/meshd:1.10\n") || strings.Contains(string(text), "istio-system") {
		t.Errorf("%v\n%s", err, text)
	}
	for set, want := range map[string]string{
		"ingresGateway.enabled=true":          "did you mean",
		"controlPlane.replicas=many":          "controlPlane.replicas",
		"tag":                                 "NAME=VALUE",
		"ingressGateway.serviceType=External": "expected one of",
		"controlPlane.replicas=0":             "expected 1 or more",
		"controlPlane.cpu=much":               "controlPlane.cpu",
		"meshConfig.acessLogFile=x":           "meshConfig: ",
	} {
		s, _ := Profile("default")
		err := s.Set(set)
		if err == nil {
			_, err = Manifest(s)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", set, err)
		}
	}
}

// The control plane may read what it reads, and nothing stands in the role that it
// does not.
func TestPermissionsAreWhatIsRead(t *testing.T) {
	granted := map[string]bool{}
	for _, r := range reads() {
		for _, resource := range r.Resources {
			granted[resource+"."+r.APIGroups[0]] = true
		}
		if !slices.Equal(r.Verbs, []string{"get", "list", "watch"}) {
			t.Errorf("%v", r)
		}
	}
	for _, k := range kube.Kinds() {
		if !granted[k.Plural()+"."+k.Group] {
			t.Errorf("%s cannot be read", k.Name)
		}
		delete(granted, k.Plural()+"."+k.Group)
	}
	if len(granted) > 0 {
		t.Errorf("also granted: %v", granted)
	}
}

// What the selectors let through is what the injector would inject: whatever the
// labels are, exactly one webhook sees a Pod that gets a sidecar, and no webhook ever
// sees the Pods of the control plane or of Kubernetes.
func TestSelectorsAgreeWithTheInjector(t *testing.T) {
	var hooks admissionv1.MutatingWebhookConfiguration
	find(t, manifest(t, "minimal"), "MutatingWebhookConfiguration", "istio-sidecar-injector", &hooks)
	o := inject.Options{ProxyImage: "x"}
	options := map[string][]string{"istio-injection": {"", "enabled", "disabled"}, "istio.io/rev": {"", "default", "canary"}}
	pods := map[string][]string{"sidecar.istio.io/inject": {"", "true", "false"}, "istio.io/rev": {"", "default", "canary"}}
	for _, nsLabels := range combinations(options) {
		for _, podLabels := range combinations(pods) {
			for _, name := range []string{"books", "istio-system", "kube-system"} {
				set := labels.Set{"kubernetes.io/metadata.name": name}
				for k, v := range nsLabels {
					set[k] = v
				}
				seen := 0
				for _, w := range hooks.Webhooks {
					if selects(t, w.NamespaceSelector, set) && selects(t, w.ObjectSelector, podLabels) {
						seen++
					}
				}
				ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: set}}
				yes, why := inject.Decide(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: podLabels}}, ns, o)
				if name != "books" {
					yes = false
				}
				want := 0
				if yes {
					want = 1
				}
				if seen != want {
					t.Errorf("%s %v, Pod %v: %d webhooks, the injector says %v: %s", name, nsLabels, podLabels, seen, yes, why)
				}
			}
		}
	}
}

func selects(t *testing.T, s *metav1.LabelSelector, set labels.Set) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return selector.Matches(set)
}

// combinations are all choices of values, "" being a label that is not there.
func combinations(values map[string][]string) []map[string]string {
	list := []map[string]string{{}}
	for key, choices := range values {
		var next []map[string]string
		for _, m := range list {
			for _, v := range choices {
				c := map[string]string{}
				for k, old := range m {
					c[k] = old
				}
				if v != "" {
					c[key] = v
				}
				next = append(next, c)
			}
		}
		list = next
	}
	return list
}

func TestDefinitionsHaveAllKinds(t *testing.T) {
	got := names(Definitions(), "CustomResourceDefinition")
	for _, want := range []string{"virtualservices.networking.istio.io", "serviceentries.networking.istio.io", "authorizationpolicies.security.istio.io", "telemetries.telemetry.istio.io"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	if !strings.Contains(got, "httproutes.gateway.networking.k8s.io") || strings.Contains(got, "udproutes") {
		t.Errorf("of the Gateway API, what is read is installed, and nothing else: %s", got)
	}
	for _, d := range Definitions() {
		stored := 0
		versions, _, _ := unstructured.NestedSlice(d.Object, "spec", "versions")
		for _, v := range versions {
			if v.(map[string]any)["storage"] == true {
				stored++
			}
		}
		if stored != 1 {
			t.Errorf("%s: %d versions are stored", d.GetName(), stored)
		}
	}
}
