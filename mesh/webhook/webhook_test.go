package webhook_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/windtunnel-mesh/windtunnel/mesh/build"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
	"github.com/windtunnel-mesh/windtunnel/mesh/webhook"
)

const cluster = `
apiVersion: v1
kind: Namespace
metadata: {name: books, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: plain}
---
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: books}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 9080}], selector: {app: reviews}}
`

// server answers as the control plane's does.
func server(t *testing.T) http.Handler {
	t.Helper()
	objects, found := config.Decode("cluster.yaml", 1, []byte(cluster))
	if len(found) > 0 {
		t.Fatal(found)
	}
	source := store.NewMemory(store.MemoryOptions{})
	source.Apply(objects...)
	return webhook.New(webhook.Options{Inject: inject.Options{ProxyImage: "windtunnel/meshproxy"}, Source: source,
		Check: func(v *store.View, added []*config.Object) []config.Diagnostic {
			_, findings := build.Build(store.NewView(append(v.All(), added...)...), build.Options{})
			return findings
		}})
}

func ask(t *testing.T, path string, q admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	t.Helper()
	q.UID = "17"
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: &q})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	server(t).ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body)))
	var answer admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Response == nil || answer.Response.UID != "17" {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return answer.Response
}

func podRequest(namespace, pod string) admissionv1.AdmissionRequest {
	return admissionv1.AdmissionRequest{Namespace: namespace, Operation: admissionv1.Create,
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, Object: runtime.RawExtension{Raw: []byte(pod)}}
}

func TestInjectPatchesPods(t *testing.T) {
	// A field that our types do not have, and a Pod that says no namespace.
	const pod = `{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"reviews-","labels":{"app":"reviews"},"annotations":{"proxy.istio.io/config":"holdApplicationUntilProxyStarts: true"}},
		"spec":{"newField":{"a":1},"containers":[{"name":"reviews","image":"reviews","newToo":true,"livenessProbe":{"httpGet":{"path":"/health","port":9080}}}]}}`
	response := ask(t, webhook.InjectPath, podRequest("books", pod))
	if !response.Allowed || response.PatchType == nil || *response.PatchType != admissionv1.PatchTypeJSONPatch {
		t.Fatalf("%+v", response)
	}
	patch, err := jsonpatch.DecodePatch(response.Patch)
	if err != nil {
		t.Fatal(err)
	}
	text, err := patch.Apply([]byte(pod))
	if err != nil {
		t.Fatalf("%v: %s", err, response.Patch)
	}
	var after corev1.Pod
	if err := json.Unmarshal(text, &after); err != nil {
		t.Fatal(err)
	}
	// The proxy comes first because the application waits for it.
	if len(after.Spec.Containers) != 2 || after.Spec.Containers[0].Name != inject.ProxyContainer || after.Spec.Containers[1].Name != "reviews" {
		t.Errorf("containers %+v", after.Spec.Containers)
	}
	if len(after.Spec.InitContainers) != 1 || after.Spec.InitContainers[0].Args[0] != "capture" {
		t.Errorf("init containers %+v", after.Spec.InitContainers)
	}
	if after.Spec.Containers[1].LivenessProbe.HTTPGet.Path != "/app-health/reviews/livez" || !strings.Contains(after.Spec.Containers[0].Args[1], "books") && after.Labels["security.istio.io/tlsMode"] != "istio" {
		t.Errorf("%s", text)
	}
	if !bytes.Contains(text, []byte(`"newField"`)) || !bytes.Contains(text, []byte(`"newToo"`)) {
		t.Error("the patch loses fields that it does not know")
	}
	// Again: the Pod has its sidecar.
	if again := ask(t, webhook.InjectPath, podRequest("books", string(text))); !again.Allowed || again.Patch != nil {
		t.Errorf("%+v", again)
	}
}

func TestInjectLeavesAlone(t *testing.T) {
	for _, c := range []struct{ name, namespace, pod string }{
		{"no label", "plain", `{"spec":{"containers":[{"name":"a"}]}}`},
		{"unknown namespace", "new", `{"spec":{"containers":[{"name":"a"}]}}`},
		{"host network", "books", `{"spec":{"hostNetwork":true,"containers":[{"name":"a"}]}}`},
		{"opted out", "books", `{"metadata":{"labels":{"sidecar.istio.io/inject":"false"}},"spec":{"containers":[{"name":"a"}]}}`},
		{"Kubernetes' own", "kube-system", `{"metadata":{"labels":{"sidecar.istio.io/inject":"true"}},"spec":{"containers":[{"name":"a"}]}}`},
	} {
		if r := ask(t, webhook.InjectPath, podRequest(c.namespace, c.pod)); !r.Allowed || r.Patch != nil {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

func TestInjectRefusesByName(t *testing.T) {
	r := ask(t, webhook.InjectPath, podRequest("books",
		`{"metadata":{"name":"a","annotations":{"sidecar.istio.io/bootstrapOverride":"x"}},"spec":{"containers":[{"name":"a"}]}}`))
	if r.Allowed || !strings.Contains(r.Result.Message, "books/a") || !strings.Contains(r.Result.Message, "sidecar.istio.io/bootstrapOverride is not supported") {
		t.Errorf("%+v", r.Result)
	}
}

func TestValidate(t *testing.T) {
	route := func(rest string) string {
		return `{"apiVersion":"networking.istio.io/v1","kind":"VirtualService","metadata":{"name":"reviews","namespace":"books","creationTimestamp":"2026-01-01T00:00:00Z","uid":"1","managedFields":[{"manager":"kubectl"}]},` +
			`"spec":{"hosts":["reviews"],"http":[{"route":[{"destination":{"host":"` + rest + `}]}]},"status":{"anything":1}}`
	}
	for _, c := range []struct {
		name, object   string
		operation      admissionv1.Operation
		refused, warns string
	}{
		{"good", route(`reviews"}`), admissionv1.Create, "", ""},
		{"unknown field", route(`reviews"},"wieght":1`), admissionv1.Create, "did you mean", ""},
		{"unknown host", route(`review"}`), admissionv1.Update, "", "spec.http[0].route[0].destination.host: "},
		{"not supported", `{"apiVersion":"networking.istio.io/v1beta1","kind":"ProxyConfig","metadata":{"name":"a","namespace":"books"},"spec":{"environmentVariables":{"ISTIO_META_NETWORK":"n"}}}`, admissionv1.Create, "ISTIO_META_NETWORK is not supported", ""},
		{"without effect", `{"apiVersion":"networking.istio.io/v1","kind":"WorkloadGroup","metadata":{"name":"a","namespace":"books"},"spec":{"template":{}}}`, admissionv1.Create, "", "register"},
		{"unknown version", `{"apiVersion":"networking.istio.io/v2","kind":"VirtualService","metadata":{"name":"a"},"spec":{}}`, admissionv1.Create, "no version", ""},
		{"being deleted", `{}`, admissionv1.Delete, "", ""},
	} {
		r := ask(t, webhook.ValidatePath, admissionv1.AdmissionRequest{Namespace: "books", Name: "reviews", Operation: c.operation,
			Kind: metav1.GroupVersionKind{Kind: "VirtualService"}, Object: runtime.RawExtension{Raw: []byte(c.object)}})
		if r.Allowed != (c.refused == "") || !r.Allowed && !strings.Contains(r.Result.Message, c.refused) {
			t.Errorf("%s: %+v", c.name, r.Result)
		}
		if text := strings.Join(r.Warnings, "\n"); (text == "") != (c.warns == "") || !strings.Contains(text, c.warns) {
			t.Errorf("%s: warnings %q", c.name, text)
		}
	}
}

func TestOtherRequestsAreRefused(t *testing.T) {
	for _, body := range []string{"", "{}", `{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"1"}}`} {
		w := httptest.NewRecorder()
		server(t).ServeHTTP(w, httptest.NewRequest(http.MethodPost, webhook.ValidatePath, strings.NewReader(body)))
		if w.Code != http.StatusBadRequest {
			t.Errorf("%q: status %d", body, w.Code)
		}
	}
}
