package config

import (
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// The names by which Istio's controllers know Gateways and what they make for them.
const (
	GatewayController = "istio.io/gateway-controller"
	GatewayNameLabel  = "gateway.networking.k8s.io/gateway-name"

	gatewayNameOverride = "gateway.istio.io/name-override"
)

// GatewayClassOurs reports whether a Gateway of a class is served by the mesh: Istio's
// built-in class "istio", or one that names Istio's controller. defined is the
// GatewayClass of that name, nil where there is none.
func GatewayClassOurs(class string, defined *gatewayv1.GatewayClass) bool {
	if defined != nil {
		return defined.Spec.ControllerName == GatewayController
	}
	return class == "istio"
}

// GatewayService is the Service in front of a Gateway's proxies, as a name in its
// namespace or a full one, and whether it is made for the Gateway. It is, and called
// NAME-CLASS, unless spec.addresses has the name of a host: Istio's manual deployment.
func GatewayService(name string, g *gatewayv1.Gateway) (service string, made bool) {
	for _, a := range g.Spec.Addresses {
		if a.Type != nil && *a.Type == gatewayv1.HostnameAddressType {
			return strings.ToLower(a.Value), false
		}
	}
	if other := g.Annotations[gatewayNameOverride]; other != "" {
		return other, true
	}
	return name + "-" + string(g.Spec.GatewayClassName), true
}
