package install

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
)

// gatewayGroup has definitions that its own project releases and others share. Where
// they are there they stay; ours are for clusters without.
const gatewayGroup = "gateway.networking.k8s.io"

// unread are the Gateway API's kinds that are refused by name: files may have them, and
// there is no reason to install them.
var unread = []string{"UDPRoute", "BackendTLSPolicy", "ListenerSet"}

// approval is what the API server wants to read on every definition below k8s.io: who
// approved it, or that nobody has.
const approval = "api-approved.kubernetes.io"

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

// gatewayNames are those of the Gateway API, whose Gateway is another than Istio's.
var gatewayNames = map[string]string{"Gateway": "gtw", "GatewayClass": "gc", "ReferenceGrant": "refgrant"}

// gatewayColumns are what kubectl prints of them.
var gatewayColumns = map[string][][2]string{
	"GatewayClass": {{"Controller", ".spec.controllerName"}, {"Accepted", `.status.conditions[?(@.type=="Accepted")].status`}},
	"Gateway": {{"Class", ".spec.gatewayClassName"}, {"Address", ".status.addresses[*].value"},
		{"Programmed", `.status.conditions[?(@.type=="Programmed")].status`}},
	"HTTPRoute": {{"Hostnames", ".spec.hostnames"}}, "GRPCRoute": {{"Hostnames", ".spec.hostnames"}}, "TLSRoute": {{"Hostnames", ".spec.hostnames"}},
}

// Definitions are the CustomResourceDefinitions of every custom kind that the control
// plane reads. Their schemas say only that there is a spec and a status: what may
// stand in a spec is the validating webhook's to say, in sentences.
func Definitions() []*unstructured.Unstructured {
	var list []*unstructured.Unstructured
	for _, k := range kube.Kinds() {
		if k.Custom && (k.Group != gatewayGroup || !slices.Contains(unread, k.Name)) {
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
	metadata := map[string]any{"name": k.Plural() + "." + k.Group}
	if k.Group == gatewayGroup {
		names["categories"] = []any{"gateway-api"}
		delete(names, "shortNames")
		if short := gatewayNames[k.Name]; short != "" {
			names["shortNames"] = []any{short}
		}
		metadata["annotations"] = map[string]any{approval: "unapproved, made by windtunnel for clusters without the definitions of the Gateway API's project"}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": metadata,
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
	list := columns[k.Name]
	if k.Group == gatewayGroup {
		list = gatewayColumns[k.Name]
	}
	for _, c := range list {
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
