package install

import (
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/incluster"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
)

var (
	reading = []string{"get", "list", "watch"}
	making  = []string{"get", "list", "create", "patch", "delete"}
)

// permissions are the control plane's account and what it may do: read the kinds that
// make the mesh, ask who a token belongs to, write the root certificate, deploy Gateways
// of the Gateway API, say in their, their routes' and Ingresses' status what became of them, and complete its own webhooks. It may not write anything else
// outside of its namespace.
func (s *Settings) permissions() []any {
	// Cluster-wide names have the namespace: two installations must not share them.
	role := "istiod-" + s.Namespace
	mutating, validating := incluster.WebhookNames(s.Namespace)
	rules := append(reads(),
		rbacv1.PolicyRule{APIGroups: []string{"apiextensions.k8s.io"}, Resources: []string{"customresourcedefinitions"}, Verbs: reading},
		rbacv1.PolicyRule{APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"tokenreviews"}, Verbs: []string{"create"}},
		// The watch is of this one name, in all namespaces.
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{inject.RootConfigMap},
			Verbs: []string{"get", "list", "watch", "create", "patch"}},
		// What is made for Gateways of the Gateway API is written in their namespaces, and
		// looked for by label; what is no longer wanted goes. The Service is read anyway.
		rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: making},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"services", "serviceaccounts"}, Verbs: making},
		rbacv1.PolicyRule{APIGroups: []string{gatewayGroup}, Resources: []string{"gatewayclasses"}, Verbs: []string{"create", "patch"}},
		rbacv1.PolicyRule{APIGroups: []string{gatewayGroup}, Verbs: []string{"patch"}, Resources: []string{
			"gatewayclasses/status", "gateways/status", "httproutes/status", "grpcroutes/status", "tlsroutes/status", "tcproutes/status"}},
		rbacv1.PolicyRule{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"ingresses/status"}, Verbs: []string{"patch"}},
		rbacv1.PolicyRule{APIGroups: []string{"admissionregistration.k8s.io"}, Resources: []string{"mutatingwebhookconfigurations"},
			ResourceNames: []string{mutating}, Verbs: []string{"get", "list", "watch", "patch"}},
		rbacv1.PolicyRule{APIGroups: []string{"admissionregistration.k8s.io"}, Resources: []string{"validatingwebhookconfigurations"},
			ResourceNames: []string{validating}, Verbs: []string{"get", "list", "watch", "patch"}},
	)
	own := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{incluster.MeshConfigMap}, Verbs: reading},
		// The name of an object that is being created is not known to the authorizer.
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}},
		{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"create"}},
		{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: []string{incluster.GatewayLease}, Verbs: []string{"get", "update"}},
	}
	subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Name: account, Namespace: s.Namespace}}
	const api = "rbac.authorization.k8s.io"
	cluster := metav1.ObjectMeta{Name: role, Labels: map[string]string{"app": controlPlane}}
	return []any{
		&corev1.ServiceAccount{TypeMeta: kind("v1", "ServiceAccount"), ObjectMeta: s.meta(account)},
		&rbacv1.ClusterRole{TypeMeta: kind(api+"/v1", "ClusterRole"), ObjectMeta: cluster, Rules: rules},
		&rbacv1.ClusterRoleBinding{TypeMeta: kind(api+"/v1", "ClusterRoleBinding"), ObjectMeta: cluster, Subjects: subjects,
			RoleRef: rbacv1.RoleRef{APIGroup: api, Kind: "ClusterRole", Name: role}},
		&rbacv1.Role{TypeMeta: kind(api+"/v1", "Role"), ObjectMeta: s.meta(account), Rules: own},
		&rbacv1.RoleBinding{TypeMeta: kind(api+"/v1", "RoleBinding"), ObjectMeta: s.meta(account), Subjects: subjects,
			RoleRef: rbacv1.RoleRef{APIGroup: api, Kind: "Role", Name: account}},
	}
}

// reads grants reading of every kind that the control plane reads, by group.
func reads() []rbacv1.PolicyRule {
	var rules []rbacv1.PolicyRule
	at := make(map[string]int)
	for _, k := range kube.Kinds() {
		i, ok := at[k.Group]
		if !ok {
			i = len(rules)
			at[k.Group] = i
			rules = append(rules, rbacv1.PolicyRule{APIGroups: []string{k.Group}, Verbs: reading})
		}
		rules[i].Resources = append(rules[i].Resources, k.Plural())
	}
	return rules
}
