package analyze

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	telemetryv1 "istio.io/client-go/pkg/apis/telemetry/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/spelling"
)

// owner is an object of which each workload may have one only.
type owner struct {
	object   *config.Object
	selector map[string]string
}

// rivals reports pairs of objects of one namespace that hold for the same workloads:
// both without a selector, or with selectors that one Pod satisfies. The older holds.
// Those of the first sort have the code all, the others some.
func (a *analysis) rivals(list []owner, all, some, kind string) {
	for i, o := range list {
		for _, other := range list[:i] {
			if o.object.Namespace != other.object.Namespace || (len(o.selector) == 0) != (len(other.selector) == 0) {
				continue
			}
			who, code := "all workloads of the namespace", all
			if len(o.selector) > 0 {
				w := a.common(o, other)
				if w == nil {
					continue
				}
				who, code = "workload "+w.Workload, some
			}
			a.report(o.object, config.Error, code, "metadata.name",
				fmt.Sprintf("%s %s/%s holds for %s already: of two only one has an effect", kind, other.object.Namespace, other.object.Name, who), "merge both into one")
			break
		}
	}
}

func (a *analysis) common(o, other owner) *model.Workload {
	for _, w := range a.workloads {
		if w.Namespace == o.object.Namespace && model.Selects(o.selector, w.Labels) && model.Selects(other.selector, w.Labels) {
			return w
		}
	}
	return nil
}

func (a *analysis) sidecarConflicts() {
	var list []owner
	each(a, "Sidecar", func(o *config.Object, s *networkingv1.Sidecar) {
		list = append(list, owner{o, s.Spec.GetWorkloadSelector().GetLabels()})
	})
	a.rivals(list, CodeNamespaceSidecars, CodeSidecars, "Sidecar")
}

func (a *analysis) telemetryConflicts() {
	var list []owner
	each(a, "Telemetry", func(o *config.Object, t *telemetryv1.Telemetry) {
		if t.Spec.GetTargetRef() == nil && len(t.Spec.GetTargetRefs()) == 0 {
			list = append(list, owner{o, t.Spec.GetSelector().GetMatchLabels()})
		}
	})
	a.rivals(list, CodeNamespaceTelemetries, CodeTelemetries, "Telemetry")
}

// clientTLS finds TLS to servers whose certificates nobody checks: without caCertificates
// any certificate will do. Sidecars read a credential only in rules for selected workloads
// (networking.istio.io, ClientTLSSettings).
func (a *analysis) clientTLS() {
	each(a, "DestinationRule", func(o *config.Object, d *networkingv1.DestinationRule) {
		check := func(code, path string, t *networkingpb.ClientTLSSettings) {
			simple := t.GetMode() == networkingpb.ClientTLSSettings_SIMPLE || t.GetMode() == networkingpb.ClientTLSSettings_MUTUAL
			switch {
			case !simple || t.GetCaCertificates() != "":
			case t.GetCredentialName() == "":
				a.report(o, config.Warning, code, path, fmt.Sprintf("mode %s without caCertificates: nobody checks the server's certificate", t.GetMode()),
					"name the authorities in caCertificates, and the server in subjectAltNames")
			case len(d.Spec.GetWorkloadSelector().GetMatchLabels()) == 0:
				a.report(o, config.Info, code, path+".credentialName", "credentialName is for gateways here: sidecars read it in rules with a workloadSelector only, and check no certificate",
					"add a workloadSelector if sidecars are meant")
			}
		}
		policy := func(path string, p *networkingpb.TrafficPolicy) {
			check(CodeNoVerification, path+".tls", p.GetTls())
			for i, l := range p.GetPortLevelSettings() {
				check(CodeNoPortVerification, fmt.Sprintf("%s.portLevelSettings[%d].tls", path, i), l.GetTls())
			}
		}
		policy("spec.trafficPolicy", d.Spec.GetTrafficPolicy())
		for i, s := range d.Spec.GetSubsets() {
			policy(fmt.Sprintf("spec.subsets[%d].trafficPolicy", i), s.GetTrafficPolicy())
		}
	})
}

// strictServers finds DestinationRules that switch mutual TLS off for workloads that
// take nothing else: each request is answered with 503.
func (a *analysis) strictServers() {
	for _, d := range a.mesh.Policies() {
		if d.Policy == nil || d.Policy.TLS == nil || d.Policy.TLS.Mode != model.TLSDisable && d.Policy.TLS.Mode != model.TLSSimple {
			continue
		}
		if service, by, ok := a.strict(d); ok {
			a.strictServer(d, service, by)
		}
	}
}

func (a *analysis) strict(d *model.DestinationRule) (service, by string, ok bool) {
	for _, s := range a.mesh.Services {
		if !model.MatchesWildcard(d.Host, s.Host) {
			continue
		}
		for _, p := range s.Ports {
			for _, e := range s.Endpoints.On(p) {
				if m := a.mesh.MTLS(e.Namespace, e.Labels); e.TLSMode == "istio" && m.On(e.Port) == model.Strict {
					return s.Host, m.Source.String(), true
				}
			}
		}
	}
	return "", "", false
}

func (a *analysis) strictServer(d *model.DestinationRule, service, by string) {
	o := a.view.Get("DestinationRule", d.Namespace, d.Name)
	if o == nil {
		return
	}
	a.report(o, config.Warning, CodeStrictServer, "spec.trafficPolicy.tls.mode",
		fmt.Sprintf("the workloads of %q take mutual TLS only (PeerAuthentication at %s): requests would be answered with 503", service, by),
		"leave tls out, or write mode: ISTIO_MUTUAL")
}

// policySources finds namespaces in AuthorizationPolicies that do not exist.
func (a *analysis) policySources() {
	known := map[string]bool{a.root: true}
	for _, o := range a.view.All() {
		known[o.Namespace] = true
		if o.Kind == "Namespace" {
			known[o.Name] = true
		}
	}
	names := slices.Sorted(maps.Keys(known))
	check := func(o *config.Object, path string, list []string) {
		for k, ns := range list {
			if !slices.ContainsFunc(names, func(n string) bool { return namespaceMatches(ns, n) }) {
				hint := ""
				if near := spelling.Nearest(ns, names); near != "" {
					hint = fmt.Sprintf("did you mean %q?", near)
				}
				a.report(o, config.Warning, CodeUnknownNamespace, fmt.Sprintf("%s[%d]", path, k), fmt.Sprintf("there is no namespace %q", ns), hint)
			}
		}
	}
	each(a, "AuthorizationPolicy", func(o *config.Object, p *securityv1.AuthorizationPolicy) {
		for i, r := range p.Spec.GetRules() {
			for j, f := range r.GetFrom() {
				at := fmt.Sprintf("spec.rules[%d].from[%d].source.", i, j)
				check(o, at+"namespaces", f.GetSource().GetNamespaces())
				check(o, at+"notNamespaces", f.GetSource().GetNotNamespaces())
			}
		}
	})
}

// namespaceMatches reports whether a value of a policy is true of a namespace: the name,
// the beginning or the end of one with a star, or a star for all.
func namespaceMatches(value, namespace string) bool {
	if prefix, ok := strings.CutSuffix(value, "*"); ok {
		return strings.HasPrefix(namespace, prefix)
	}
	if suffix, ok := strings.CutPrefix(value, "*"); ok {
		return strings.HasSuffix(namespace, suffix)
	}
	return value == namespace
}

// namespaces looks at the labels that decide about sidecars.
func (a *analysis) namespaces() {
	each(a, "Namespace", func(o *config.Object, n *corev1.Namespace) {
		_, injection := n.Labels["istio-injection"]
		_, revision := n.Labels["istio.io/rev"]
		on := n.Labels["istio-injection"] != "disabled"
		ambient := n.Labels["istio.io/dataplane-mode"] == "ambient"
		switch {
		case injection && revision && on:
			a.report(o, config.Warning, CodeInjectionLabels, "metadata.labels", "istio-injection and istio.io/rev are both set: the first one holds", "keep one of them")
		case ambient && (injection && on || revision && !injection):
			a.report(o, config.Warning, CodeInjectionLabels, "metadata.labels", "the labels ask for sidecars and for ambient mode: Pods with sidecars take no part in it", "keep one of them")
		}
		pods := slices.ContainsFunc(a.workloads, func(w *model.Workload) bool { return w.Namespace == o.Name })
		if pods && !injection && !revision {
			a.report(o, config.Info, CodeNotInjected, "metadata.name", fmt.Sprintf("the Pods of namespace %s get no sidecar unless they ask for one", o.Name),
				"label it istio-injection: enabled")
		}
	})
}
