package analyze

import (
	"fmt"

	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1alpha3 "istio.io/client-go/pkg/apis/networking/v1alpha3"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// relativeOperations need something to be there: what they are before, behind, or in place of.
var relativeOperations = map[networkingpb.EnvoyFilter_Patch_Operation]bool{
	networkingpb.EnvoyFilter_Patch_INSERT_BEFORE: true, networkingpb.EnvoyFilter_Patch_INSERT_AFTER: true,
	networkingpb.EnvoyFilter_Patch_REPLACE: true, networkingpb.EnvoyFilter_Patch_REMOVE: true,
}

// envoyFilters tells of patches that are relative to something. If another EnvoyFilter
// brings that, it has to come first, and without a priority age decides which one does.
func (a *analysis) envoyFilters() {
	brought := map[string]*config.Object{} // by the name of a filter
	each(a, "EnvoyFilter", func(o *config.Object, f *networkingv1alpha3.EnvoyFilter) {
		for _, p := range f.Spec.GetConfigPatches() {
			name := p.GetPatch().GetValue().GetFields()["name"].GetStringValue()
			if op := p.GetPatch().GetOperation(); name != "" && op != networkingpb.EnvoyFilter_Patch_MERGE && op != networkingpb.EnvoyFilter_Patch_REPLACE && brought[name] == nil {
				brought[name] = o
			}
		}
	})
	each(a, "EnvoyFilter", func(o *config.Object, f *networkingv1alpha3.EnvoyFilter) {
		if f.Spec.GetPriority() != 0 {
			return
		}
		for i, p := range f.Spec.GetConfigPatches() {
			a.relativePatch(o, fmt.Sprintf("spec.configPatches[%d]", i), p, brought)
		}
	})
}

func (a *analysis) relativePatch(o *config.Object, path string, p *networkingpb.EnvoyFilter_EnvoyConfigObjectPatch, brought map[string]*config.Object) {
	op := p.GetPatch().GetOperation()
	if !relativeOperations[op] {
		return
	}
	to := anchor(p.GetMatch())
	severity, text := config.Info, fmt.Sprintf("%s depends on what is there already, and the EnvoyFilter has no priority: of several the oldest is applied first", op)
	if by := brought[to]; to != "" && by != nil && by != o {
		severity = config.Warning
		text = fmt.Sprintf("%s needs %s, which %s brings: without a priority the older of the two is applied first, so that this one may find nothing", op, to, by.Key())
	}
	a.report(o, severity, CodeRelativePatch, path+".patch.operation", text, "give the later one a higher priority")
	if version := p.GetMatch().GetProxy().GetProxyVersion(); version != "" {
		a.report(o, config.Info, CodeVersionedPatch, path+".match.proxy.proxyVersion",
			fmt.Sprintf("%s is relative to what proxies of version %q have: another version may not have it", op, version), "look at it again with each upgrade")
	}
}

// anchor is the name of the innermost thing that a match is about.
func anchor(m *networkingpb.EnvoyFilter_EnvoyConfigObjectMatch) string {
	filter := m.GetListener().GetFilterChain().GetFilter()
	switch {
	case filter.GetSubFilter().GetName() != "":
		return filter.GetSubFilter().GetName()
	case filter.GetName() != "":
		return filter.GetName()
	}
	return m.GetListener().GetListenerFilter()
}
