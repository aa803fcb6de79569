package config

import (
	"fmt"
	"slices"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// serverProtocols are the protocols of Istio's ports; they are compared without case.
var serverProtocols = []string{"HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "MONGO", "TCP", "TLS"}

// serviceProtocols are those that services have in addition.
var serviceProtocols = append(slices.Clone(serverProtocols), "REDIS", "MYSQL", "UDP", "HTTP_PROXY")

func (c *checker) protocol(path, protocol string, allowed []string) {
	if !slices.Contains(allowed, strings.ToUpper(protocol)) {
		c.errorf(CodeEnum, path, enumHint(protocol, allowed), "%q is not a protocol; expected one of %s", clip(protocol), strings.Join(allowed, ", "))
	}
}

func validateGateway(c *checker) {
	g := &c.o.Value.(*networkingv1.Gateway).Spec
	if len(g.Servers) == 0 {
		c.errorf(CodeMissing, "spec", "", "servers is required")
	}
	if len(g.Selector) == 0 {
		c.warnf(CodeSelector, "spec", "add a selector such as istio: ingressgateway", "without a selector the gateway is for all gateway proxies")
	}
	c.selector("spec.selector", g.Selector)
	names := make(map[string]bool)
	ports := make(map[string]string)
	for i, s := range g.Servers {
		at := index("spec.servers", i)
		c.server(at, s)
		if s.Name != "" && names[s.Name] {
			c.errorf(CodeRepeated, join(at, "name"), "", "server %q stands twice", s.Name)
		}
		names[s.Name] = true
		if s.Port == nil {
			continue
		}
		key := fmt.Sprintf("%s:%d", s.Bind, s.Port.Number)
		class := protocolClass(s.Port.Protocol)
		if before, ok := ports[key]; ok && before != class {
			c.errorf(CodeExclusive, join(at, "port.protocol"), "", "port %d carries %s in another server and %s here", s.Port.Number, before, class)
		}
		ports[key] = class
	}
}

// protocolClass is what listeners can share: plaintext HTTP, TLS, or plaintext TCP.
func protocolClass(protocol string) string {
	switch strings.ToUpper(protocol) {
	case "HTTP", "HTTP2", "GRPC", "GRPC-WEB":
		return "HTTP"
	case "HTTPS", "TLS":
		return "TLS"
	}
	return "TCP"
}

func (c *checker) server(path string, s *networkingpb.Server) {
	if p := s.Port; p != nil {
		c.port(join(path, "port.number"), p.Number)
		c.protocol(join(path, "port.protocol"), p.Protocol, serverProtocols)
		if p.Name == "" {
			c.errorf(CodeRequired, join(path, "port"), "", "a name is required")
		}
	}
	if len(s.Hosts) == 0 {
		c.errorf(CodeMissing, path, "", "hosts is required")
	}
	for i, h := range s.Hosts {
		at := index(join(path, "hosts"), i)
		namespace, host, ok := strings.Cut(h, "/")
		if !ok {
			host = h
		} else if namespace != "*" && namespace != "." {
			c.named(at, namespace, validation.IsDNS1123Label)
		}
		c.host(at, host, true)
	}
	c.serverTLS(path, s)
}

func (c *checker) serverTLS(path string, s *networkingpb.Server) {
	t, at := s.Tls, join(path, "tls")
	class := protocolClass(s.GetPort().GetProtocol())
	if t == nil {
		if class == "TLS" {
			c.errorf(CodeTLS, path, "add tls: {mode: …}", "a server with protocol %s needs tls", s.Port.Protocol)
		}
		return
	}
	if class == "HTTP" {
		if !t.HttpsRedirect {
			c.errorf(CodeTLS, at, "use protocol HTTPS", "tls of a plaintext HTTP server can have httpsRedirect only")
		}
		return
	}
	if class == "TCP" {
		c.errorf(CodeTLS, at, "use protocol TLS", "a server with protocol %s has no tls", s.GetPort().GetProtocol())
		return
	}
	if t.HttpsRedirect {
		c.errorf(CodeTLS, join(at, "httpsRedirect"), "", "httpsRedirect is for plaintext HTTP servers")
	}
	c.tlsSource(at, t)
	if low, high := t.MinProtocolVersion, t.MaxProtocolVersion; high != 0 && low > high {
		c.errorf(CodeTLS, join(at, "minProtocolVersion"), "", "%s is above maxProtocolVersion %s", low, high)
	}
	if t.InsecureSkipVerify.GetValue() && t.Mode != networkingpb.ServerTLSSettings_MUTUAL && t.Mode != networkingpb.ServerTLSSettings_OPTIONAL_MUTUAL {
		c.errorf(CodeTLS, join(at, "insecureSkipVerify"), "", "insecureSkipVerify is for MUTUAL and OPTIONAL_MUTUAL")
	}
}

// tlsSource checks that a server that ends TLS has its certificate, from one place.
func (c *checker) tlsSource(path string, t *networkingpb.ServerTLSSettings) {
	var sources []string
	for _, s := range []struct {
		name string
		set  bool
	}{
		{"credentialName", t.CredentialName != ""}, {"credentialNames", len(t.CredentialNames) > 0},
		{"tlsCertificates", len(t.TlsCertificates) > 0}, {"serverCertificate", t.ServerCertificate != ""},
	} {
		if s.set {
			sources = append(sources, s.name)
		}
	}
	if len(sources) > 1 {
		c.errorf(CodeExclusive, join(path, sources[1]), "", "%s and %s exclude each other", sources[0], sources[1])
	}
	switch t.Mode {
	case networkingpb.ServerTLSSettings_PASSTHROUGH, networkingpb.ServerTLSSettings_AUTO_PASSTHROUGH, networkingpb.ServerTLSSettings_ISTIO_MUTUAL:
		if len(sources) > 0 {
			c.errorf(CodeTLS, join(path, sources[0]), "", "mode %s takes no certificate", t.Mode)
		}
		return
	}
	if len(sources) == 0 {
		c.errorf(CodeTLS, path, "", "mode %s needs a certificate: credentialName, or serverCertificate and privateKey", t.Mode)
		return
	}
	if sources[0] != "serverCertificate" {
		return
	}
	if t.PrivateKey == "" {
		c.errorf(CodeTLS, path, "", "serverCertificate needs a privateKey")
	}
	if t.Mode == networkingpb.ServerTLSSettings_MUTUAL && t.CaCertificates == "" && t.CaCertCredentialName == "" {
		c.errorf(CodeTLS, path, "", "mode MUTUAL needs caCertificates")
	}
}
