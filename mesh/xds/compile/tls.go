package compile

//lint:file-ignore SA1019 Envoy still takes what is deprecated, and control planes still send it.

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"strings"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// serverTLS compiles a downstream transport socket; nil is plaintext.
func (b *build) serverTLS(at place, s *corepb.TransportSocket) *snapshot.ServerTLS {
	if s == nil {
		return nil
	}
	at = at.field("typedConfig")
	m, err := unpack(s.GetTypedConfig())
	if err != nil {
		return nil // strict has said so
	}
	ctx, ok := m.(*tlspb.DownstreamTlsContext)
	if !ok {
		if bare(s.GetTypedConfig().GetTypeUrl()) != rawBuffer {
			at.errorf("%s is no downstream transport socket", bare(s.GetTypedConfig().GetTypeUrl()))
		}
		return nil
	}
	c := b.common(at.field("commonTlsContext"), ctx.GetCommonTlsContext())
	out := &snapshot.ServerTLS{
		Certificate: c.certificate, Inline: c.inline, Others: c.others, ValidationContext: c.validation, InlineRoots: c.roots, MatchSANs: c.sans,
		CertHashes: c.certHashes, KeyHashes: c.keyHashes,
		RequireClientCert: ctx.GetRequireClientCertificate().GetValue(),
		ALPN:              ctx.GetCommonTlsContext().GetAlpnProtocols(),
		MinVersion:        c.min, MaxVersion: c.max, CipherSuites: c.ciphers,
	}
	if out.Certificate == "" && out.Inline == nil {
		at.field("commonTlsContext").errorf("no certificate: one of tlsCertificates and tlsCertificateSdsSecretConfigs is needed")
	}
	if len(out.CertHashes)+len(out.KeyHashes) > 0 && out.ValidationContext == "" && out.InlineRoots == nil {
		at.errorf("hashes of certificates without trusted roots: not supported")
	}
	if out.RequireClientCert && out.ValidationContext == "" && out.InlineRoots == nil {
		at.errorf("requireClientCertificate without trusted roots: not supported")
	}
	return out
}

const rawBuffer = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"

// clientTLS compiles an upstream transport socket; nil is plaintext.
func (b *build) clientTLS(at place, s *corepb.TransportSocket) *snapshot.ClientTLS {
	if s == nil {
		return nil
	}
	at = at.field("typedConfig")
	m, err := unpack(s.GetTypedConfig())
	if err != nil {
		return nil
	}
	ctx, ok := m.(*tlspb.UpstreamTlsContext)
	if !ok {
		if bare(s.GetTypedConfig().GetTypeUrl()) != rawBuffer {
			at.errorf("%s is no upstream transport socket", bare(s.GetTypedConfig().GetTypeUrl()))
		}
		return nil
	}
	c := b.common(at.field("commonTlsContext"), ctx.GetCommonTlsContext())
	if len(c.others) > 0 {
		at.field("commonTlsContext").errorf("%d certificates: only one is supported for a client", len(c.others)+1)
	}
	if len(c.certHashes)+len(c.keyHashes) > 0 {
		at.field("commonTlsContext").errorf("hashes of certificates: not supported for a client")
	}
	out := &snapshot.ClientTLS{
		Certificate: c.certificate, Inline: c.inline, ValidationContext: c.validation, InlineRoots: c.roots, SystemRoots: c.system,
		MatchSANs: c.sans, SNI: ctx.GetSni(), AutoSNI: ctx.GetAutoHostSni(), ALPN: ctx.GetCommonTlsContext().GetAlpnProtocols(),
		MinVersion: c.min, MaxVersion: c.max,
	}
	// Envoy does not verify a server for which no trusted roots are configured.
	out.InsecureSkipVerify = c.untrusted || out.ValidationContext == "" && out.InlineRoots == nil && !out.SystemRoots
	return out
}

// common is what both ends of TLS have.
type common struct {
	certificate, validation string
	inline                  *snapshot.InlineCertificate
	others                  []*snapshot.InlineCertificate
	certHashes, keyHashes   [][32]byte
	roots                   []byte
	system, untrusted       bool
	sans                    []snapshot.StringMatch
	min, max                uint16
	ciphers                 []uint16
}

func (b *build) common(at place, m *tlspb.CommonTlsContext) common {
	var c common
	c.min, c.max = version(m.GetTlsParams().GetTlsMinimumProtocolVersion()), version(m.GetTlsParams().GetTlsMaximumProtocolVersion())
	c.ciphers = ciphers(at.field("tlsParams").field("cipherSuites"), m.GetTlsParams().GetCipherSuites())
	var inline []*snapshot.InlineCertificate
	for i, cert := range m.GetTlsCertificates() {
		inline = append(inline, b.certificate(at.field("tlsCertificates").index(i), cert))
	}
	for i, sds := range m.GetTlsCertificateSdsSecretConfigs() {
		at := at.field("tlsCertificateSdsSecretConfigs").index(i)
		if secret := b.secret(at, sds); secret != nil {
			inline = append(inline, b.certificate(at, secret.GetTlsCertificate()))
			continue
		}
		if n := len(m.GetTlsCertificates()) + len(m.GetTlsCertificateSdsSecretConfigs()); n > 1 && !resource.OverADS(sds.GetSdsConfig()) {
			at.errorf("one of %d certificates, and not over ADS: not supported", n)
		}
		c.certificate = sds.GetName() // it comes from elsewhere, or later
	}
	if len(inline) > 0 && c.certificate == "" {
		c.inline, c.others = inline[0], inline[1:]
	}
	switch v := m.GetValidationContextType().(type) {
	case *tlspb.CommonTlsContext_ValidationContext:
		b.validate(at.field("validationContext"), v.ValidationContext, &c)
	case *tlspb.CommonTlsContext_ValidationContextSdsSecretConfig:
		b.validateSDS(at.field("validationContextSdsSecretConfig"), v.ValidationContextSdsSecretConfig, &c)
	case *tlspb.CommonTlsContext_CombinedValidationContext:
		at := at.field("combinedValidationContext")
		b.validate(at.field("defaultValidationContext"), v.CombinedValidationContext.GetDefaultValidationContext(), &c)
		b.validateSDS(at.field("validationContextSdsSecretConfig"), v.CombinedValidationContext.GetValidationContextSdsSecretConfig(), &c)
	}
	return c
}

func (b *build) certificate(at place, m *tlspb.TlsCertificate) *snapshot.InlineCertificate {
	out := &snapshot.InlineCertificate{
		Chain: b.data(at.field("certificateChain"), m.GetCertificateChain()),
		Key:   b.data(at.field("privateKey"), m.GetPrivateKey()),
	}
	if len(out.Chain) > 0 || len(out.Key) > 0 {
		if _, err := tls.X509KeyPair(out.Chain, out.Key); err != nil {
			at.errorf("%v", err)
		}
	}
	return out
}

func (b *build) validate(at place, m *tlspb.CertificateValidationContext, c *common) {
	if roots := b.data(at.field("trustedCa"), m.GetTrustedCa()); roots != nil {
		c.roots = roots
	}
	c.system = c.system || m.GetSystemRootCerts() != nil
	c.untrusted = c.untrusted || m.GetTrustChainVerification() == tlspb.CertificateValidationContext_ACCEPT_UNTRUSTED
	c.sans = append(c.sans, stringMatches(at.field("matchSubjectAltNames"), m.GetMatchSubjectAltNames())...)
	for i, h := range m.GetVerifyCertificateHash() {
		// Envoy takes OpenSSL's spelling, too: upper case, with colons between the bytes.
		c.certHashes = append(c.certHashes, digest(at.field("verifyCertificateHash").index(i), strings.ReplaceAll(h, ":", ""), hex.DecodeString))
	}
	for i, h := range m.GetVerifyCertificateSpki() {
		c.keyHashes = append(c.keyHashes, digest(at.field("verifyCertificateSpki").index(i), h, base64.StdEncoding.DecodeString))
	}
	for i, s := range m.GetMatchTypedSubjectAltNames() {
		at := at.field("matchTypedSubjectAltNames").index(i)
		switch s.GetSanType() {
		case tlspb.SubjectAltNameMatcher_DNS, tlspb.SubjectAltNameMatcher_URI:
		default:
			at.field("sanType").errorf("%s: not supported", s.GetSanType())
		}
		c.sans = append(c.sans, *stringMatch(at.field("matcher"), s.GetMatcher()))
	}
}

// digest reads a SHA-256.
func digest(at place, text string, decode func(string) ([]byte, error)) (sum [32]byte) {
	raw, err := decode(text)
	if err != nil || len(raw) != len(sum) {
		at.errorf("%q is no SHA-256", text)
		return sum
	}
	return [32]byte(raw)
}

// validateSDS takes the roots of a secret that came over ADS, or else its name.
func (b *build) validateSDS(at place, sds *tlspb.SdsSecretConfig, c *common) {
	if secret := b.secret(at, sds); secret != nil {
		b.validate(at, secret.GetValidationContext(), c)
		return
	}
	c.validation = sds.GetName()
}

// secret returns a secret of the set, or nil where it comes from elsewhere or has
// not come yet.
func (b *build) secret(at place, sds *tlspb.SdsSecretConfig) *tlspb.Secret {
	if sds.GetSdsConfig() != nil && !resource.OverADS(sds.GetSdsConfig()) {
		return nil
	}
	res := b.set[resource.Secret][sds.GetName()]
	if res == nil {
		return nil
	}
	m, err := res.Unmarshal(resource.Secret)
	if err != nil {
		at.errorf("%v", err)
		return nil
	}
	strict(at.key(sds.GetName()), m.ProtoReflect())
	return m.(*tlspb.Secret)
}

func version(v tlspb.TlsParameters_TlsProtocol) uint16 {
	switch v {
	case tlspb.TlsParameters_TLSv1_0:
		return tls.VersionTLS10
	case tlspb.TlsParameters_TLSv1_1:
		return tls.VersionTLS11
	case tlspb.TlsParameters_TLSv1_2:
		return tls.VersionTLS12
	case tlspb.TlsParameters_TLSv1_3:
		return tls.VersionTLS13
	default:
		return 0
	}
}

// suites are BoringSSL's names of the TLS 1.2 cipher suites that crypto/tls has.
var suites = map[string]uint16{
	"ECDHE-ECDSA-AES128-GCM-SHA256": tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-RSA-AES128-GCM-SHA256":   tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-ECDSA-AES256-GCM-SHA384": tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-RSA-AES256-GCM-SHA384":   tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-ECDSA-CHACHA20-POLY1305": tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	"ECDHE-RSA-CHACHA20-POLY1305":   tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	"ECDHE-ECDSA-AES128-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
	"ECDHE-RSA-AES128-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
	"ECDHE-ECDSA-AES256-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
	"ECDHE-RSA-AES256-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
	"AES128-GCM-SHA256":             tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
	"AES256-GCM-SHA384":             tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
	"AES128-SHA":                    tls.TLS_RSA_WITH_AES_128_CBC_SHA,
	"AES256-SHA":                    tls.TLS_RSA_WITH_AES_256_CBC_SHA,
}

// ciphers converts names; "[A|B]" is a group of equal preference.
func ciphers(at place, names []string) []uint16 {
	var out []uint16
	for i, entry := range names {
		for name := range strings.SplitSeq(strings.Trim(entry, "[]"), "|") {
			id, ok := suites[name]
			if !ok {
				at.index(i).errorf("%q: not supported", name)
				continue
			}
			out = append(out, id)
		}
	}
	return out
}
