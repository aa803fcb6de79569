package config

import (
	"slices"
	"strings"

	meshpb "istio.io/api/mesh/v1alpha1"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	networkingv1alpha3 "istio.io/client-go/pkg/apis/networking/v1alpha3"
	networkingv1beta1 "istio.io/client-go/pkg/apis/networking/v1beta1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	telemetryv1 "istio.io/client-go/pkg/apis/telemetry/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingk8sv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// The API groups, and the versions that each serves; the first is the one to write.
const (
	groupNetworking = "networking.istio.io"
	groupSecurity   = "security.istio.io"
	groupTelemetry  = "telemetry.istio.io"
	groupInstall    = "install.istio.io"
	groupGateway    = "gateway.networking.k8s.io"
	groupFlagger    = "flagger.app"
)

// IstioOperator is istioctl's installation document, of which only the mesh
// configuration has a meaning here.
type IstioOperator struct {
	// MeshConfig is the defaults with spec.meshConfig over them.
	MeshConfig *meshpb.MeshConfig
}

// kind is what is known of one kind of object.
type kind struct {
	group    string
	versions []string // the preferred one first
	name     string
	cluster  bool // cluster-scoped: it has no namespace
	make     func() any
	defaults func(value any)
	validate func(c *checker)
}

// kinds are all kinds that can be decoded. Every version of a kind decodes into one type.
var kinds = []kind{
	{"", []string{"v1"}, "Service", false, of[corev1.Service], defaultService, validateService},
	//lint:ignore SA1019 people still write Endpoints
	{"", []string{"v1"}, "Endpoints", false, of[corev1.Endpoints], nil, nil},
	{"", []string{"v1"}, "Pod", false, of[corev1.Pod], defaultPod, validatePod},
	{"", []string{"v1"}, "Namespace", true, of[corev1.Namespace], nil, nil},
	{"", []string{"v1"}, "Node", true, of[corev1.Node], nil, nil},
	{"", []string{"v1"}, "Secret", false, of[corev1.Secret], defaultSecret, nil},
	{"", []string{"v1"}, "ConfigMap", false, of[corev1.ConfigMap], nil, nil},
	{"", []string{"v1"}, "ServiceAccount", false, of[corev1.ServiceAccount], nil, nil},
	{"apps", []string{"v1"}, "Deployment", false, of[appsv1.Deployment], defaultPod, validateDeployment},
	{"apps", []string{"v1"}, "StatefulSet", false, of[appsv1.StatefulSet], defaultPod, validateStatefulSet},
	{"apps", []string{"v1"}, "DaemonSet", false, of[appsv1.DaemonSet], defaultPod, validateDaemonSet},
	{"apps", []string{"v1"}, "ReplicaSet", false, of[appsv1.ReplicaSet], defaultPod, validateReplicaSet},
	{"discovery.k8s.io", []string{"v1"}, "EndpointSlice", false, of[discoveryv1.EndpointSlice], nil, nil},
	{"policy", []string{"v1"}, "PodDisruptionBudget", false, of[policyv1.PodDisruptionBudget], nil, nil},
	{groupKubernetesNetworks, []string{"v1"}, "Ingress", false, of[networkingk8sv1.Ingress], nil, validateIngress},
	{groupKubernetesNetworks, []string{"v1"}, "IngressClass", true, of[networkingk8sv1.IngressClass], nil, nil},

	{groupNetworking, []string{"v1", "v1beta1", "v1alpha3"}, "VirtualService", false, of[networkingv1.VirtualService], nil, validateVirtualService},
	{groupNetworking, []string{"v1", "v1beta1", "v1alpha3"}, "DestinationRule", false, of[networkingv1.DestinationRule], nil, validateDestinationRule},
	{groupNetworking, []string{"v1", "v1beta1", "v1alpha3"}, "Gateway", false, of[networkingv1.Gateway], nil, validateGateway},
	{groupNetworking, []string{"v1", "v1beta1", "v1alpha3"}, "ServiceEntry", false, of[networkingv1.ServiceEntry], nil, validateServiceEntry},
	{groupNetworking, []string{"v1", "v1beta1", "v1alpha3"}, "WorkloadEntry", false, of[networkingv1.WorkloadEntry], nil, validateWorkloadEntry},
	{groupNetworking, []string{"v1", "v1beta1", "v1alpha3"}, "WorkloadGroup", false, of[networkingv1.WorkloadGroup], nil, nil},
	{groupNetworking, []string{"v1", "v1beta1", "v1alpha3"}, "Sidecar", false, of[networkingv1.Sidecar], nil, validateSidecar},
	{groupNetworking, []string{"v1alpha3"}, "EnvoyFilter", false, of[networkingv1alpha3.EnvoyFilter], nil, nil},
	{groupNetworking, []string{"v1beta1"}, "ProxyConfig", false, of[networkingv1beta1.ProxyConfig], nil, validateProxyConfig},

	{groupSecurity, []string{"v1", "v1beta1"}, "PeerAuthentication", false, of[securityv1.PeerAuthentication], nil, validatePeerAuthentication},
	{groupSecurity, []string{"v1", "v1beta1"}, "RequestAuthentication", false, of[securityv1.RequestAuthentication], nil, nil},
	{groupSecurity, []string{"v1", "v1beta1"}, "AuthorizationPolicy", false, of[securityv1.AuthorizationPolicy], nil, nil},
	{groupTelemetry, []string{"v1", "v1alpha1"}, "Telemetry", false, of[telemetryv1.Telemetry], nil, nil},

	{groupGateway, []string{"v1", "v1beta1"}, "GatewayClass", true, of[gatewayv1.GatewayClass], nil, validateGatewayClass},
	{groupGateway, []string{"v1", "v1beta1"}, "Gateway", false, of[gatewayv1.Gateway], nil, validateAPIGateway},
	{groupGateway, []string{"v1", "v1beta1"}, "HTTPRoute", false, of[gatewayv1.HTTPRoute], nil, validateHTTPRoute},
	{groupGateway, []string{"v1", "v1alpha2"}, "GRPCRoute", false, of[gatewayv1.GRPCRoute], nil, validateGRPCRoute},
	{groupGateway, []string{"v1", "v1beta1"}, "ReferenceGrant", false, of[gatewayv1.ReferenceGrant], nil, validateReferenceGrant},
	{groupGateway, []string{"v1", "v1alpha3", "v1alpha2"}, "TLSRoute", false, of[gatewayv1.TLSRoute], nil, validateTLSRoute},
	{groupGateway, []string{"v1", "v1alpha2"}, "TCPRoute", false, of[gatewayv1.TCPRoute], nil, validateTCPRoute},
	{groupGateway, []string{"v1", "v1alpha2"}, "UDPRoute", false, of[gatewayv1.UDPRoute], nil, nil},
	{groupGateway, []string{"v1"}, "BackendTLSPolicy", false, of[gatewayv1.BackendTLSPolicy], nil, nil},
	{groupGateway, []string{"v1"}, "ListenerSet", false, of[gatewayv1.ListenerSet], nil, nil},

	{groupFlagger, []string{"v1beta1"}, "Canary", false, of[Canary], nil, validateCanary},
	{groupFlagger, []string{"v1beta1"}, "MetricTemplate", false, of[MetricTemplate], nil, validateMetricTemplate},

	{groupInstall, []string{"v1alpha1"}, "IstioOperator", false, nil, nil, nil},
}

func of[T any]() any { return new(T) }

// StoreKind is the kind by which stores keep the object. It is the Kind, but for the
// Gateway API's Gateway, which shares its Kind with Istio's.
func (o *Object) StoreKind() string {
	if o.Kind == "Gateway" && o.Group == groupGateway {
		return groupGateway + "/Gateway"
	}
	return o.Kind
}

func (k *kind) apiVersion(version string) string {
	if k.group == "" {
		return version
	}
	return k.group + "/" + version
}

// OfMesh reports whether an object configures the mesh: one of Istio's kinds, or of the
// Gateway API's.
func OfMesh(o *Object) bool {
	return slices.Contains([]string{groupNetworking, groupSecurity, groupTelemetry, groupGateway}, o.Group)
}

// find returns the kind of a group and name, or nil.
func find(group, name string) *kind {
	for i := range kinds {
		if kinds[i].group == group && kinds[i].name == name {
			return &kinds[i]
		}
	}
	return nil
}

// named returns the kinds of a name, in whatever group.
func named(name string) []*kind {
	var list []*kind
	for i := range kinds {
		if kinds[i].name == name {
			list = append(list, &kinds[i])
		}
	}
	return list
}

// kindNames are the names of all kinds, those of one group first.
func kindNames(group string) (own, all []string) {
	for _, k := range kinds {
		all = append(all, k.name)
		if k.group == group {
			own = append(own, k.name)
		}
	}
	return own, all
}

// knownGroup reports whether there is a kind of the group.
func knownGroup(group string) bool {
	return slices.ContainsFunc(kinds, func(k kind) bool { return k.group == group })
}

// apiVersions are all apiVersions that are known.
func apiVersions() []string {
	var all []string
	for i := range kinds {
		for _, v := range kinds[i].versions {
			all = append(all, kinds[i].apiVersion(v))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func splitAPIVersion(apiVersion string) (group, version string) {
	if g, v, ok := strings.Cut(apiVersion, "/"); ok {
		return g, v
	}
	return "", apiVersion
}

// KindInfo names a kind that can be decoded, with a new value of its type.
type KindInfo struct {
	Group, Name string
	Versions    []string // that are read, the preferred one first
	Cluster     bool     // cluster-scoped: it has no namespace
	Value       any      // nil: it is no Kubernetes object (IstioOperator)
}

// Kinds are all kinds that can be decoded, by group.
func Kinds() []KindInfo {
	list := make([]KindInfo, 0, len(kinds))
	for _, k := range kinds {
		i := KindInfo{Group: k.group, Name: k.name, Versions: k.versions, Cluster: k.cluster}
		if k.make != nil {
			i.Value = k.make()
		}
		list = append(list, i)
	}
	return list
}

// New returns a new value of a kind's type, nil where the kind is not known.
func New(group, name string) any {
	if k := find(group, name); k != nil && k.make != nil {
		return k.make()
	}
	return nil
}
