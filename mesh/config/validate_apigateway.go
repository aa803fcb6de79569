package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// The rules of this file and the next are those that the Gateway API's CRDs have, which
// the API server holds objects to.

var listenerProtocols = []string{"HTTP", "HTTPS", "TLS", "TCP", "UDP"}

func validateGatewayClass(c *checker) {
	if c.o.Value.(*gatewayv1.GatewayClass).Spec.ControllerName == "" {
		c.errorf(CodeRequired, "spec", "write controllerName: "+GatewayController, "controllerName is required")
	}
}

func validateReferenceGrant(c *checker) {
	g := &c.o.Value.(*gatewayv1.ReferenceGrant).Spec
	if len(g.From) == 0 || len(g.To) == 0 {
		c.errorf(CodeMissing, "spec", "", "from and to need an entry each")
	}
	for i, f := range g.From {
		at := index("spec.from", i)
		if f.Kind == "" {
			c.errorf(CodeRequired, at, "", "a kind is required")
		}
		c.named(join(at, "namespace"), string(f.Namespace), validation.IsDNS1123Label)
	}
	for i, t := range g.To {
		if t.Kind == "" {
			c.errorf(CodeRequired, index("spec.to", i), "", "a kind is required")
		}
	}
}

func validateAPIGateway(c *checker) {
	g := &c.o.Value.(*gatewayv1.Gateway).Spec
	if g.GatewayClassName == "" {
		c.errorf(CodeRequired, "spec", "write gatewayClassName: istio", "gatewayClassName is required")
	}
	if len(g.Listeners) == 0 {
		c.errorf(CodeMissing, "spec", "", "listeners is required")
	}
	names, taken := map[string]bool{}, map[string]bool{}
	for i, l := range g.Listeners {
		at := index("spec.listeners", i)
		c.listener(at, l)
		if names[string(l.Name)] {
			c.errorf(CodeRepeated, join(at, "name"), "", "listener %q stands twice", l.Name)
		}
		names[string(l.Name)] = true
		host := ""
		if l.Hostname != nil {
			host = strings.ToLower(string(*l.Hostname))
		}
		key := fmt.Sprintf("%d %s %s", l.Port, l.Protocol, host)
		if taken[key] {
			c.errorf(CodeRepeated, at, "", "another listener has the same port, protocol and hostname")
		}
		taken[key] = true
	}
	for i, a := range g.Addresses {
		if a.Value == "" {
			c.errorf(CodeRequired, index("spec.addresses", i), "", "a value is required")
		}
	}
}

func (c *checker) listener(at string, l gatewayv1.Listener) {
	c.named(join(at, "name"), string(l.Name), validation.IsDNS1123Subdomain)
	c.port(join(at, "port"), uint32(max(l.Port, 0)))
	if !slices.Contains(listenerProtocols, string(l.Protocol)) {
		c.errorf(CodeEnum, join(at, "protocol"), enumHint(strings.ToUpper(string(l.Protocol)), listenerProtocols),
			"%q is not a protocol; expected one of %s", clip(string(l.Protocol)), strings.Join(listenerProtocols, ", "))
	}
	if l.Hostname != nil && *l.Hostname != "" {
		c.apiHostname(join(at, "hostname"), string(*l.Hostname), true)
	}
	if r := l.AllowedRoutes; r != nil && r.Namespaces != nil && r.Namespaces.From != nil && *r.Namespaces.From == gatewayv1.NamespacesFromSelector {
		if r.Namespaces.Selector == nil {
			c.errorf(CodeSelector, join(at, "allowedRoutes.namespaces"), "", "from: Selector needs a selector")
		} else if _, err := metav1.LabelSelectorAsSelector(r.Namespaces.Selector); err != nil {
			c.errorf(CodeSelector, join(at, "allowedRoutes.namespaces.selector"), "", "%v", err)
		}
	}
	t := l.TLS
	passthrough := t != nil && t.Mode != nil && *t.Mode == gatewayv1.TLSModePassthrough
	switch {
	case t == nil && (l.Protocol == gatewayv1.HTTPSProtocolType || l.Protocol == gatewayv1.TLSProtocolType):
		c.errorf(CodeTLS, at, "add tls: {certificateRefs: [{name: …}]}", "a listener with protocol %s needs tls", l.Protocol)
	case t == nil:
	case l.Protocol != gatewayv1.HTTPSProtocolType && l.Protocol != gatewayv1.TLSProtocolType:
		c.errorf(CodeTLS, join(at, "tls"), "", "a listener with protocol %s has no tls", l.Protocol)
	case passthrough && l.Protocol == gatewayv1.HTTPSProtocolType:
		c.errorf(CodeTLS, join(at, "tls.mode"), "use protocol TLS", "a listener with protocol HTTPS ends TLS")
	case !passthrough && len(t.CertificateRefs) == 0 && len(t.Options) == 0:
		c.errorf(CodeTLS, join(at, "tls"), "", "certificateRefs is required")
	}
}

// apiHostname checks a host of the Gateway API, which is no address.
func (c *checker) apiHostname(at, host string, wildcard bool) {
	if host == "*" {
		c.errorf(CodeHost, at, "leave it out for all hosts", "%q is not a host name", host)
		return
	}
	if _, err := netip.ParseAddr(host); c.host(at, host, wildcard) && err == nil {
		c.errorf(CodeHost, at, "", "%q is an address, not a host name", host)
	}
}
