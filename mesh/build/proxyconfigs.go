package build

import (
	"maps"
	"slices"

	networkingpb "istio.io/api/networking/v1beta1"
	networkingv1beta1 "istio.io/client-go/pkg/apis/networking/v1beta1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// unsupportedProxyConfig refuses variables that proxies do not know.
func (b *builder) unsupportedProxyConfig(o *config.Object, c *networkingpb.ProxyConfig) {
	for _, name := range slices.Sorted(maps.Keys(c.GetEnvironmentVariables())) {
		if err := config.CheckProxyMetadata(name, c.GetEnvironmentVariables()[name]); err != nil {
			b.report(o, config.Error, CodeUnsupported, "spec.environmentVariables."+name, err.Error(), "")
		}
	}
}

// proxyConfigSelectors reports ProxyConfigs that select nobody, or gateways that nobody
// injects: those have the mesh's configuration.
func (b *builder) proxyConfigSelectors() {
	for _, o := range b.view.Of("ProxyConfig") {
		c, ok := o.Value.(*networkingv1beta1.ProxyConfig)
		if !ok || len(c.Spec.GetSelector().GetMatchLabels()) == 0 {
			continue
		}
		labels := c.Spec.GetSelector().GetMatchLabels()
		chosen := b.selected(o.Namespace, labels)
		if len(chosen) == 0 {
			b.noWorkload(o, "spec.selector", o.Namespace, labels)
		}
		for _, w := range chosen {
			if w.Labels["sidecar.istio.io/inject"] == "false" {
				b.report(o, config.Warning, config.CodeIgnoredFields, "spec.selector",
					w.Workload.Workload+" is selected and not injected: what the mesh made for it stays", "")
				break
			}
		}
	}
}
