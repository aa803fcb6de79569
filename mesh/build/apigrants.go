package build

import (
	"fmt"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// grant is a ReferenceGrant: what its namespace lets others refer to.
type grant struct {
	namespace string
	spec      *gatewayv1.ReferenceGrantSpec
}

func (a *gatewayAPI) readGrants() {
	for _, o := range a.view.Of("ReferenceGrant") {
		if g, ok := o.Value.(*gatewayv1.ReferenceGrant); ok {
			a.grants = append(a.grants, grant{o.Namespace, &g.Spec})
		}
	}
}

// granted reports whether objects of a kind of the Gateway API in a namespace may
// refer to an object in another one: one of that namespace's grants has to say so.
func (a *gatewayAPI) granted(kind, namespace, toGroup, toKind, toNamespace, toName string) bool {
	for _, g := range a.grants {
		if g.namespace != toNamespace {
			continue
		}
		from, to := false, false
		for _, f := range g.spec.From {
			from = from || string(f.Group) == groupGateway && string(f.Kind) == kind && string(f.Namespace) == namespace
		}
		for _, t := range g.spec.To {
			to = to || string(t.Group) == toGroup && string(t.Kind) == toKind && (t.Name == nil || *t.Name == "" || string(*t.Name) == toName)
		}
		if from && to {
			return true
		}
	}
	return false
}

// grantHint says which ReferenceGrant would help.
func grantHint(kind, namespace, toKind, toNamespace string) string {
	return fmt.Sprintf("create a ReferenceGrant in namespace %s, from kind %s in namespace %s, to kind %s", toNamespace, kind, namespace, toKind)
}
