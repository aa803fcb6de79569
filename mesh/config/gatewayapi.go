package config

import (
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
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

// HostRank tells how exactly the pattern of a server or listener names a host: 0 not at
// all, an exact name most.
func HostRank(pattern, host string) int {
	suffix, wild := strings.CutPrefix(strings.ToLower(pattern), "*")
	switch {
	case !wild && suffix == strings.ToLower(host):
		return 1 << 16
	case wild && strings.HasSuffix(strings.ToLower(host), suffix):
		return 1 + len(suffix)
	default:
		return 0
	}
}

// ListenerRank is the HostRank of the listener of a Gateway that names the host most
// exactly, of those on a port.
func ListenerRank(g *gatewayv1.Gateway, host string, port uint32) int {
	rank := 0
	for _, l := range g.Spec.Listeners {
		pattern := "*"
		if l.Hostname != nil && *l.Hostname != "" {
			pattern = string(*l.Hostname)
		}
		if uint32(l.Port) == port {
			rank = max(rank, HostRank(pattern, host))
		}
	}
	return rank
}

// ServerRank is the same of Istio's Gateway.
func ServerRank(g *networkingpb.Gateway, host string, port uint32) int {
	rank := 0
	for _, s := range g.GetServers() {
		for _, h := range s.GetHosts() {
			if _, name, found := strings.Cut(h, "/"); found {
				h = name
			}
			if s.GetPort().GetNumber() == port {
				rank = max(rank, HostRank(h, host))
			}
		}
	}
	return rank
}

// GatewayServiceIn is GatewayService with the namespace that the Service is in.
func GatewayServiceIn(namespace, gateway string, g *gatewayv1.Gateway) (in, service string, made bool) {
	full, made := GatewayService(gateway, g)
	service, rest, _ := strings.Cut(full, ".")
	if rest != "" {
		namespace, _, _ = strings.Cut(rest, ".")
	}
	return namespace, service, made
}
