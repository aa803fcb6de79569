package translate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// sees reports whether a VirtualService may be used by a server of this proxy.
func (p *proxy) sees(s served, v *model.VirtualService) bool {
	return v.Namespace == s.gateway.Namespace || v.Export.To(p.node.Namespace) || v.Export.To(s.gateway.Namespace)
}

// admitted are the VirtualServices that claim a host of the server, oldest first.
func (p *proxy) admitted(s served) []*model.VirtualService {
	var list []*model.VirtualService
	for _, v := range p.mesh.Virtual {
		if p.sees(s, v) && slices.ContainsFunc(v.Hosts, func(h string) bool { _, ok := s.server.Admits(v.Namespace, h); return ok }) {
			list = append(list, v)
		}
	}
	return list
}

// addTLS adds a chain for server names (none: any) that no other chain of the port has.
func addTLS(l *listenerpb.Listener, names *binding, serverNames []string, chain *listenerpb.FilterChain) error {
	match, err := names.claim(forwarding{serverNames: serverNames})
	if err != nil || match == nil {
		return err
	}
	match.TransportProtocol = "tls"
	chain.FilterChainMatch = match
	l.FilterChains = append(l.FilterChains, chain)
	if len(l.ListenerFilters) == 0 {
		l.ListenerFilters = []*listenerpb.ListenerFilter{tlsInspector(nil)}
	}
	return nil
}

// passthroughChains forward TLS as it is, to where tls rules send its server name.
func (p *proxy) passthroughChains(l *listenerpb.Listener, names *binding, s served) error {
	for _, v := range p.admitted(s) {
		for _, r := range v.TLS {
			for _, m := range r.Matches {
				if !admitsConnection(v, &m.ConnectionMatch, s.server.Port, s.gateway.Ref()) {
					continue
				}
				err := addTLS(l, names, m.ServerNames, &listenerpb.FilterChain{
					Metadata: provenance(m.Source, nil), Filters: []*listenerpb.Filter{p.tcpProxy(statOf("tls", v), r.Routes, s.server.Port)}})
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func statOf(kind string, v *model.VirtualService) string {
	return strings.Join([]string{kind, v.Name, v.Namespace}, ".")
}

// httpsChain terminates TLS for a server's hosts. A server whose credential is not
// there is left out: the build has reported it.
func (p *proxy) httpsChain(l *listenerpb.Listener, names *binding, s served) error {
	socket, ok, err := p.credential(s.server)
	if err != nil || !ok {
		return err
	}
	route := fmt.Sprintf("https.%d.%s.%s.%s", s.server.Port, s.server.Name, s.gateway.Name, s.gateway.Namespace)
	chain := p.gatewayChain(l.Name, route)
	chain.TransportSocket = socket
	chain.Metadata = provenance(s.server.Source, nil)
	if err := addTLS(l, names, serverNames(s.server), chain); err != nil {
		return err
	}
	m, err := finish([]*routepb.RouteConfiguration{p.gatewayTable(route, []served{s})})
	return p.put(resource.Route, m, err)
}

// tlsServer terminates TLS and forwards what was in it as tcp rules say, or TLSRoutes.
func (p *proxy) tlsServer(l *listenerpb.Listener, names *binding, s served) error {
	if err := p.endedChains(l, names, s); err != nil {
		return err
	}
	v, r := p.tcpRule(s)
	if r == nil {
		return nil
	}
	socket, ok, err := p.credential(s.server)
	if err != nil || !ok {
		return err
	}
	return addTLS(l, names, serverNames(s.server), &listenerpb.FilterChain{
		Metadata: provenance(r.Source, nil), TransportSocket: socket, TransportSocketConnectTimeout: handshake(),
		Filters: []*listenerpb.Filter{p.tcpProxy(statOf("tcp", v), r.Routes, s.server.Port)},
	})
}

// endedChains forward what was in TLS by the server name that it came for, which only
// TLSRoutes ask for: Istio's tls rules are for TLS that stays.
func (p *proxy) endedChains(l *listenerpb.Listener, names *binding, s served) error {
	for _, v := range p.admitted(s) {
		for _, r := range v.TLS {
			for _, m := range r.Matches {
				if !v.GatewayAPI || !admitsConnection(v, &m.ConnectionMatch, s.server.Port, s.gateway.Ref()) {
					continue
				}
				socket, ok, err := p.credential(s.server)
				if err != nil || !ok {
					return err
				}
				err = addTLS(l, names, m.ServerNames, &listenerpb.FilterChain{
					Metadata: provenance(m.Source, nil), TransportSocket: socket, TransportSocketConnectTimeout: handshake(),
					Filters: []*listenerpb.Filter{p.tcpProxy(statOf("tls", v), r.Routes, s.server.Port)},
				})
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// tcpServer forwards connections as tcp rules say; the first Gateway on a port has it.
func (p *proxy) tcpServer(l *listenerpb.Listener, s served) {
	if len(l.FilterChains) > 0 {
		return
	}
	if v, r := p.tcpRule(s); r != nil {
		l.FilterChains = []*listenerpb.FilterChain{{
			Metadata: provenance(r.Source, nil),
			Filters:  []*listenerpb.Filter{p.tcpProxy(statOf("tcp", v), r.Routes, s.server.Port)},
		}}
	}
}

// tcpRule is the first that holds for a server.
func (p *proxy) tcpRule(s served) (*model.VirtualService, *model.TCPRule) {
	for _, v := range p.admitted(s) {
		for _, r := range v.TCP {
			if len(r.Matches) == 0 && v.Bound(s.gateway.Ref()) || slices.ContainsFunc(r.Matches, func(m *model.ConnectionMatch) bool {
				return admitsConnection(v, m, s.server.Port, s.gateway.Ref())
			}) {
				return v, r
			}
		}
	}
	return nil, nil
}

// serverNames are the hosts that SNI is matched against; none match any.
func serverNames(s *model.Server) []string {
	var list []string
	for _, h := range s.Hosts {
		if h.Host == "*" {
			return nil
		}
		list = append(list, h.Host)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// credential makes a server's transport socket, and sends the secrets that it names.
// Without all of them the server cannot be served.
func (p *proxy) credential(s *model.Server) (*corepb.TransportSocket, bool, error) {
	t := s.TLS
	params := &tlspb.TlsParameters{
		TlsMinimumProtocolVersion: protocolVersion(t.MinVersion, tlspb.TlsParameters_TLSv1_2),
		TlsMaximumProtocolVersion: protocolVersion(t.MaxVersion, tlspb.TlsParameters_TLSv1_3),
		CipherSuites:              t.CipherSuites,
	}
	alpn := []string{"h2", "http/1.1"}
	if t.Workload {
		if s.Protocol == model.TLS {
			alpn = append([]string{"istio-peer-exchange"}, alpn...)
		}
		common := p.workloadTLS(alpn, exactSANs(t.SubjectAltNames)...)
		common.TlsParams = params
		return socket(tlsSocket, &tlspb.DownstreamTlsContext{CommonTlsContext: common, RequireClientCertificate: wrapperspb.Bool(true)}), true, nil
	}
	common := &tlspb.CommonTlsContext{TlsParams: params, AlpnProtocols: alpn}
	var secrets []*tlspb.Secret
	for _, name := range t.Credentials {
		secret := p.certificateSecret(p.vaultOf(t), name)
		if secret == nil {
			return nil, false, nil
		}
		secrets = append(secrets, secret)
		common.TlsCertificateSdsSecretConfigs = append(common.TlsCertificateSdsSecretConfigs, &tlspb.SdsSecretConfig{Name: secret.Name, SdsConfig: adsSource()})
	}
	if len(secrets) == 0 {
		return nil, false, nil
	}
	if t.Mutual {
		roots := p.rootsSecret(p.vaultOf(t), cmp.Or(t.Authority, t.Credentials[0]))
		if roots == nil {
			return nil, false, nil
		}
		secrets = append(secrets, roots)
		common.ValidationContextType = combined(&tlspb.CertificateValidationContext{
			//lint:ignore SA1019 as istiod sends it
			MatchSubjectAltNames:  exactSANs(t.SubjectAltNames),
			VerifyCertificateSpki: t.KeyHashes, VerifyCertificateHash: t.Hashes,
		}, roots.Name)
	}
	m, err := finish(secrets)
	if err := p.put(resource.Secret, m, err); err != nil {
		return nil, false, err
	}
	return socket(tlsSocket, &tlspb.DownstreamTlsContext{
		CommonTlsContext: common, RequireClientCertificate: wrapperspb.Bool(t.Mutual && !t.Optional)}), true, nil
}

// combined is a validation context whose roots come as a secret.
func combined(v *tlspb.CertificateValidationContext, roots string) *tlspb.CommonTlsContext_CombinedValidationContext {
	return &tlspb.CommonTlsContext_CombinedValidationContext{
		CombinedValidationContext: &tlspb.CommonTlsContext_CombinedCertificateValidationContext{
			DefaultValidationContext:         v,
			ValidationContextSdsSecretConfig: &tlspb.SdsSecretConfig{Name: roots, SdsConfig: adsSource()},
		}}
}

const secretPrefix = "kubernetes://"

// certificateSecret is a Secret with its certificate and key;
// nil where it is not there, or has none.
func (p *proxy) certificateSecret(in vault, name string) *tlspb.Secret {
	s := p.mesh.Secret(in.namespace, name)
	if s == nil || len(s.Chain) == 0 || len(s.Key) == 0 {
		return nil
	}
	return &tlspb.Secret{Name: in.prefix + name, Type: &tlspb.Secret_TlsCertificate{TlsCertificate: &tlspb.TlsCertificate{
		CertificateChain: inlineBytes(s.Chain), PrivateKey: inlineBytes(s.Key)}}}
}

// rootsSecret is "NAME-cacert": the Secret of that name where it has roots, else the
// roots of Secret NAME itself.
func (p *proxy) rootsSecret(in vault, name string) *tlspb.Secret {
	if s := p.authoritySecret(in, name+caSuffix); s != nil {
		return s
	}
	s := p.authoritySecret(in, name)
	if s != nil {
		s.Name += caSuffix
	}
	return s
}

const caSuffix = "-cacert"

func (p *proxy) authoritySecret(in vault, name string) *tlspb.Secret {
	s := p.mesh.Secret(in.namespace, name)
	if s == nil || len(s.Authority) == 0 {
		return nil
	}
	return &tlspb.Secret{Name: in.prefix + name, Type: &tlspb.Secret_ValidationContext{
		ValidationContext: &tlspb.CertificateValidationContext{TrustedCa: inlineBytes(s.Authority)}}}
}

func protocolVersion(v uint8, unset tlspb.TlsParameters_TlsProtocol) tlspb.TlsParameters_TlsProtocol {
	switch v {
	case 10:
		return tlspb.TlsParameters_TLSv1_0
	case 11:
		return tlspb.TlsParameters_TLSv1_1
	case 12:
		return tlspb.TlsParameters_TLSv1_2
	case 13:
		return tlspb.TlsParameters_TLSv1_3
	default:
		return unset
	}
}

func inlineBytes(b []byte) *corepb.DataSource {
	return &corepb.DataSource{Specifier: &corepb.DataSource_InlineBytes{InlineBytes: b}}
}
