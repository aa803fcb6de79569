package inject

import (
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// workload is what a proxy says about whom it stands before.
type workload struct {
	namespace string
	name      string // of the controller
	owner     string // the controller's address in Istio's notation
	account   string
}

// workloadOf finds a Pod's workload. A ReplicaSet whose name ends in the Pod's
// template hash was made by a Deployment.
func workloadOf(pod *corev1.Pod, ns *corev1.Namespace) workload {
	w := workload{namespace: namespaceOf(pod, ns), account: pod.Spec.ServiceAccountName}
	if w.account == "" {
		w.account = "default"
	}
	version, kind, name := "v1", "Pod", pod.Name
	if name == "" {
		name = strings.TrimSuffix(pod.GenerateName, "-")
	}
	for _, o := range pod.OwnerReferences {
		if o.Controller == nil || !*o.Controller {
			continue
		}
		version, kind, name = o.APIVersion, o.Kind, o.Name
		if hash := pod.Labels["pod-template-hash"]; kind == "ReplicaSet" && hash != "" {
			if deployment, ok := strings.CutSuffix(name, "-"+hash); ok {
				kind, name = "Deployment", deployment
			}
		}
	}
	w.name = name
	w.owner = "kubernetes://apis/" + version + "/namespaces/" + w.namespace + "/" + strings.ToLower(kind) + "s/" + name
	return w
}

// The labels of Istio's metrics.
const (
	canonicalName     = "service.istio.io/canonical-name"
	canonicalRevision = "service.istio.io/canonical-revision"
)

// tlsModeKey is the label of Pods whose sidecar ends mutual TLS.
const tlsModeKey = "security.istio.io/tlsMode"

// addLabels adds the labels that tell others about the proxy. What the Pod has stays.
func addLabels(labels map[string]string, w workload) map[string]string {
	all := map[string]string{
		tlsModeKey:        "istio",
		canonicalName:     first(labels, w.name, "app.kubernetes.io/name", "app"),
		canonicalRevision: first(labels, "latest", "app.kubernetes.io/version", "version"),
	}
	maps.Copy(all, labels)
	return all
}

func first(labels map[string]string, otherwise string, keys ...string) string {
	for _, k := range keys {
		if labels[k] != "" {
			return labels[k]
		}
	}
	return otherwise
}
