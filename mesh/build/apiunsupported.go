package build

import (
	"fmt"
	"maps"
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// builtinClasses are Istio's classes of what the control plane does not have.
var builtinClasses = []gatewayv1.ObjectName{"istio-remote", "istio-waypoint", "istio-east-west"}

// unsupportedGateway refuses the values of a Gateway's fields that have no effect; the
// fields that have none at all are in unsupported.go.
func (a *gatewayAPI) unsupportedGateway(o *config.Object, s *gatewayv1.GatewaySpec) {
	if slices.Contains(builtinClasses, s.GatewayClassName) {
		a.unsupportedAt(o, "spec.gatewayClassName", fmt.Sprintf("gatewayClassName %s", s.GatewayClassName))
	}
	for i, addr := range s.Addresses {
		path := fmt.Sprintf("spec.addresses[%d]", i)
		switch {
		case i > 0:
			a.unsupportedAt(o, path, "a second address")
		case addr.Type == nil || *addr.Type != gatewayv1.HostnameAddressType:
			a.report(o, config.Error, CodeUnsupported, path, "an address that is not of type Hostname is not supported yet", "write type: Hostname and the name of a Service")
		}
	}
	for i, l := range s.Listeners {
		a.unsupportedListener(o, l, fmt.Sprintf("spec.listeners[%d]", i))
	}
}

func (a *gatewayAPI) unsupportedListener(o *config.Object, l gatewayv1.Listener, path string) {
	if len(routeKinds(l)) == 0 {
		a.report(o, config.Error, CodeUnsupported, path+".protocol", fmt.Sprintf("protocol %s of a listener is not supported yet", l.Protocol), "HTTP, HTTPS, TLS and TCP are")
	}
	if l.TLS == nil {
		return
	}
	if len(l.TLS.CertificateRefs) > 1 {
		a.unsupportedAt(o, path+".tls.certificateRefs[1]", "a second certificate")
	}
	for _, k := range slices.Sorted(maps.Keys(l.TLS.Options)) {
		if v := l.TLS.Options[k]; k != terminateMode || v != "SIMPLE" && v != "MUTUAL" && v != "OPTIONAL_MUTUAL" {
			a.unsupportedAt(o, path+".tls.options", fmt.Sprintf("option %s: %s", k, v))
		}
	}
}
