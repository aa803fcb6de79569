package install

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
)

// gatewayGroup has definitions of its own, which the Gateway API's project releases
// and others share; they are not ours to install.
const gatewayGroup = "gateway.networking.k8s.io"

// shortNames are those that people type.
var shortNames = map[string][]any{
	"VirtualService": {"vs"}, "DestinationRule": {"dr"}, "Gateway": {"gw"}, "ServiceEntry": {"se"},
	"WorkloadEntry": {"we"}, "WorkloadGroup": {"wg"}, "PeerAuthentication": {"pa"},
	"RequestAuthentication": {"ra"}, "AuthorizationPolicy": {"ap"},
}

// columns are what kubectl prints of a kind besides its name and age.
var columns = map[string][][2]string{
	"VirtualService":      {{"Gateways", ".spec.gateways"}, {"Hosts", ".spec.hosts"}},
	"DestinationRule":     {{"Host", ".spec.host"}},
	"ServiceEntry":        {{"Hosts", ".spec.hosts"}, {"Location", ".spec.location"}, {"Resolution", ".spec.resolution"}},
	"WorkloadEntry":       {{"Address", ".spec.address"}},
	"PeerAuthentication":  {{"Mode", ".spec.mtls.mode"}},
	"AuthorizationPolicy": {{"Action", ".spec.action"}},
}

// Definitions are the CustomResourceDefinitions of every custom kind that the control
// plane reads. Their schemas say only that there is a spec and a status: what may
// stand in a spec is the validating webhook's to say, in sentences.
func Definitions() []*unstructured.Unstructured {
	var list []*unstructured.Unstructured
	for _, k := range kube.Kinds() {
		if k.Custom && k.Group != gatewayGroup {
			list = append(list, definition(k))
		}
	}
	return list
}

func definition(k kube.Kind) *unstructured.Unstructured {
	names := map[string]any{"kind": k.Name, "listKind": k.Name + "List", "plural": k.Plural(), "singular": strings.ToLower(k.Name),
		"categories": []any{"istio-io", strings.ReplaceAll(k.Group, ".", "-")}}
	if short := shortNames[k.Name]; short != nil {
		names["shortNames"] = short
	}
	scope := "Namespaced"
	if k.Cluster {
		scope = "Cluster"
	}
	var versions []any
	for i, v := range k.Versions {
		versions = append(versions, version(k, v, i == 0))
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": k.Plural() + "." + k.Group},
		"spec":     map[string]any{"group": k.Group, "names": names, "scope": scope, "versions": versions},
	}}
}

// version of a kind. All of a kind's versions have one form, so that none needs to be
// converted; the preferred one is stored.
func version(k kube.Kind, name string, stored bool) map[string]any {
	open := func() map[string]any {
		return map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	}
	shown := []any{}
	for _, c := range columns[k.Name] {
		shown = append(shown, map[string]any{"name": c[0], "type": "string", "jsonPath": c[1]})
	}
	shown = append(shown, map[string]any{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"})
	return map[string]any{
		"name": name, "served": true, "storage": stored,
		"schema": map[string]any{"openAPIV3Schema": map[string]any{
			"type": "object", "properties": map[string]any{"spec": open(), "status": open()}}},
		"subresources":             map[string]any{"status": map[string]any{}},
		"additionalPrinterColumns": shown,
	}
}
