package inject

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// The labels and annotations that decide.
const (
	injectKey       = "sidecar.istio.io/inject"
	statusKey       = "sidecar.istio.io/status"
	namespaceKey    = "istio-injection"
	revisionKey     = "istio.io/rev"
	defaultRevision = "default"
)

// systemNamespaces are never injected.
var systemNamespaces = []string{"kube-system", "kube-public", "kube-node-lease", "local-path-storage"}

// Decide tells whether a Pod gets a sidecar, and why or why not. The rules are those
// of Istio's webhooks and of its injector behind them: the namespace's labels and the
// Pod's label choose the webhook (an annotation cannot), the Pod's label and then its
// annotation have the last word. A nil Namespace has no labels.
func Decide(pod *corev1.Pod, ns *corev1.Namespace, o Options) (bool, string) {
	if o.Revision == "" {
		o.Revision = defaultRevision
	}
	switch {
	case pod.Annotations[statusKey] != "":
		return false, "the Pod has a sidecar already"
	case pod.Spec.HostNetwork:
		return false, "the Pod uses its host's network"
	case slices.Contains(systemNamespaces, namespaceOf(pod, ns)):
		return false, "the namespace " + namespaceOf(pod, ns) + " belongs to Kubernetes"
	}
	if label, ok := pod.Labels[injectKey]; ok && label == "false" {
		return false, "the Pod's label " + injectKey + " is false"
	}
	chosen, reason := o.selects(pod, ns)
	if !chosen {
		return false, reason
	}
	for _, from := range []struct {
		kind   string
		values map[string]string
	}{{"label", pod.Labels}, {"annotation", pod.Annotations}} {
		switch value := from.values[injectKey]; strings.ToLower(value) {
		case "":
		case "true", "yes", "y", "on":
			return true, fmt.Sprintf("the Pod's %s %s is %s", from.kind, injectKey, value)
		default:
			return false, fmt.Sprintf("the Pod's %s %s is %s", from.kind, injectKey, value)
		}
	}
	return true, reason
}

// selects tells whether one of the webhooks of our revision sees the Pod.
func (o *Options) selects(pod *corev1.Pod, ns *corev1.Namespace) (bool, string) {
	var labels map[string]string
	if ns != nil {
		labels = ns.Labels
	}
	injection, hasInjection := labels[namespaceKey]
	revision, hasRevision := labels[revisionKey]
	switch {
	case hasInjection && injection == "enabled" && o.Revision == defaultRevision:
		return true, "the namespace's label istio-injection is enabled"
	case hasInjection && injection == "enabled":
		return false, "the namespace's label istio-injection asks for the revision default, this one is " + o.Revision
	case hasInjection:
		return false, "the namespace's label istio-injection is " + injection
	case hasRevision && revision == o.Revision:
		return true, "the namespace's label istio.io/rev is " + revision
	case hasRevision:
		return false, "the namespace's label istio.io/rev is " + revision + ", this revision is " + o.Revision
	}
	podRevision, ok := pod.Labels[revisionKey]
	switch {
	case ok && podRevision == o.Revision:
		return true, "the Pod's label istio.io/rev is " + podRevision
	case ok:
		return false, "the Pod's label istio.io/rev is " + podRevision + ", this revision is " + o.Revision
	case pod.Labels[injectKey] == "true" && o.Revision == defaultRevision:
		return true, "the Pod's label sidecar.istio.io/inject is true"
	}
	return false, "the namespace has no label istio-injection or istio.io/rev"
}

func namespaceOf(pod *corev1.Pod, ns *corev1.Namespace) string {
	switch {
	case pod.Namespace != "":
		return pod.Namespace
	case ns != nil && ns.Name != "":
		return ns.Name
	}
	return "default"
}
