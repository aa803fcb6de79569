package translate

import (
	"strings"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	proxyprotocolpb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"
	rawpb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
)

const (
	tlsSocket = "envoy.transport_sockets.tls"
	rawSocket = "envoy.transport_sockets.raw_buffer"

	proxyProtocolSocket = "envoy.transport_sockets.upstream_proxy_protocol"
)

// serverCiphers are what istiod allows below TLS 1.3.
var serverCiphers = []string{
	"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256",
	"ECDHE-RSA-AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-GCM-SHA256",
}

// ADS is the configuration source of everything that comes on the same stream.
func adsSource() *corepb.ConfigSource {
	return &corepb.ConfigSource{
		ConfigSourceSpecifier: &corepb.ConfigSource_Ads{Ads: &corepb.AggregatedConfigSource{}},
		InitialFetchTimeout:   durationpb.New(0), ResourceApiVersion: corepb.ApiVersion_V3,
	}
}

// agentSource is the workload's agent, which serves its own certificate and the roots.
func agentSource() *corepb.ConfigSource {
	return &corepb.ConfigSource{
		ConfigSourceSpecifier: &corepb.ConfigSource_ApiConfigSource{ApiConfigSource: &corepb.ApiConfigSource{
			ApiType: corepb.ApiConfigSource_GRPC, TransportApiVersion: corepb.ApiVersion_V3, SetNodeOnFirstMessageOnly: true,
			GrpcServices: []*corepb.GrpcService{{TargetSpecifier: &corepb.GrpcService_EnvoyGrpc_{
				EnvoyGrpc: &corepb.GrpcService_EnvoyGrpc{ClusterName: names.SDS}}}},
		}},
		InitialFetchTimeout: durationpb.New(0), ResourceApiVersion: corepb.ApiVersion_V3,
	}
}

// workloadTLS are the parts that both ends of mTLS have in common.
func (t *Translator) workloadTLS(alpn []string, sans ...*matcherpb.StringMatcher) *tlspb.CommonTlsContext {
	low := tlspb.TlsParameters_TLSv1_2
	if t.mesh.Settings.MinTLS13 {
		low = tlspb.TlsParameters_TLSv1_3
	}
	return &tlspb.CommonTlsContext{
		TlsParams:                      &tlspb.TlsParameters{TlsMinimumProtocolVersion: low, TlsMaximumProtocolVersion: tlspb.TlsParameters_TLSv1_3},
		TlsCertificateSdsSecretConfigs: []*tlspb.SdsSecretConfig{{Name: names.WorkloadCertificate, SdsConfig: agentSource()}},
		ValidationContextType: &tlspb.CommonTlsContext_CombinedValidationContext{
			CombinedValidationContext: &tlspb.CommonTlsContext_CombinedCertificateValidationContext{
				//lint:ignore SA1019 as istiod sends it
				DefaultValidationContext:         &tlspb.CertificateValidationContext{MatchSubjectAltNames: sans},
				ValidationContextSdsSecretConfig: &tlspb.SdsSecretConfig{Name: names.Roots, SdsConfig: agentSource()},
			}},
		AlpnProtocols: alpn,
	}
}

func exactSANs(values []string) []*matcherpb.StringMatcher {
	var list []*matcherpb.StringMatcher
	for _, v := range values {
		list = append(list, &matcherpb.StringMatcher{MatchPattern: &matcherpb.StringMatcher_Exact{Exact: v}})
	}
	return list
}

// serverMTLS is the transport socket of inbound chains that want a mesh certificate
// of this trust domain or one of its aliases.
func (t *Translator) serverMTLS(alpn []string) *corepb.TransportSocket {
	var sans []*matcherpb.StringMatcher
	for _, domain := range append([]string{t.mesh.Settings.TrustDomain}, t.mesh.Settings.TrustAliases...) {
		sans = append(sans, &matcherpb.StringMatcher{MatchPattern: &matcherpb.StringMatcher_Prefix{Prefix: "spiffe://" + domain + "/"}})
	}
	common := t.workloadTLS(alpn, sans...)
	common.TlsParams.CipherSuites = serverCiphers
	return socket(tlsSocket, &tlspb.DownstreamTlsContext{CommonTlsContext: common, RequireClientCertificate: wrapperspb.Bool(true)})
}

func socket(name string, m validated) *corepb.TransportSocket {
	return &corepb.TransportSocket{Name: name, ConfigType: &corepb.TransportSocket_TypedConfig{TypedConfig: toAny(m)}}
}

func plaintext() *corepb.TransportSocket { return socket(rawSocket, &rawpb.RawBuffer{}) }

// proxyProtocol has the connections of a cluster begin with a header of a version of the
// PROXY protocol; 0: without. Istio puts it around each transport socket that there is,
// that of mutual TLS included.
func proxyProtocol(c *clusterpb.Cluster, version uint8) {
	if version == 0 {
		return
	}
	around := func(inner *corepb.TransportSocket) *corepb.TransportSocket {
		return socket(proxyProtocolSocket, &proxyprotocolpb.ProxyProtocolUpstreamTransport{
			Config: &corepb.ProxyProtocolConfig{Version: corepb.ProxyProtocolConfig_Version(version - 1)}, TransportSocket: inner})
	}
	if c.TransportSocket == nil && len(c.TransportSocketMatches) == 0 {
		c.TransportSocket = plaintext()
	}
	if c.TransportSocket != nil {
		c.TransportSocket = around(c.TransportSocket)
	}
	for _, m := range c.TransportSocketMatches {
		m.TransportSocket = around(m.TransportSocket)
	}
}

// clientMTLS is the transport socket to a destination within the mesh.
func (t *Translator) clientMTLS(s *model.Service, port *model.Port, sni string, sans []string) *corepb.TransportSocket {
	if len(sans) == 0 {
		for _, a := range s.Endpoints.Accounts {
			ns, account, _ := strings.Cut(a, "/")
			sans = append(sans, names.SPIFFE(t.mesh.Settings.TrustDomain, ns, account))
		}
		sans = append(sans, s.SubjectAltNames...)
	}
	alpn := []string{"istio-peer-exchange", "istio"}
	if port.Protocol.IsHTTP2() {
		alpn = append(alpn, "h2")
	}
	return socket(tlsSocket, &tlspb.UpstreamTlsContext{CommonTlsContext: t.workloadTLS(alpn, exactSANs(sans)...), Sni: sni})
}

// clientTLS originates TLS with files, or with the system's roots.
func clientTLS(c *model.ClientTLS, sans []string, alpn []string) *corepb.TransportSocket {
	if len(c.SubjectAltNames) > 0 {
		sans = c.SubjectAltNames
	}
	common := &tlspb.CommonTlsContext{
		TlsParams:     &tlspb.TlsParameters{TlsMinimumProtocolVersion: tlspb.TlsParameters_TLSv1_2, TlsMaximumProtocolVersion: tlspb.TlsParameters_TLSv1_3},
		AlpnProtocols: alpn,
	}
	if c.Credential != "" {
		return credentialTLS(c, sans, common)
	}
	if c.Mode == model.TLSMutual {
		common.TlsCertificates = []*tlspb.TlsCertificate{{CertificateChain: fileSource(c.Certificate), PrivateKey: fileSource(c.Key)}}
	}
	if !c.InsecureSkipVerify {
		//lint:ignore SA1019 as istiod sends it
		v := &tlspb.CertificateValidationContext{MatchSubjectAltNames: exactSANs(sans)}
		if c.CA != "" {
			v.TrustedCa = fileSource(c.CA)
		} else {
			v.SystemRootCerts = &tlspb.CertificateValidationContext_SystemRootCerts{}
		}
		common.ValidationContextType = &tlspb.CommonTlsContext_ValidationContext{ValidationContext: v}
	}
	return socket(tlsSocket, &tlspb.UpstreamTlsContext{CommonTlsContext: common, Sni: c.SNI})
}

// credentialTLS originates TLS with a Secret: its certificate where the server wants
// one, and the roots beside it.
func credentialTLS(c *model.ClientTLS, sans []string, common *tlspb.CommonTlsContext) *corepb.TransportSocket {
	name := secretPrefix + c.Credential
	if c.Mode == model.TLSMutual {
		common.TlsCertificateSdsSecretConfigs = []*tlspb.SdsSecretConfig{{Name: name, SdsConfig: adsSource()}}
	}
	if !c.InsecureSkipVerify {
		//lint:ignore SA1019 as istiod sends it
		common.ValidationContextType = combined(&tlspb.CertificateValidationContext{MatchSubjectAltNames: exactSANs(sans)}, name+caSuffix)
	}
	return socket(tlsSocket, &tlspb.UpstreamTlsContext{CommonTlsContext: common, Sni: c.SNI})
}

func fileSource(path string) *corepb.DataSource {
	return &corepb.DataSource{Specifier: &corepb.DataSource_Filename{Filename: path}}
}
