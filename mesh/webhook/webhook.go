// Package webhook answers the API server's admission requests: /inject puts sidecars
// into new Pods, /validate refuses configuration that the control plane could not
// use.
//
// In: admission reviews over HTTP, the injector's options, the view of the cluster.
// Out: JSON patches, refusals and warnings. It knows no client of Kubernetes and must
// not import xds, the data plane or the simulator.
package webhook

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

// The paths at which the webhooks answer.
const (
	InjectPath   = "/inject"
	ValidatePath = "/validate"
)

// maxReview is more than the API server sends: objects are at most 3 MiB, and an
// update has two.
const maxReview = 16 << 20

// Options for New.
type Options struct {
	Inject inject.Options
	Source store.Source
	// Check finds what is wrong with objects if they were added to a view.
	Check  func(*store.View, []*config.Object) []config.Diagnostic
	Logger *slog.Logger
}

// New returns the handler of both webhooks.
func New(o Options) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+InjectPath, o.review(o.inject))
	mux.HandleFunc("POST "+ValidatePath, o.review(o.validate))
	return mux
}

// review reads an admission review, and answers it.
func (o Options) review(answer func(*admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReview))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var review admissionv1.AdmissionReview
		if err := json.Unmarshal(text, &review); err != nil || review.Request == nil {
			http.Error(w, "expected an AdmissionReview with a request", http.StatusBadRequest)
			return
		}
		if review.APIVersion != admissionv1.SchemeGroupVersion.String() {
			http.Error(w, fmt.Sprintf("apiVersion %q: only %s is spoken", review.APIVersion, admissionv1.SchemeGroupVersion), http.StatusBadRequest)
			return
		}
		response := answer(review.Request)
		response.UID = review.Request.UID
		if !response.Allowed {
			q := review.Request
			o.Logger.Info("refused", "kind", q.Kind.Kind, "namespace", q.Namespace, "name", q.Name, "reason", response.Result.Message)
		}
		w.Header().Set("Content-Type", "application/json")
		// A client that went away is not our error.
		_ = json.NewEncoder(w).Encode(admissionv1.AdmissionReview{TypeMeta: review.TypeMeta, Response: response})
	}
}

func allowed() *admissionv1.AdmissionResponse { return &admissionv1.AdmissionResponse{Allowed: true} }

func refused(code int32, reason metav1.StatusReason, message string) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{Result: &metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message}}
}

// inject answers with a patch where the Pod gets a sidecar.
func (o Options) inject(q *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	var pod corev1.Pod
	if q.Resource.Resource != "pods" || q.Resource.Group != "" {
		return refused(http.StatusBadRequest, metav1.StatusReasonBadRequest, "only Pods are injected, not "+q.Resource.Resource)
	}
	if err := json.Unmarshal(q.Object.Raw, &pod); err != nil {
		return refused(http.StatusBadRequest, metav1.StatusReasonBadRequest, "the Pod cannot be read: "+err.Error())
	}
	// The namespace is that of the request: a Pod of a Deployment does not say it itself.
	if pod.Namespace == "" {
		pod.Namespace = q.Namespace
	}
	var ns *corev1.Namespace
	if found := o.Source.View().Get("Namespace", "", q.Namespace); found != nil {
		ns, _ = found.Value.(*corev1.Namespace)
	}
	settings := o.Inject
	settings.ProxyConfigs = o.Source.View().Of("ProxyConfig")
	after, injected, err := inject.Pod(&pod, ns, settings)
	if err != nil {
		return refused(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid,
			fmt.Sprintf("the sidecar cannot be injected into %s: %v", podName(&pod), err))
	}
	if !injected {
		return allowed()
	}
	steps, err := patch(&pod, after)
	if err != nil {
		return refused(http.StatusInternalServerError, metav1.StatusReasonInternalError, "make the patch: "+err.Error())
	}
	text, err := json.Marshal(steps)
	if err != nil {
		return refused(http.StatusInternalServerError, metav1.StatusReasonInternalError, "make the patch: "+err.Error())
	}
	response := allowed()
	kind := admissionv1.PatchTypeJSONPatch
	response.Patch, response.PatchType = text, &kind
	return response
}

func podName(pod *corev1.Pod) string {
	name := pod.Name
	if name == "" {
		name = pod.GenerateName + "*"
	}
	return pod.Namespace + "/" + name
}

// validate refuses an object that has errors of its own or with what it refers to;
// warnings go to who applied it.
func (o Options) validate(q *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	if q.Operation == admissionv1.Delete {
		return allowed()
	}
	text, err := Document(q.Object.Raw)
	if err != nil {
		return refused(http.StatusBadRequest, metav1.StatusReasonBadRequest, "the object cannot be read: "+err.Error())
	}
	name := fmt.Sprintf("%s/%s/%s", q.Kind.Kind, q.Namespace, q.Name)
	objects, findings := config.Decode(name, 1, text)
	if len(objects) > 0 && o.Check != nil {
		findings = append(findings, o.Check(o.Source.View(), objects)...)
	}
	response := allowed()
	var errs []string
	for _, d := range findings {
		switch d.Severity {
		case config.Error:
			errs = append(errs, sentence(d))
		case config.Warning:
			response.Warnings = append(response.Warnings, sentence(d))
		}
	}
	if len(errs) > 0 {
		r := refused(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, strings.Join(slices.Compact(errs), "; "))
		r.Warnings = response.Warnings
		return r
	}
	return response
}

// sentence is a finding on one line. The object came as JSON, so that its place is the
// path of the field.
func sentence(d config.Diagnostic) string {
	text := d.Message
	if d.Path != "" && !strings.HasPrefix(text, d.Path) {
		text = d.Path + ": " + text
	}
	if d.Code != "" {
		text += " [" + d.Code + "]"
	}
	if d.Hint != "" {
		text += " (" + d.Hint + ")"
	}
	return text
}

// Document is an object of the API server as the YAML that somebody could have
// written: without what the server and its tools add for themselves, and without a
// status, which is not the user's to write.
func Document(raw []byte) ([]byte, error) {
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, err
	}
	delete(object, "status")
	if meta, ok := object["metadata"].(map[string]any); ok {
		for _, key := range []string{"managedFields", "resourceVersion", "uid", "generation", "selfLink", "finalizers"} {
			delete(meta, key)
		}
		if annotations, ok := meta["annotations"].(map[string]any); ok {
			delete(annotations, corev1.LastAppliedConfigAnnotation)
			if len(annotations) == 0 {
				delete(meta, "annotations")
			}
		}
	}
	return yaml.Marshal(object)
}
