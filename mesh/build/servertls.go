package build

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

func (b *builder) serverTLS(o *config.Object, t *networkingpb.ServerTLSSettings, s *model.Server, path string, selector map[string]string) *model.ServerTLS {
	mode := t.GetMode()
	m := &model.ServerTLS{
		Auto:          mode == networkingpb.ServerTLSSettings_AUTO_PASSTHROUGH,
		HTTPSRedirect: t.GetHttpsRedirect(), Authority: credentialName(t.GetCaCertCredentialName()),
		Passthrough: mode == networkingpb.ServerTLSSettings_PASSTHROUGH, Workload: mode == networkingpb.ServerTLSSettings_ISTIO_MUTUAL,
		Mutual:   mode == networkingpb.ServerTLSSettings_MUTUAL || mode == networkingpb.ServerTLSSettings_OPTIONAL_MUTUAL,
		Optional: mode == networkingpb.ServerTLSSettings_OPTIONAL_MUTUAL,

		SubjectAltNames: t.GetSubjectAltNames(), CipherSuites: t.GetCipherSuites(),
		Hashes: t.GetVerifyCertificateHash(), KeyHashes: t.GetVerifyCertificateSpki(),
		MinVersion: tlsVersion(t.GetMinProtocolVersion()), MaxVersion: tlsVersion(t.GetMaxProtocolVersion()),
	}
	for _, name := range append([]string{t.GetCredentialName()}, t.GetCredentialNames()...) {
		if name != "" {
			m.Credentials = append(m.Credentials, credentialName(name))
		}
	}
	if s.Protocol == model.HTTPS || s.Protocol == model.TLS {
		b.checkTLS(o, t, m, path+".tls", selector)
	}
	return m
}

func credentialName(name string) string { return strings.TrimPrefix(name, "kubernetes://") }

func tlsVersion(v networkingpb.ServerTLSSettings_TLSProtocol) uint8 {
	return map[networkingpb.ServerTLSSettings_TLSProtocol]uint8{
		networkingpb.ServerTLSSettings_TLSV1_0: 10, networkingpb.ServerTLSSettings_TLSV1_1: 11,
		networkingpb.ServerTLSSettings_TLSV1_2: 12, networkingpb.ServerTLSSettings_TLSV1_3: 13,
	}[v]
}

// cipherSuites are those of TLS 1.2 that the proxy has, by Envoy's names.
var cipherSuites = []string{
	"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
	"ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES128-SHA",
	"ECDHE-ECDSA-AES256-SHA", "ECDHE-RSA-AES256-SHA", "AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-SHA", "AES256-SHA",
}

// checkTLS refuses what is not supported, and looks the credentials up in the
// namespaces of the Pods that the Gateway selects.
func (b *builder) checkTLS(o *config.Object, t *networkingpb.ServerTLSSettings, m *model.ServerTLS, path string, selector map[string]string) {
	for i, name := range m.CipherSuites {
		for suite := range strings.SplitSeq(strings.Trim(name, "[]"), "|") {
			if !slices.Contains(cipherSuites, suite) {
				m.Invalid = true
				b.report(o, config.Error, CodeUnsupported, fmt.Sprintf("%s.cipherSuites[%d]", path, i),
					fmt.Sprintf("cipher suite %q is not supported", suite), "those that are: "+strings.Join(cipherSuites, ", "))
			}
		}
	}
	if !m.Mutual {
		for _, f := range []struct {
			name string
			set  bool
		}{{"verifyCertificateSpki", len(m.KeyHashes) > 0}, {"verifyCertificateHash", len(m.Hashes) > 0}, {"caCertCredentialName", m.Authority != ""}} {
			if f.set {
				b.report(o, config.Warning, CodeIneffectiveTLS, path+"."+f.name,
					fmt.Sprintf("%s has no effect: mode %s asks clients for no certificate of this authority", f.name, t.GetMode()), "use MUTUAL, or leave it out")
			}
		}
	}
	if len(m.Credentials) == 0 {
		return
	}
	for _, w := range b.parts.Workloads {
		if !model.Selects(selector, w.Labels) {
			continue
		}
		if code, problem := b.credentialProblem(w.Namespace, m); problem != "" {
			at := path + ".credentialName"
			if t.GetCredentialName() == "" {
				at = path + ".credentialNames"
			}
			b.report(o, config.Error, code, at, problem,
				"the secret must be in the namespace of the gateway's Pods: "+w.Namespace)
		}
		return
	}
}

func (b *builder) credentialProblem(namespace string, t *model.ServerTLS) (code, problem string) {
	find := func(name string) *model.Secret {
		i := slices.IndexFunc(b.parts.Secrets, func(s *model.Secret) bool { return s.Namespace == namespace && s.Name == name })
		if i < 0 {
			return nil
		}
		return b.parts.Secrets[i]
	}
	for _, name := range t.Credentials {
		if own := find(name); own == nil || len(own.Chain) == 0 || len(own.Key) == 0 {
			if b.view.Get("Secret", namespace, name) != nil {
				return CodeBadCredential, fmt.Sprintf("secret %s/%s has no tls.crt and tls.key (or cert and key): the server is left out", namespace, name)
			}
			return CodeNoCredential, fmt.Sprintf("secret %s/%s with tls.crt and tls.key (or cert and key) is not there: the server is left out", namespace, name)
		}
	}
	if !t.Mutual {
		return "", ""
	}
	name := cmp.Or(t.Authority, t.Credentials[0])
	for _, candidate := range []string{name + "-cacert", name} {
		if s := find(candidate); s != nil && len(s.Authority) > 0 {
			return "", ""
		}
	}
	return CodeBadCredential, fmt.Sprintf("neither secret %s/%s nor %s-cacert has ca.crt (or cacert): the server is left out", namespace, name, name)
}
