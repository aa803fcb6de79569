package analyze

import (
	"fmt"
	"slices"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	telemetryv1 "istio.io/client-go/pkg/apis/telemetry/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// owner is an object of which each workload may have one only.
type owner struct {
	object   *config.Object
	selector map[string]string
}

// rivals reports pairs of objects of one namespace that hold for the same workloads:
// both without a selector, or with selectors that one Pod satisfies. The older holds.
func (a *analysis) rivals(list []owner, code, kind string) {
	for i, o := range list {
		for _, other := range list[:i] {
			if o.object.Namespace != other.object.Namespace || (len(o.selector) == 0) != (len(other.selector) == 0) {
				continue
			}
			who := "all workloads of the namespace"
			if len(o.selector) > 0 {
				w := a.common(o, other)
				if w == nil {
					continue
				}
				who = "workload " + w.Workload
			}
			a.report(o.object, config.Error, code, "metadata.name",
				fmt.Sprintf("%s %s/%s holds for %s already: of two only one has an effect", kind, other.object.Namespace, other.object.Name, who), "merge both into one")
			break
		}
	}
}

func (a *analysis) common(o, other owner) *model.Workload {
	for _, w := range a.mesh.Workloads() {
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
	a.rivals(list, CodeSidecars, "Sidecar")
}

func (a *analysis) telemetryConflicts() {
	var list []owner
	each(a, "Telemetry", func(o *config.Object, t *telemetryv1.Telemetry) {
		list = append(list, owner{o, t.Spec.GetSelector().GetMatchLabels()})
	})
	a.rivals(list, CodeTelemetries, "Telemetry")
}

// clientTLS finds TLS to servers whose certificates nobody checks: without caCertificates
// any certificate will do.
func (a *analysis) clientTLS() {
	each(a, "DestinationRule", func(o *config.Object, d *networkingv1.DestinationRule) {
		check := func(path string, t *networkingpb.ClientTLSSettings) {
			simple := t.GetMode() == networkingpb.ClientTLSSettings_SIMPLE || t.GetMode() == networkingpb.ClientTLSSettings_MUTUAL
			if simple && t.GetCaCertificates() == "" && t.GetCredentialName() == "" {
				a.report(o, config.Warning, CodeNoVerification, path, fmt.Sprintf("mode %s without caCertificates: nobody checks the server's certificate", t.GetMode()),
					"name the authorities in caCertificates, and the server in subjectAltNames")
			}
		}
		policy := func(path string, p *networkingpb.TrafficPolicy) {
			check(path+".tls", p.GetTls())
			for i, l := range p.GetPortLevelSettings() {
				check(fmt.Sprintf("%s.portLevelSettings[%d].tls", path, i), l.GetTls())
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
	each(a, "AuthorizationPolicy", func(o *config.Object, p *securityv1.AuthorizationPolicy) {
		for i, r := range p.Spec.GetRules() {
			for j, f := range r.GetFrom() {
				for k, ns := range f.GetSource().GetNamespaces() {
					if !strings.Contains(ns, "*") && !known[ns] {
						a.report(o, config.Warning, CodeUnknownNamespace, fmt.Sprintf("spec.rules[%d].from[%d].source.namespaces[%d]", i, j, k),
							fmt.Sprintf("there is no namespace %q", ns), "")
					}
				}
			}
		}
	})
}

// namespaces looks at the labels that decide about sidecars.
func (a *analysis) namespaces() {
	each(a, "Namespace", func(o *config.Object, n *corev1.Namespace) {
		_, injection := n.Labels["istio-injection"]
		_, revision := n.Labels["istio.io/rev"]
		if injection && revision {
			a.report(o, config.Warning, CodeInjectionLabels, "metadata.labels", "istio-injection and istio.io/rev are both set: the first one holds", "keep one of them")
		}
		pods := slices.ContainsFunc(a.mesh.Workloads(), func(w *model.Workload) bool { return w.Namespace == o.Name })
		if pods && !injection && !revision {
			a.report(o, config.Info, CodeNotInjected, "metadata.name", fmt.Sprintf("the Pods of namespace %s get no sidecar unless they ask for one", o.Name),
				"label it istio-injection: enabled")
		}
	})
}
