package build

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	meshpb "istio.io/api/mesh/v1alpha1"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	networkingv1beta1 "istio.io/client-go/pkg/apis/networking/v1beta1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// refusedKinds change behaviour in ways that the control plane does not have yet.
var refusedKinds = []string{
	"WasmPlugin",
	"UDPRoute", "BackendTLSPolicy", "ListenerSet",
}

// fieldNote is a "Message.field" of istio.io/api's protos, or the "Type.field" of a
// Kubernetes type, with what there is to say about it.
type fieldNote struct{ name, why string }

// refusedFields are what the control plane does not have yet. They are refused wherever
// they are set. Every field that is not here is in one of the lists of supported.go.
var refusedFields = []fieldNote{
	{"HTTPFaultInjection.Delay.exponential_delay", "Istio has hidden it, and its proxy does not have it"},
	{"HTTPFaultInjection.Abort.http2_error", "Istio has hidden it, and its proxy does not have it"},
	{"L4MatchAttributes.source_subnet", "Istio accepts it and does not implement it"},
	{"TrafficPolicy.RetryBudget.budget_interval", "budgets count the requests of the moment"},
	{"LoadBalancerSettings.zone_aware_lb_setting", "balancing by zone"},
	{"ConnectionPoolSettings.HTTPSettings.http2_keep_alive", "HTTP/2 PING frames"},
	{"ClientTLSSettings.ca_crl", "revocation lists"},
	{"HTTPGetAction.host", "probes go to the Pod's own address"},
	{"HTTPGetAction.protocol", "probes speak HTTP/1.1"},
	{"TCPSocketAction.host", "probes go to the Pod's own address"},
	{"GRPCAction.mode", "probes by gRPC are without TLS"},
	{"Server.default_endpoint", "a gateway as a sidecar of its own"},
	{"ServerTLSSettings.server_certificate", "certificates come from Secrets, by credentialName"},
	{"ServerTLSSettings.private_key", "certificates come from Secrets, by credentialName"},
	{"ServerTLSSettings.ca_certificates", "certificates come from Secrets, by credentialName"},
	{"ServerTLSSettings.ca_crl", "revocation lists"},
	{"ServerTLSSettings.tls_certificates", "certificates come from Secrets, by credentialNames"},
	{"ServerTLSSettings.insecure_skip_verify", "clients whose certificates nobody checks"},
	{"IstioIngressListener.tls", "TLS that a sidecar terminates for applications"},
	{"WorkloadEntry.network", "several networks"},
	{"Tracing.disable_context_propagation", "spans without a context"},
	{"Metrics.reporting_interval", "metrics of connections count when these open and close"},
	{"MetricSelector.custom_metric", "metrics of one's own"},
	{"MeshConfig.ExtensionProvider.ZipkinTracingProvider.headers", "header fields of reports to Zipkin"},
	{"MeshConfig.ExtensionProvider.OpenTelemetryTracingProvider.resource_detectors", "attributes of resources"},
	{"MeshConfig.ExtensionProvider.OpenTelemetryTracingProvider.dynatrace_sampler", "samplers of providers"},
	{"MeshConfig.ExtensionProvider.OpenTelemetryTracingProvider.service_attribute_enrichment", "attributes of resources"},
	{"MeshConfig.ExtensionProvider.HttpHeader.env_name", "values from the environment"},

	{"EnvoyFilter.targetRefs", "the Kubernetes Gateway API"},
	{"EnvoyFilter.ProxyMatch.metadata", "matching of proxies by their metadata"},
	{"EnvoyFilter.ListenerMatch.port_name", "Istio does not have it either"},
	{"EnvoyFilter.EnvoyConfigObjectMatch.waypoint", "the ambient mode"},
	{"EnvoyFilter.Patch.filter_class", "write where the filter goes: INSERT_BEFORE and a subFilter"},

	{"MeshConfig.enable_envoy_access_log_service", "access logs to a service"},
	{"MeshConfig.certificates", "certificates of control planes"},
	{"MeshConfig.ca_certificates", "further roots of the mesh"},
	{"MeshConfig.ca", "certificate authorities outside"},
	{"MeshConfig.service_scope_configs", "several clusters"},
	{"MeshConfig.service_settings", "several clusters"},
	{"MeshConfig.service_entry_visibility", "visibility of ServiceEntries beyond exportTo"},
	{"MeshConfig.zone_aware_lb_setting", "balancing by zone"},
	{"MeshConfig.tls_defaults", "TLS versions outside of mutual TLS"},
	{"MeshConfig.inbound_cluster_stat_name", "names of statistics"},
	{"MeshConfig.outbound_cluster_stat_name", "names of statistics"},
	{"MeshConfig.proxy_http_port", "an HTTP proxy port"},
	{"ProxyConfig.proxy_headers", "the choice of headers that proxies add"},
	{"ProxyConfig.private_key_provider", "keys in hardware"},

	{"MeshConfig.config_sources", "configuration comes from files and scenarios"},
	{"MeshConfig.verify_certificate_at_client", "certificates of servers are checked where caCertificates is set"},
	{"MeshConfig.OutboundTrafficPolicy.tls", "unknown traffic goes on as it came"},
	{"MeshConfig.TLSConfig.ecdh_curves", "mutual TLS takes Go's curves"},
	{"MeshConfig.TLSConfig.cipher_suites", "mutual TLS takes Go's cipher suites"},
	{"MeshConfig.ExtensionProvider.EnvoyExternalAuthorizationHttpProvider.clear_route_cache", "Istio accepts it and does not implement it"},
	{"MeshConfig.ExtensionProvider.EnvoyExternalAuthorizationGrpcProvider.clear_route_cache", "Istio accepts it and does not implement it"},
	{"MeshConfig.ExtensionProvider.lightstep", "export of traces"},
	{"MeshConfig.ExtensionProvider.datadog", "export of traces"},
	{"MeshConfig.ExtensionProvider.stackdriver", "Google's services"},
	{"MeshConfig.ExtensionProvider.opencensus", "export of traces"},
	{"MeshConfig.ExtensionProvider.envoy_http_als", "access logs to a service"},
	{"MeshConfig.ExtensionProvider.envoy_tcp_als", "access logs to a service"},
	{"MeshConfig.ExtensionProvider.envoy_otel_als", "access logs to a service"},
	{"MeshConfig.ExtensionProvider.sds", "secrets from a service"},

	{"ProxyConfig.service_cluster", "names of services in traces"},
	{"ProxyConfig.tracing_service_name", "names of services in traces"},
	{"ProxyConfig.zipkin_address", "export of traces"},
	{"ProxyConfig.statsd_udp_address", "statistics to a service"},
	{"ProxyConfig.envoy_metrics_service_address", "statistics to a service"},
	{"ProxyConfig.envoy_metrics_service", "statistics to a service"},
	{"ProxyConfig.envoy_access_log_service", "access logs to a service"},
	{"ProxyConfig.custom_config_file", "a bootstrap of one's own"},
	{"ProxyConfig.proxy_bootstrap_template_path", "a bootstrap of one's own"},
	{"ProxyConfig.sds", "secrets from a service"},
	{"ProxyConfig.runtime_values", "Envoy's runtime"},
	{"ProxyConfig.status_port", "it is 15020"},
	{"ProxyConfig.proxy_admin_port", "it is 15000"},
	{"ProxyConfig.extra_stat_tags", "tags of statistics"},
	{"ProxyConfig.mesh_id", "several meshes"},
	{"ProxyConfig.readiness_probe", "it is for machines outside the cluster"},
	{"ProxyConfig.ca_certificates_pem", "further roots of the mesh"},
	{"ProxyConfig.stats_compression", "compression of statistics"},
	{"ProxyConfig.connection_settings", "limits of connections of proxies"},
	{"Tracing.lightstep", "export of traces"},
	{"Tracing.datadog", "export of traces"},
	{"Tracing.stackdriver", "export of traces"},
	{"Tracing.open_census_agent", "export of traces"},
	{"Tracing.tls_settings", "export of traces"},

	{"GatewayClassSpec.parametersRef", "deployments of one's own design"},
	{"GatewaySpec.allowedListeners", "ListenerSets"},
	{"GatewaySpec.tls", "client certificates; the option gateway.istio.io/tls-terminate-mode of a listener asks for them"},
	{"GatewaySpec.defaultScope", "Gateways for routes without parents"},
	{"GatewayInfrastructure.parametersRef", "deployments of one's own design"},
	{"HTTPRouteSpec.useDefaultGateways", "Gateways for routes without parents"},
	{"TCPRouteSpec.useDefaultGateways", "Gateways for routes without parents"},
	{"TLSRouteSpec.useDefaultGateways", "Gateways for routes without parents"},
	{"GRPCRouteSpec.useDefaultGateways", "Gateways for routes without parents"},
	{"HTTPRouteRule.sessionPersistence", "clients that stay at one endpoint; a DestinationRule's consistentHash does so"},
	{"GRPCRouteRule.sessionPersistence", "clients that stay at one endpoint; a DestinationRule's consistentHash does so"},
	{"HTTPRouteFilter.externalAuth", "external authorization"},
	{"HTTPRouteFilter.extensionRef", "filters of others"},
	{"GRPCRouteFilter.extensionRef", "filters of others"},

	{"ServiceSpec.externalIPs", "addresses outside of the cluster"},
	{"PodSpec.hostAliases", "names of a Pod's own"},
	{"DeploymentSpec.paused", "Deployments whose Pods stay as they are"},

	// Flagger.
	{"CanarySpec.metricsServer", "the world's own Prometheus is asked"},
	{"CanarySpec.autoscalerRef", "nobody scales by load"},
	{"CanarySpec.ingressRef", "other providers than istio"},
	{"CanarySpec.routeRef", "other providers than istio"},
	{"CanarySpec.upstreamRef", "other providers than istio"},
	{"CanarySpec.revertOnDeletion", "what the Canary made goes with it, and the target keeps its replicas"},
	{"CanarySpec.canaryAnalysis", "the old name of analysis"},
	{"CanaryService.portDiscovery", "the port is service.port"},
	{"CanaryService.delegation", "delegates of a Canary"},
	{"CanaryService.mirror", "mirroring during a release"},
	{"CanaryService.gatewayRefs", "other providers than istio"},
	{"CanaryService.meshName", "other providers than istio"},
	{"CanaryService.backends", "other providers than istio"},
	{"CanaryService.apex", "metadata of what is generated"},
	{"CanaryService.primary", "metadata of what is generated"},
	{"CanaryService.canary", "metadata of what is generated"},
	{"CanaryService.headless", "what is generated has cluster IPs"},
	{"CanaryService.unmanagedMetadata", "metadata of what is generated"},
	{"CanaryAnalysis.iterations", "A/B tests and blue/green"},
	{"CanaryAnalysis.match", "A/B tests"},
	{"CanaryAnalysis.mirror", "mirroring during a release"},
	{"CanaryAnalysis.mirrorWeight", "mirroring during a release"},
	{"CanaryAnalysis.sessionAffinity", "A/B tests"},
	{"CanaryAnalysis.webhooks", "calls of others during a release"},
	{"CanaryAnalysis.alerts", "calls of others during a release"},
	{"CanaryAnalysis.primaryReadyThreshold", "all Pods have to be ready"},
	{"CanaryAnalysis.canaryReadyThreshold", "all Pods have to be ready"},
	{"CanaryMetric.templateVariables", "write the values into the query"},
	{"MetricProvider.secretRef", "the world's own Prometheus is asked"},
	{"MetricProvider.insecureSkipVerify", "the world's own Prometheus is asked"},
	{"MetricProvider.region", "other providers"},
	{"MetricProvider.headers", "the world's own Prometheus is asked"},
}

// unsupported refuses by name what would otherwise be ignored.
func (b *builder) unsupported() {
	for _, kind := range refusedKinds {
		for _, o := range b.view.Of(kind) {
			b.report(o, config.Error, CodeUnsupported, "", fmt.Sprintf("%s is not supported yet", o.Kind), "")
		}
	}
	b.unsupportedFields()
	for _, kind := range []string{"ServiceEntry", "Sidecar", "EndpointSlice", "ProxyConfig"} {
		for _, o := range b.view.Of(kind) {
			b.unsupportedValues(o)
		}
	}
	b.unsupportedMesh()
}

func (b *builder) unsupportedMesh() {
	c := b.options.MeshConfig
	if m := c.GetInboundTrafficPolicy().GetMode(); m != meshpb.MeshConfig_InboundTrafficPolicy_PASSTHROUGH {
		b.refuseMesh("meshConfig.inboundTrafficPolicy.mode", fmt.Sprintf(" %s is not supported yet", m))
	}
	b.unsupportedDefaults(c.GetDefaultConfig())
	for _, name := range c.GetDefaultProviders().GetMetrics() {
		if name != "prometheus" {
			b.refuseMesh("meshConfig.defaultProviders.metrics", fmt.Sprintf(": provider %q is not supported yet", name))
		}
	}
}

// unsupportedDefaults refuses what only some values of defaultConfig ask for.
func (b *builder) unsupportedDefaults(c *meshpb.ProxyConfig) {
	const at = "meshConfig.defaultConfig."
	if d := c.GetTerminationDrainDuration().AsDuration(); d < 0 || d%time.Second != 0 {
		b.refuseMesh(at+"terminationDrainDuration", fmt.Sprintf(" %v: only whole seconds are supported", d))
	}
	if d := c.GetDrainDuration(); d != nil {
		if err := config.CheckDrain(d.AsDuration()); err != nil {
			b.refuseMesh(at+"drainDuration", ": "+err.Error())
		}
	}
	if m := c.GetInterceptionMode(); m != meshpb.ProxyConfig_REDIRECT && m != meshpb.ProxyConfig_NONE {
		b.refuseMesh(at+"interceptionMode", fmt.Sprintf(" %s is not supported yet, only REDIRECT and NONE", m))
	}
	if n := c.GetConcurrency().GetValue(); n < 0 || n > math.MaxUint16 {
		b.refuseMesh(at+"concurrency", fmt.Sprintf(" %d: expected 0 to %d", n, math.MaxUint16))
	}
	for _, name := range slices.Sorted(maps.Keys(c.GetProxyMetadata())) {
		if err := config.CheckProxyMetadata(name, c.GetProxyMetadata()[name]); err != nil {
			b.refuseMesh(at+"proxyMetadata."+name, ": "+err.Error())
		}
	}
}

// refuseMesh refuses the value of a field of the mesh configuration.
func (b *builder) refuseMesh(path, message string) {
	b.found = append(b.found, meshDiagnostic(path, message))
}

// meshDiagnostic is about a field of the mesh configuration, of which nobody knows here in
// which file it stands: path, which the message begins with, tells who does.
func meshDiagnostic(path, message string) config.Diagnostic {
	return config.Diagnostic{Severity: config.Error, Code: CodeUnsupported, Message: path + message, Object: config.Key{Kind: "MeshConfig"}, Path: path}
}

// unsupportedValues refuses what only some values of a field ask for.
func (b *builder) unsupportedValues(o *config.Object) {
	refuse := func(path, message string) {
		b.report(o, config.Error, CodeUnsupported, path, message+" is not supported yet", "")
	}
	switch v := o.Value.(type) {
	case *networkingv1beta1.ProxyConfig:
		b.unsupportedProxyConfig(o, &v.Spec)
	case *discoveryv1.EndpointSlice:
		if v.AddressType == discoveryv1.AddressTypeFQDN {
			refuse("addressType", "addressType FQDN")
		}
	case *networkingv1.ServiceEntry:
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

func isRefusedKind(name string) bool { return slices.Contains(refusedKinds, name) }
