package build

import (
	"fmt"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// gateways reads Gateways, and the Secrets that their servers name.
func (b *builder) gateways() {
	for _, o := range b.view.Of("Secret") {
		if s, ok := o.Value.(*corev1.Secret); ok {
			if m := credential(o, s); m != nil {
				b.parts.Secrets = append(b.parts.Secrets, m)
			}
		}
	}
	for _, o := range oldestFirst(b.view.Of("Gateway")) {
		g, ok := o.Value.(*networkingv1.Gateway)
		if !ok {
			continue
		}
		m := &model.Gateway{Name: o.Name, Namespace: o.Namespace, Selector: g.Spec.GetSelector(), Created: o.Created, Source: sourceAt(o, "")}
		for i, s := range g.Spec.GetServers() {
			m.Servers = append(m.Servers, b.server(o, s, fmt.Sprintf("spec.servers[%d]", i), g.Spec.GetSelector()))
		}
		b.parts.Gateways = append(b.parts.Gateways, m)
		b.origin.gateways[m.Ref()] = o
	}
}

func (b *builder) server(o *config.Object, s *networkingpb.Server, path string, selector map[string]string) *model.Server {
	m := &model.Server{
		Port: s.GetPort().GetNumber(), Protocol: declaredProtocol(s.GetPort().GetProtocol()), Name: s.GetPort().GetName(),
		Bind: s.GetBind(), Source: sourceAt(o, path),
	}
	for _, h := range s.GetHosts() {
		host := model.ServerHost{Namespace: "*", Host: strings.ToLower(h)}
		if ns, name, ok := strings.Cut(h, "/"); ok {
			host = model.ServerHost{Namespace: ns, Host: strings.ToLower(name)}
			if ns == "." {
				host.Namespace = o.Namespace
			}
		}
		m.Hosts = append(m.Hosts, host)
	}
	t := s.GetTls()
	if t == nil {
		return m
	}
	m.TLS = &model.ServerTLS{
		HTTPSRedirect: t.GetHttpsRedirect(), Credential: strings.TrimPrefix(t.GetCredentialName(), "kubernetes://"),
		Mutual:   t.GetMode() == networkingpb.ServerTLSSettings_MUTUAL || t.GetMode() == networkingpb.ServerTLSSettings_OPTIONAL_MUTUAL,
		Optional: t.GetMode() == networkingpb.ServerTLSSettings_OPTIONAL_MUTUAL,

		SubjectAltNames: t.GetSubjectAltNames(), CipherSuites: t.GetCipherSuites(),
		MinVersion: tlsVersion(t.GetMinProtocolVersion()), MaxVersion: tlsVersion(t.GetMaxProtocolVersion()),
	}
	if m.Protocol == model.HTTPS || m.Protocol == model.TLS {
		b.checkTLS(o, t, m, path, selector)
	}
	return m
}

func tlsVersion(v networkingpb.ServerTLSSettings_TLSProtocol) uint8 {
	return map[networkingpb.ServerTLSSettings_TLSProtocol]uint8{
		networkingpb.ServerTLSSettings_TLSV1_0: 10, networkingpb.ServerTLSSettings_TLSV1_1: 11,
		networkingpb.ServerTLSSettings_TLSV1_2: 12, networkingpb.ServerTLSSettings_TLSV1_3: 13,
	}[v]
}

// checkTLS refuses modes that are not supported, and looks the credential up in the
// namespaces of the Pods that the Gateway selects.
func (b *builder) checkTLS(o *config.Object, t *networkingpb.ServerTLSSettings, m *model.Server, path string, selector map[string]string) {
	switch t.GetMode() {
	case networkingpb.ServerTLSSettings_SIMPLE, networkingpb.ServerTLSSettings_MUTUAL, networkingpb.ServerTLSSettings_OPTIONAL_MUTUAL:
	default:
		b.report(o, config.Error, CodeUnsupported, path+".tls.mode",
			fmt.Sprintf("tls mode %s at a gateway is not supported yet", t.GetMode()), "SIMPLE, MUTUAL and OPTIONAL_MUTUAL are")
		return
	}
	if m.Protocol == model.TLS {
		b.report(o, config.Error, CodeUnsupported, path+".port.protocol", "protocol TLS at a gateway is not supported yet", "HTTPS is")
		return
	}
	if m.TLS.Credential == "" {
		return
	}
	for _, w := range b.parts.Workloads {
		if !model.Selects(selector, w.Labels) {
			continue
		}
		if problem := b.credentialProblem(w.Namespace, m.TLS); problem != "" {
			b.report(o, config.Error, CodeNoCredential, path+".tls.credentialName", problem,
				"the secret must be in the namespace of the gateway's Pods: "+w.Namespace)
		}
		return
	}
}

func (b *builder) credentialProblem(namespace string, t *model.ServerTLS) string {
	var own, other *model.Secret
	for _, s := range b.parts.Secrets {
		if s.Namespace == namespace && s.Name == t.Credential {
			own = s
		}
		if s.Namespace == namespace && s.Name == t.Credential+"-cacert" {
			other = s
		}
	}
	switch {
	case own == nil || len(own.Chain) == 0 || len(own.Key) == 0:
		return fmt.Sprintf("secret %s/%s with tls.crt and tls.key (or cert and key) is not there: the server is left out", namespace, t.Credential)
	case t.Mutual && len(own.Authority) == 0 && (other == nil || len(other.Authority) == 0):
		return fmt.Sprintf("neither secret %s/%s nor %s-cacert has ca.crt (or cacert): the server is left out", namespace, t.Credential, t.Credential)
	}
	return ""
}

// credential reads both layouts that Istio takes: kubernetes.io/tls, and generic.
func credential(o *config.Object, s *corev1.Secret) *model.Secret {
	m := &model.Secret{Namespace: o.Namespace, Name: o.Name, Source: sourceAt(o, "")}
	m.Chain = secretData(s, corev1.TLSCertKey, "cert")
	m.Key = secretData(s, corev1.TLSPrivateKeyKey, "key")
	m.Authority = secretData(s, "ca.crt", "cacert")
	if m.Chain == nil && m.Authority == nil {
		return nil
	}
	return m
}

func secretData(s *corev1.Secret, keys ...string) []byte {
	for _, k := range keys {
		if v := s.Data[k]; len(v) > 0 {
			return v
		}
		if v := s.StringData[k]; v != "" {
			return []byte(v)
		}
	}
	return nil
}
