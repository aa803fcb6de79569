package build

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	meshpb "istio.io/api/mesh/v1alpha1"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	telemetryv1 "istio.io/client-go/pkg/apis/telemetry/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// refusedKinds change behaviour in ways that the control plane does not have yet.
var refusedKinds = []string{
	"EnvoyFilter", "WasmPlugin", "ProxyConfig", "WorkloadGroup",
	"gateway.networking.k8s.io/Gateway", "GatewayClass", "HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute", "ReferenceGrant", "Ingress",
}

// refusedFields are "Message.field" of istio.io/api's protos that the control plane
// does not have yet. They are refused wherever they are set.
var refusedFields = map[string]bool{
	"VirtualService.tls":                                   true,
	"HTTPFaultInjection.Delay.exponential_delay":           true,
	"HTTPFaultInjection.Abort.http2_error":                 true,
	"L4MatchAttributes.destination_subnets":                true,
	"L4MatchAttributes.source_subnet":                      true,
	"DestinationRule.workload_selector":                    true,
	"TrafficPolicy.tunnel":                                 true,
	"TrafficPolicy.proxy_protocol":                         true,
	"TrafficPolicy.RetryBudget.budget_interval":            true,
	"LoadBalancerSettings.zone_aware_lb_setting":           true,
	"LocalityLoadBalancerSetting.distribute":               true,
	"LocalityLoadBalancerSetting.failover":                 true,
	"LocalityLoadBalancerSetting.failover_priority":        true,
	"OutlierDetection.outlier_detection_http_error_codes":  true,
	"ConnectionPoolSettings.HTTPSettings.http2_keep_alive": true,
	"ClientTLSSettings.credential_name":                    true,
	"ClientTLSSettings.ca_crl":                             true,
	"Server.default_endpoint":                              true,
	"ServerTLSSettings.server_certificate":                 true,
	"ServerTLSSettings.private_key":                        true,
	"ServerTLSSettings.ca_certificates":                    true,
	"ServerTLSSettings.ca_crl":                             true,
	"ServerTLSSettings.credential_names":                   true,
	"ServerTLSSettings.ca_cert_credential_name":            true,
	"ServerTLSSettings.tls_certificates":                   true,
	"ServerTLSSettings.verify_certificate_spki":            true,
	"ServerTLSSettings.verify_certificate_hash":            true,
	"ServerTLSSettings.insecure_skip_verify":               true,
	"Sidecar.ingress":                                      true,
	"Sidecar.inbound_connection_pool":                      true,
	"OutboundTrafficPolicy.egress_proxy":                   true,
	"IstioEgressListener.port":                             true,
	"IstioEgressListener.bind":                             true,
	"IstioEgressListener.capture_mode":                     true,
	"WorkloadEntry.network":                                true,
	"Telemetry.targetRef":                                  true,
	"Telemetry.targetRefs":                                 true,
	"Telemetry.tracing":                                    true,
	"Telemetry.metrics":                                    true,
	"AccessLogging.filter":                                 true,

	"AuthorizationPolicy.targetRef":    true,
	"AuthorizationPolicy.targetRefs":   true,
	"AuthorizationPolicy.provider":     true,
	"RequestAuthentication.targetRef":  true,
	"RequestAuthentication.targetRefs": true,
	"JWTRule.jwks_uri":                 true,
	"JWTRule.timeout":                  true,

	"MeshConfig.enable_envoy_access_log_service": true,
	"MeshConfig.certificates":                    true,
	"MeshConfig.ca_certificates":                 true,
	"MeshConfig.ca":                              true,
	"MeshConfig.discovery_selectors":             true,
	"MeshConfig.service_scope_configs":           true,
	"MeshConfig.service_settings":                true,
	"MeshConfig.service_entry_visibility":        true,
	"MeshConfig.zone_aware_lb_setting":           true,
	"MeshConfig.tls_defaults":                    true,
	"MeshConfig.inbound_cluster_stat_name":       true,
	"MeshConfig.outbound_cluster_stat_name":      true,
	"MeshConfig.proxy_http_port":                 true,
	"ProxyConfig.gateway_topology":               true,
	"ProxyConfig.proxy_headers":                  true,
	"ProxyConfig.private_key_provider":           true,
}

// unsupported refuses by name what would otherwise be ignored.
func (b *builder) unsupported() {
	for _, kind := range refusedKinds {
		for _, o := range b.view.Of(kind) {
			b.report(o, config.Error, CodeUnsupported, "", fmt.Sprintf("%s is not supported yet", o.Kind), "")
		}
	}
	for _, kind := range []string{"VirtualService", "DestinationRule", "Gateway", "ServiceEntry", "WorkloadEntry", "Sidecar", "PeerAuthentication", "AuthorizationPolicy", "RequestAuthentication", "Telemetry"} {
		for _, o := range b.view.Of(kind) {
			if spec := specOf(o.Value); spec != nil {
				walk(spec.ProtoReflect(), "spec", func(path string, f protoreflect.FieldDescriptor) {
					b.report(o, config.Error, CodeUnsupported, path, fmt.Sprintf("%s is not supported yet", f.JSONName()), "")
				})
				b.unsupportedValues(o)
			}
		}
	}
	walk(b.options.MeshConfig.ProtoReflect(), "meshConfig", func(path string, _ protoreflect.FieldDescriptor) {
		b.found = append(b.found, meshDiagnostic(path+" is not supported yet"))
	})
	b.unsupportedMesh()
}

func (b *builder) unsupportedMesh() {
	c := b.options.MeshConfig
	if m := c.GetOutboundTrafficPolicy().GetMode(); m > meshpb.MeshConfig_OutboundTrafficPolicy_ALLOW_ANY {
		b.found = append(b.found, meshDiagnostic(fmt.Sprintf("meshConfig.outboundTrafficPolicy.mode %s is not supported yet", m)))
	}
	if m := c.GetInboundTrafficPolicy().GetMode(); m != meshpb.MeshConfig_InboundTrafficPolicy_PASSTHROUGH {
		b.found = append(b.found, meshDiagnostic(fmt.Sprintf("meshConfig.inboundTrafficPolicy.mode %s is not supported yet", m)))
	}
	for i, name := range c.GetDefaultProviders().GetAccessLogging() {
		if i > 0 || fileProvider(c, name) == nil {
			b.found = append(b.found, meshDiagnostic(fmt.Sprintf("meshConfig.defaultProviders.accessLogging: provider %q is not supported yet", name)))
		}
	}
	for _, name := range c.GetDefaultProviders().GetMetrics() {
		if name != "prometheus" {
			b.found = append(b.found, meshDiagnostic(fmt.Sprintf("meshConfig.defaultProviders.metrics: provider %q is not supported yet", name)))
		}
	}
	if len(c.GetDefaultProviders().GetTracing()) > 0 {
		b.found = append(b.found, meshDiagnostic("meshConfig.defaultProviders.tracing is not supported yet"))
	}
}

func meshDiagnostic(message string) config.Diagnostic {
	return config.Diagnostic{Severity: config.Error, Code: CodeUnsupported, Message: message, Object: config.Key{Kind: "MeshConfig"}}
}

// unsupportedValues refuses what only some values of a field ask for.
func (b *builder) unsupportedValues(o *config.Object) {
	refuse := func(path, message string) {
		b.report(o, config.Error, CodeUnsupported, path, message+" is not supported yet", "")
	}
	switch v := o.Value.(type) {
	case *securityv1.AuthorizationPolicy:
		unsupportedAuthorization(v, refuse)
	case *securityv1.RequestAuthentication:
		unsupportedAuthentication(v, refuse)
	case *networkingv1.VirtualService:
		for i, r := range v.Spec.GetHttp() {
			for j, m := range r.GetMatch() {
				for h := range m.GetHeaders() {
					if strings.HasPrefix(h, "@request.") {
						refuse(fmt.Sprintf("spec.http[%d].match[%d].headers", i, j), "matching on "+h)
					}
				}
			}
		}
	case *networkingv1.ServiceEntry:
		if v.Spec.GetResolution() > 3 {
			refuse("spec.resolution", fmt.Sprintf("resolution %s", v.Spec.GetResolution()))
		}
		for i, e := range v.Spec.GetEndpoints() {
			if strings.HasPrefix(e.GetAddress(), "unix:") {
				refuse(fmt.Sprintf("spec.endpoints[%d].address", i), "a Unix socket as an endpoint")
			}
		}
	case *networkingv1.Sidecar:
		for i, e := range v.Spec.GetEgress() {
			for j, h := range e.GetHosts() {
				if strings.HasPrefix(h, "~") && h != "~/*" {
					refuse(fmt.Sprintf("spec.egress[%d].hosts[%d]", i, j), "excluding a host")
				}
			}
		}
	}
}

// specOf returns the Istio spec of an object.
func specOf(v any) proto.Message {
	switch v := v.(type) {
	case *networkingv1.VirtualService:
		return &v.Spec
	case *networkingv1.DestinationRule:
		return &v.Spec
	case *networkingv1.Gateway:
		return &v.Spec
	case *networkingv1.ServiceEntry:
		return &v.Spec
	case *networkingv1.WorkloadEntry:
		return &v.Spec
	case *networkingv1.Sidecar:
		return &v.Spec
	case *securityv1.PeerAuthentication:
		return &v.Spec
	case *securityv1.AuthorizationPolicy:
		return &v.Spec
	case *securityv1.RequestAuthentication:
		return &v.Spec
	case *telemetryv1.Telemetry:
		return &v.Spec
	default:
		return nil
	}
}

// walk calls refuse for each refused field that is set, with its path as people write it.
func walk(m protoreflect.Message, path string, refuse func(string, protoreflect.FieldDescriptor)) {
	type set struct {
		field protoreflect.FieldDescriptor
		value protoreflect.Value
	}
	var fields []set
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		fields = append(fields, set{f, v})
		return true
	})
	slices.SortFunc(fields, func(a, b set) int { return cmp.Compare(a.field.Index(), b.field.Index()) })
	for _, s := range fields {
		at := path + "." + s.field.JSONName()
		switch {
		case refusedFields[shortName(s.field)]:
			refuse(at, s.field)
		case s.field.IsList() && s.field.Message() != nil:
			for i := range s.value.List().Len() {
				walk(s.value.List().Get(i).Message(), fmt.Sprintf("%s[%d]", at, i), refuse)
			}
		case !s.field.IsList() && !s.field.IsMap() && s.field.Message() != nil:
			walk(s.value.Message(), at, refuse)
		}
	}
}

// shortName is "TrafficPolicy.tunnel" for "istio.networking.v1alpha3.TrafficPolicy.tunnel".
func shortName(f protoreflect.FieldDescriptor) string {
	return strings.TrimPrefix(string(f.FullName()), string(f.ParentFile().Package())+".")
}
