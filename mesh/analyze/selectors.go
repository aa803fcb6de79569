package analyze

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	telemetrypb "istio.io/api/telemetry/v1alpha1"
	typepb "istio.io/api/type/v1beta1"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	telemetryv1 "istio.io/client-go/pkg/apis/telemetry/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/build"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// gatewayName labels the Pods of a Gateway of the Gateway API with its name.
const gatewayName = "gateway.networking.k8s.io/gateway-name"

// selecting is an object that holds for workloads by their labels.
type selecting struct {
	object   *config.Object
	selector map[string]string
	targeted bool // it names what it is for instead
}

// selecting lists the policies and Telemetries.
func (a *analysis) selecting() []selecting {
	var list []selecting
	add := func(o *config.Object, s *typepb.WorkloadSelector, one *typepb.PolicyTargetReference, several []*typepb.PolicyTargetReference) {
		list = append(list, selecting{o, s.GetMatchLabels(), one != nil || len(several) > 0})
	}
	each(a, "AuthorizationPolicy", func(o *config.Object, v *securityv1.AuthorizationPolicy) {
		add(o, v.Spec.GetSelector(), v.Spec.GetTargetRef(), v.Spec.GetTargetRefs())
	})
	each(a, "RequestAuthentication", func(o *config.Object, v *securityv1.RequestAuthentication) {
		add(o, v.Spec.GetSelector(), v.Spec.GetTargetRef(), v.Spec.GetTargetRefs())
	})
	each(a, "Telemetry", func(o *config.Object, v *telemetryv1.Telemetry) {
		add(o, v.Spec.GetSelector(), v.Spec.GetTargetRef(), v.Spec.GetTargetRefs())
	})
	return list
}

// selected are the workloads that an object holds for.
func (a *analysis) selected(s selecting) []*model.Workload {
	var list []*model.Workload
	for _, w := range a.workloads {
		if (s.object.Namespace == a.root || s.object.Namespace == w.Namespace) && model.Selects(s.selector, w.Labels) {
			list = append(list, w)
		}
	}
	return list
}

// gatewaySelectors tells of policies that find the Pods of a Gateway of the Gateway API by
// their labels. Those are the controller's to choose; a target reference holds whatever
// they are, and an installation may switch selectors off for them.
func (a *analysis) gatewaySelectors() {
	for _, s := range a.selecting() {
		if len(s.selector) == 0 || s.targeted {
			continue
		}
		name, ok := s.selector[gatewayName]
		if !ok {
			list := a.selected(s)
			for _, w := range list {
				if name = w.Labels[gatewayName]; name == "" {
					break
				}
			}
			if len(list) == 0 || name == "" {
				continue
			}
		}
		a.report(s.object, config.Info, CodeGatewaySelector, "spec.selector", fmt.Sprintf("the selector is for the Pods of Gateway %s, whose labels are made by its controller", name),
			fmt.Sprintf("write targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: %s}]", name))
	}
}

// telemetrySelectors finds Telemetries for workloads that are not there. Where there are
// none at all (files on a disk) nothing can be said.
func (a *analysis) telemetrySelectors() {
	for _, s := range a.selecting() {
		if s.object.Kind != "Telemetry" || len(s.selector) == 0 || s.targeted || len(a.workloads) == 0 || len(a.selected(s)) > 0 {
			continue
		}
		where := " in namespace " + s.object.Namespace
		if s.object.Namespace == a.root {
			where = ""
		}
		a.report(s.object, config.Warning, build.CodeNoWorkload, "spec.selector", fmt.Sprintf("no Pod%s has the labels of the selector", where), "")
	}
}

// emptyNamespaces tells of AuthorizationPolicies for all workloads of a namespace that has
// none, where others have.
func (a *analysis) emptyNamespaces() {
	for _, s := range a.selecting() {
		if s.object.Kind != "AuthorizationPolicy" || len(s.selector) > 0 || s.targeted || len(a.others()) == 0 || len(a.selected(s)) > 0 {
			continue
		}
		a.report(s.object, config.Info, CodeEmptyNamespace, "metadata", fmt.Sprintf("the policy is for all workloads of namespace %s, which has none", s.object.Namespace), "")
	}
}

// others are the workloads that are not the mesh's own.
func (a *analysis) others() []*model.Workload {
	var list []*model.Workload
	for _, w := range a.workloads {
		if w.Namespace != a.root {
			list = append(list, w)
		}
	}
	return list
}

// ambientSidecars finds Sidecars in namespaces whose Pods have none, being in ambient mode.
func (a *analysis) ambientSidecars() {
	each(a, "Sidecar", func(o *config.Object, _ *networkingv1.Sidecar) {
		n, ok := valueOf[*corev1.Namespace](a.view.Get("Namespace", "", o.Namespace))
		if !ok || n.Labels["istio.io/dataplane-mode"] != "ambient" || n.Labels["istio-injection"] == "enabled" || n.Labels["istio.io/rev"] != "" {
			return
		}
		a.report(o, config.Warning, CodeAmbientSidecar, "metadata", fmt.Sprintf("namespace %s is in ambient mode: its Pods have no sidecars that this could be for", o.Namespace), "")
	})
}

// logProviders finds Telemetries that say which requests are logged, or that none are,
// where neither they nor a level above nor the default providers say by whom: without a
// provider they have no effect.
func (a *analysis) logProviders() {
	if len(a.mesh.Settings.AccessLogs) > 0 {
		return
	}
	named := map[string]bool{} // namespaces whose workloads have a provider by a level
	each(a, "Telemetry", func(o *config.Object, t *telemetryv1.Telemetry) {
		if t.Spec.GetSelector() == nil && t.Spec.GetTargetRef() == nil && len(t.Spec.GetTargetRefs()) == 0 && slices.ContainsFunc(t.Spec.GetAccessLogging(), func(l *telemetrypb.AccessLogging) bool { return len(l.GetProviders()) > 0 }) {
			named[o.Namespace] = true
		}
	})
	effect := "no log is written for it"
	if a.mesh.Settings.FallbackLog != nil {
		effect = "meshConfig.accessLogFile is written as without it"
	}
	each(a, "Telemetry", func(o *config.Object, t *telemetryv1.Telemetry) {
		for i, l := range t.Spec.GetAccessLogging() {
			if len(l.GetProviders()) == 0 && !named[o.Namespace] && !named[a.root] {
				a.report(o, config.Warning, CodeNoLogProvider, fmt.Sprintf("spec.accessLogging[%d]", i),
					"this has no effect, as neither it nor a Telemetry above it nor meshConfig.defaultProviders.accessLogging names a provider: "+effect, "write providers: [{name: envoy}]")
			}
		}
	})
}

// tokenKeys finds keys that are fetched from a Service that is not there.
func (a *analysis) tokenKeys() {
	each(a, "RequestAuthentication", func(o *config.Object, r *securityv1.RequestAuthentication) {
		for i, rule := range r.Spec.GetJwtRules() {
			u, err := url.Parse(rule.GetJwksUri())
			if err != nil || u.Hostname() == "" {
				continue
			}
			host := u.Hostname()
			if strings.HasSuffix(host, ".svc") {
				host += "." + a.mesh.Settings.ClusterDomain
			}
			if !strings.HasSuffix(host, ".svc."+a.mesh.Settings.ClusterDomain) || a.mesh.Hosts(host) {
				continue
			}
			a.report(o, config.Warning, CodeUnknownKeys, fmt.Sprintf("spec.jwtRules[%d].jwksUri", i),
				fmt.Sprintf("no service has the host %q: there are no keys, and all tokens of %s are refused", u.Hostname(), rule.GetIssuer()), "")
		}
	})
}
