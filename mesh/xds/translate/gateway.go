package translate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// served is one server of one Gateway on this proxy.
type served struct {
	gateway *model.Gateway
	server  *model.Server
	target  uint32 // the port that the proxy opens
}

// gateway makes the listeners that the selected Gateways ask for, their routes and
// the secrets that they terminate TLS with.
func (p *proxy) gateway() error {
	byListener := map[string][]served{}
	for _, s := range p.servers() {
		name := names.Listener(bind(s.server), s.target)
		byListener[name] = append(byListener[name], s)
	}
	for _, name := range slices.Sorted(maps.Keys(byListener)) {
		if err := p.gatewayListener(name, byListener[name]); err != nil {
			return err
		}
	}
	return nil
}

func bind(s *model.Server) string { return cmp.Or(s.Bind, anyAddress) }

// servers are those of all Gateways that select the proxy, oldest Gateway first.
func (p *proxy) servers() []served {
	var list []served
	for _, g := range p.mesh.Gateways {
		if g.Service == "" && !model.Selects(g.Selector, p.node.Labels) || g.Service != "" && !p.behind(g.Service) {
			continue
		}
		for _, s := range g.Servers {
			if s.TLS == nil && (s.Protocol == model.HTTPS || s.Protocol == model.TLS) || s.Protocol == model.TLS {
				continue // reported when the mesh was built
			}
			list = append(list, served{g, s, p.targetOf(s.Port)})
		}
	}
	return list
}

// targetOf translates a Gateway's port through the Service in front of the proxy:
// 80 becomes 8080 where the Pods listen there. A port that no Service has is taken as it is.
func (p *proxy) targetOf(port uint32) uint32 {
	for _, i := range p.mesh.Instances(p.node.IP) {
		if i.Service.Kubernetes && i.Service.Namespace == p.node.Namespace && i.Port.Number == port {
			return i.Endpoint.Port
		}
	}
	for _, s := range p.mesh.Services {
		if s.Kubernetes && s.Namespace == p.node.Namespace && len(s.Selector) > 0 && model.Selects(s.Selector, p.node.Labels) {
			if sp := s.Port(port); sp != nil && sp.Target != 0 {
				return sp.Target
			}
		}
	}
	return port
}

func (p *proxy) gatewayListener(name string, list []served) error {
	l := &listenerpb.Listener{
		Name: name, Address: address(bind(list[0].server), list[0].target), TrafficDirection: corepb.TrafficDirection_OUTBOUND,
		MaxConnectionsToAcceptPerSocketEvent: wrapperspb.UInt32(1),
	}
	var plain []served
	for _, s := range list {
		switch {
		case s.server.Protocol.IsHTTP():
			plain = append(plain, s)
		case s.server.Protocol == model.HTTPS:
			if err := p.httpsChain(l, s); err != nil {
				return err
			}
		default:
			p.tcpServer(l, s)
		}
	}
	if len(plain) > 0 && l.DefaultFilterChain == nil && !hasCatchAll(l) {
		route := fmt.Sprintf("http.%d", plain[0].target)
		chain := p.gatewayChain(name, route)
		chain.Metadata = provenance(plain[0].server.Source, nil)
		if len(l.FilterChains) > 0 { // beside TLS: what is not TLS
			chain.FilterChainMatch = &listenerpb.FilterChainMatch{TransportProtocol: "raw_buffer"}
		}
		l.FilterChains = append(l.FilterChains, chain)
		m, err := finish([]*routepb.RouteConfiguration{p.gatewayTable(route, plain)})
		if err := p.put(resource.Route, m, err); err != nil {
			return err
		}
	}
	if len(l.FilterChains) == 0 {
		return nil // nothing that could be served is left
	}
	m, err := finish([]*listenerpb.Listener{p.withTCPMetrics(l, false)})
	return p.put(resource.Listener, m, err)
}

func hasCatchAll(l *listenerpb.Listener) bool {
	return slices.ContainsFunc(l.FilterChains, func(c *listenerpb.FilterChain) bool { return c.FilterChainMatch == nil })
}

// gatewayChain is a connection manager as the edge of the mesh has it.
func (p *proxy) gatewayChain(listener, route string) *listenerpb.FilterChain {
	m := p.manager("outbound_"+listener+";", false)
	m.RouteSpecifier = rds(route)
	m.ServerName = "istio-envoy"
	m.UseRemoteAddress = wrapperspb.Bool(true)
	m.HttpProtocolOptions = &corepb.Http1ProtocolOptions{}
	clientCertificates(m, hcmpb.HttpConnectionManager_SANITIZE_SET, true)
	return &listenerpb.FilterChain{Filters: []*listenerpb.Filter{managerFilter(m)}, TransportSocketConnectTimeout: handshake()}
}

// gatewayTable merges the routes of all VirtualServices on the servers of one port,
// host by host. A host of several has the routes of all, those that take everything last.
func (p *proxy) gatewayTable(name string, list []served) *routepb.RouteConfiguration {
	table := routeTable(name)
	hosts := map[string]*routepb.VirtualHost{}
	var order []string
	host := func(h string, port uint32) *routepb.VirtualHost {
		if hosts[h] == nil {
			hosts[h] = &routepb.VirtualHost{Name: names.VirtualHost(h, port), Domains: []string{h}, IncludeRequestAttemptCount: true}
			order = append(order, h)
		}
		return hosts[h]
	}
	type pair struct{ virtual, host string }
	done := map[pair]bool{}
	for _, s := range list {
		if s.server.TLS != nil && s.server.TLS.HTTPSRedirect {
			for _, h := range s.server.Hosts {
				host(h.Host, s.server.Port).Routes = []*routepb.Route{redirectToTLS(s.server)}
				done[pair{"", h.Host}] = true
			}
			continue
		}
		for _, v := range p.mesh.Virtual {
			if !boundAnywhere(v, s.gateway.Ref()) || v.Namespace != s.gateway.Namespace && !v.Export.To(p.node.Namespace) && !v.Export.To(s.gateway.Namespace) {
				continue
			}
			for _, wanted := range v.Hosts {
				h, ok := s.server.Admits(v.Namespace, wanted)
				key := pair{v.Namespace + "/" + v.Name, h}
				if !ok || done[key] || done[pair{"", h}] {
					continue
				}
				done[key] = true
				if routes := p.virtualRoutes(v, s.server.Port, s.gateway.Ref()); len(routes) > 0 {
					vh := host(h, s.server.Port)
					vh.Routes = append(vh.Routes, routes...)
				}
			}
		}
	}
	slices.Sort(order)
	for _, h := range order {
		slices.SortStableFunc(hosts[h].Routes, func(a, b *routepb.Route) int { return last(a) - last(b) })
		table.VirtualHosts = append(table.VirtualHosts, hosts[h])
	}
	if len(table.VirtualHosts) == 0 { // nothing is routed: every request is answered with 404
		table.VirtualHosts = []*routepb.VirtualHost{{Name: fmt.Sprintf("blackhole:%d", list[0].server.Port), Domains: []string{"*"}}}
	}
	return table
}

func last(r *routepb.Route) int {
	if takesAll(r.Match) {
		return 1
	}
	return 0
}

func redirectToTLS(s *model.Server) *routepb.Route {
	return &routepb.Route{
		Name: "https-redirect", Match: prefixMatch("/"), Metadata: provenance(s.Source, nil),
		Action: &routepb.Route_Redirect{Redirect: &routepb.RedirectAction{
			SchemeRewriteSpecifier: &routepb.RedirectAction_HttpsRedirect{HttpsRedirect: true}}},
	}
}

// httpsChain terminates TLS for a server's hosts. A server whose credential is not
// there is left out: the build has reported it.
func (p *proxy) httpsChain(l *listenerpb.Listener, s served) error {
	socket, ok, err := p.credential(s.server.TLS)
	if err != nil || !ok {
		return err
	}
	route := fmt.Sprintf("https.%d.%s.%s.%s", s.server.Port, s.server.Name, s.gateway.Name, s.gateway.Namespace)
	chain := p.gatewayChain(l.Name, route)
	chain.TransportSocket = socket
	chain.Metadata = provenance(s.server.Source, nil)
	chain.FilterChainMatch = &listenerpb.FilterChainMatch{ServerNames: serverNames(s.server), TransportProtocol: "tls"}
	l.FilterChains = append(l.FilterChains, chain)
	if len(l.ListenerFilters) == 0 {
		l.ListenerFilters = []*listenerpb.ListenerFilter{tlsInspector(nil)}
	}
	m, err := finish([]*routepb.RouteConfiguration{p.gatewayTable(route, []served{s})})
	return p.put(resource.Route, m, err)
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
func (p *proxy) credential(t *model.ServerTLS) (*corepb.TransportSocket, bool, error) {
	if t.Credential == "" {
		return nil, false, nil
	}
	namespace, name := p.secretOf(t)
	own := p.mesh.Secret(namespace, t.Credential)
	if own == nil || len(own.Chain) == 0 || len(own.Key) == 0 {
		return nil, false, nil
	}
	secrets := []*tlspb.Secret{{Name: name, Type: &tlspb.Secret_TlsCertificate{TlsCertificate: &tlspb.TlsCertificate{
		CertificateChain: inlineBytes(own.Chain), PrivateKey: inlineBytes(own.Key)}}}}
	common := &tlspb.CommonTlsContext{
		TlsParams: &tlspb.TlsParameters{
			TlsMinimumProtocolVersion: protocolVersion(t.MinVersion, tlspb.TlsParameters_TLSv1_2),
			TlsMaximumProtocolVersion: protocolVersion(t.MaxVersion, tlspb.TlsParameters_TLSv1_3),
			CipherSuites:              t.CipherSuites,
		},
		AlpnProtocols:                  []string{"h2", "http/1.1"},
		TlsCertificateSdsSecretConfigs: []*tlspb.SdsSecretConfig{{Name: name, SdsConfig: adsSource()}},
	}
	if t.Mutual {
		roots := own.Authority
		if other := p.mesh.Secret(namespace, t.Credential+"-cacert"); other != nil && len(other.Authority) > 0 {
			roots = other.Authority
		}
		if len(roots) == 0 {
			return nil, false, nil
		}
		secrets = append(secrets, &tlspb.Secret{Name: name + "-cacert", Type: &tlspb.Secret_ValidationContext{
			ValidationContext: &tlspb.CertificateValidationContext{TrustedCa: inlineBytes(roots)}}})
		common.ValidationContextType = &tlspb.CommonTlsContext_CombinedValidationContext{
			CombinedValidationContext: &tlspb.CommonTlsContext_CombinedCertificateValidationContext{
				//lint:ignore SA1019 as istiod sends it
				DefaultValidationContext:         &tlspb.CertificateValidationContext{MatchSubjectAltNames: exactSANs(t.SubjectAltNames)},
				ValidationContextSdsSecretConfig: &tlspb.SdsSecretConfig{Name: name + "-cacert", SdsConfig: adsSource()},
			}}
	}
	m, err := finish(secrets)
	if err := p.put(resource.Secret, m, err); err != nil {
		return nil, false, err
	}
	return socket(tlsSocket, &tlspb.DownstreamTlsContext{
		CommonTlsContext: common, RequireClientCertificate: wrapperspb.Bool(t.Mutual && !t.Optional)}), true, nil
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

// tcpServer forwards connections as the tcp rules of its VirtualServices say; the
// first Gateway on a port has it.
func (p *proxy) tcpServer(l *listenerpb.Listener, s served) {
	if len(l.FilterChains) > 0 {
		return
	}
	for _, v := range p.mesh.Virtual {
		if !v.Export.To(p.node.Namespace) && v.Namespace != s.gateway.Namespace {
			continue
		}
		admitted := slices.ContainsFunc(v.Hosts, func(h string) bool { _, ok := s.server.Admits(v.Namespace, h); return ok })
		for _, r := range v.TCP {
			if !admitted || !p.tcpApplies(v, r, s.server.Port, s.gateway.Ref()) {
				continue
			}
			stat := strings.Join([]string{"tcp", v.Name, v.Namespace}, ".")
			l.FilterChains = []*listenerpb.FilterChain{{
				Metadata: provenance(r.Source, nil),
				Filters:  []*listenerpb.Filter{p.tcpProxy(stat, r.Routes, s.server.Port)},
			}}
			return
		}
	}
}
