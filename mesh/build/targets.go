package build

import (
	"fmt"

	typepb "istio.io/api/type/v1beta1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// gatewayNameLabel is on the Pods of a Gateway of the Kubernetes Gateway API: its name.
const gatewayNameLabel = "gateway.networking.k8s.io/gateway-name"

// targeted is who a policy is for, as selectors of which one has to match: the one that
// it has, or one for each Gateway of its namespace that it refers to. The other kinds
// that Istio takes are for waypoints, which are not here. It is empty where no reference
// is left.
func (b *builder) targeted(o *config.Object, selector map[string]string, one *typepb.PolicyTargetReference, several []*typepb.PolicyTargetReference) []map[string]string {
	type reference struct {
		*typepb.PolicyTargetReference
		path string
	}
	var refs []reference
	if one != nil {
		refs = append(refs, reference{one, "spec.targetRef"})
	}
	for i, r := range several {
		refs = append(refs, reference{r, fmt.Sprintf("spec.targetRefs[%d]", i)})
	}
	if len(refs) == 0 {
		return []map[string]string{selectorOf(selector)}
	}
	if len(selector) > 0 {
		b.report(o, config.Error, config.CodeExclusive, "spec.selector", "a selector and target references exclude each other", "")
	}
	var list []map[string]string
	for _, r := range refs {
		switch {
		case r.GetNamespace() != "" && r.GetNamespace() != o.Namespace:
			b.report(o, config.Error, CodeUnsupported, r.path+".namespace", fmt.Sprintf("a target in namespace %s is not supported: it is in the policy's own", r.GetNamespace()), "")
		case r.GetGroup() != "gateway.networking.k8s.io" || r.GetKind() != "Gateway":
			b.report(o, config.Error, CodeUnsupported, r.path+".kind", fmt.Sprintf("a target of kind %s (group %q) is not supported: it is for waypoints", r.GetKind(), r.GetGroup()), "a Gateway of gateway.networking.k8s.io, or a selector")
		default:
			list = append(list, map[string]string{gatewayNameLabel: r.GetName()})
		}
	}
	return list
}
