package kube

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// Kind is one kind of object that the control plane reads.
type Kind struct {
	Group, Name string
	// Versions that are read, the preferred one first.
	Versions []string
	Cluster  bool // cluster-scoped
	// Custom kinds exist where somebody installed their CustomResourceDefinition.
	Custom bool
	// fields selects what is worth reading.
	fields string
}

// core are Kubernetes' own kinds that the control plane reads, and nothing else of
// Kubernetes: the installer's roles grant what stands here.
//
// Secrets are read for the certificates of gateways, so that those that Kubernetes'
// and Helm's own bookkeeping makes are left out.
var core = []Kind{
	{Name: "Namespace", Versions: []string{"v1"}, Cluster: true},
	{Name: "Node", Versions: []string{"v1"}, Cluster: true},
	{Name: "Pod", Versions: []string{"v1"}},
	{Name: "Service", Versions: []string{"v1"}},
	{Name: "Secret", Versions: []string{"v1"},
		fields: "type!=kubernetes.io/service-account-token,type!=helm.sh/release.v1,type!=istio.io/ca-root,type!=bootstrap.kubernetes.io/token"},
	{Group: "discovery.k8s.io", Name: "EndpointSlice", Versions: []string{"v1"}},
	{Group: "networking.k8s.io", Name: "Ingress", Versions: []string{"v1"}},
	{Group: "networking.k8s.io", Name: "IngressClass", Versions: []string{"v1"}, Cluster: true},
}

// customGroups are the API groups whose kinds are all read.
var customGroups = []string{"networking.istio.io", "security.istio.io", "telemetry.istio.io", "gateway.networking.k8s.io"}

// Kinds are all kinds that the control plane reads from a cluster.
func Kinds() []Kind {
	kinds := slices.Clone(core)
	for _, k := range config.Kinds() {
		if slices.Contains(customGroups, k.Group) {
			kinds = append(kinds, Kind{Group: k.Group, Name: k.Name, Versions: k.Versions, Cluster: k.Cluster, Custom: true})
		}
	}
	return kinds
}

// Plural is the name of the kind in the API's paths.
func (k Kind) Plural() string { return Plural(k.Name) }

// Resource is where the kind's objects of a version are.
func (k Kind) Resource(version string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: k.Group, Version: version, Resource: k.Plural()}
}

// Plural is the name of a kind in the API's paths, by the rule that all kinds follow
// that we know.
func Plural(kind string) string {
	name := strings.ToLower(kind)
	switch {
	case name == "endpoints":
		return name
	case strings.HasSuffix(name, "s"):
		return name + "es"
	case strings.HasSuffix(name, "y") && !strings.HasSuffix(name, "ay"):
		return strings.TrimSuffix(name, "y") + "ies"
	}
	return name + "s"
}
