package install

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/incluster"
	"github.com/windtunnel-mesh/windtunnel/mesh/webhook"
)

// The labels by which Pods come to the injector.
const (
	injectLabel    = "sidecar.istio.io/inject"
	namespaceLabel = "istio-injection"
	revisionLabel  = "istio.io/rev"
	namespaceName  = "kubernetes.io/metadata.name" // Kubernetes sets it on every namespace
	revision       = "default"
)

func is(key string, values ...string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpIn, Values: values}
}

func isNot(key string, values ...string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpNotIn, Values: values}
}

func absent(key string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpDoesNotExist}
}

// mutating sends new Pods to the injector, by four webhooks whose selectors exclude
// each other and are Istio's: the namespace asks for injection, or for our revision;
// the Pod asks in a namespace that says nothing, or asks for our revision there.
//
// A Pod that asks for a sidecar and cannot have one is refused (failurePolicy Fail):
// it would speak plain text and obey no policy, and nobody would notice. The events
// of its ReplicaSet say why. What the control plane itself needs to come up can never
// be blocked by this: its own namespace and Kubernetes' are left out by name, whatever
// their labels are.
func (s *Settings) mutating() *admissionv1.MutatingWebhookConfiguration {
	name, _ := incluster.WebhookNames(s.Namespace)
	c := &admissionv1.MutatingWebhookConfiguration{TypeMeta: kind("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "sidecar-injector"}}}
	type requirements = []metav1.LabelSelectorRequirement
	for _, w := range []struct {
		name           string
		namespace, pod requirements
	}{
		{"namespace.sidecar-injector.istio.io", requirements{is(namespaceLabel, "enabled")}, requirements{isNot(injectLabel, "false")}},
		{"rev.namespace.sidecar-injector.istio.io", requirements{is(revisionLabel, revision), absent(namespaceLabel)}, requirements{isNot(injectLabel, "false")}},
		{"object.sidecar-injector.istio.io", requirements{absent(namespaceLabel), absent(revisionLabel)},
			requirements{is(injectLabel, "true"), absent(revisionLabel)}},
		{"rev.object.sidecar-injector.istio.io", requirements{absent(namespaceLabel), absent(revisionLabel)},
			requirements{is(revisionLabel, revision), isNot(injectLabel, "false")}},
	} {
		never := isNot(namespaceName, s.Namespace, "kube-system", "kube-public", "kube-node-lease", "local-path-storage")
		c.Webhooks = append(c.Webhooks, admissionv1.MutatingWebhook{
			Name: w.name, ClientConfig: s.clientConfig(webhook.InjectPath),
			Rules: []admissionv1.RuleWithOperations{{Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule: admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}}}},
			NamespaceSelector:       &metav1.LabelSelector{MatchExpressions: append(w.namespace, never)},
			ObjectSelector:          &metav1.LabelSelector{MatchExpressions: w.pod},
			FailurePolicy:           pointer(admissionv1.Fail),
			SideEffects:             pointer(admissionv1.SideEffectClassNone),
			TimeoutSeconds:          pointer(int32(10)),
			ReinvocationPolicy:      pointer(admissionv1.NeverReinvocationPolicy),
			AdmissionReviewVersions: []string{"v1"},
		})
	}
	return c
}

// validating asks the control plane about configuration. Where it does not answer,
// configuration is accepted (failurePolicy Ignore): the control plane refuses what it
// cannot use when it reads it, too, and keeps what it had, so that nothing is lost;
// with Fail, a control plane that is down would keep people from the very change
// that repairs it.
func (s *Settings) validating() *admissionv1.ValidatingWebhookConfiguration {
	_, name := incluster.WebhookNames(s.Namespace)
	return &admissionv1.ValidatingWebhookConfiguration{TypeMeta: kind("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": controlPlane}},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "validation.istio.io", ClientConfig: s.clientConfig(webhook.ValidatePath),
			Rules: []admissionv1.RuleWithOperations{{Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
				Rule: admissionv1.Rule{APIVersions: []string{"*"}, Resources: []string{"*"},
					APIGroups: []string{"networking.istio.io", "security.istio.io", "telemetry.istio.io", "gateway.networking.k8s.io"}}}},
			FailurePolicy:           pointer(admissionv1.Ignore),
			SideEffects:             pointer(admissionv1.SideEffectClassNone),
			TimeoutSeconds:          pointer(int32(10)),
			AdmissionReviewVersions: []string{"v1"},
		}}}
}

// clientConfig leads to the control plane's Service. The caBundle is not ours to
// write: the control plane does, which has the CA.
func (s *Settings) clientConfig(path string) admissionv1.WebhookClientConfig {
	return admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{
		Name: controlPlane, Namespace: s.Namespace, Path: &path, Port: pointer(int32(443))}}
}
