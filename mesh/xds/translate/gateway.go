package translate

import (
	"fmt"
	"maps"
	"slices"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	proxyprotocolpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
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
		name := names.Listener(p.bindings(s.server)[0], s.target)
		byListener[name] = append(byListener[name], s)
	}
	for _, name := range slices.Sorted(maps.Keys(byListener)) {
		if err := p.gatewayListener(name, byListener[name]); err != nil {
			return err
		}
	}
	return nil
}

// bindings are the addresses of a server: those it has, or any of each family.
func (p *proxy) bindings(s *model.Server) []string {
	if s.Bind != "" {
		return []string{s.Bind}
	}
	return p.families.wildcards()
}

// servers are those of all Gateways that select the proxy, oldest Gateway first.
func (p *proxy) servers() []served {
	var list []served
	for _, g := range p.mesh.Gateways {
		if g.Service == "" && !model.Selects(g.Selector, p.node.Labels) || g.Service != "" && !p.behind(g.Service) {
			continue
		}
		for _, s := range g.Servers {
			if isTLS(s.Protocol) && (s.TLS == nil || s.TLS.Invalid) {
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
	for _, i := range p.instances() {
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
		Name: name, TrafficDirection: corepb.TrafficDirection_OUTBOUND,
		MaxConnectionsToAcceptPerSocketEvent: wrapperspb.UInt32(1),
	}
	listens(l, p.bindings(list[0].server), list[0].target)
	var plain []served
	names := &binding{} // that chains of TLS are told apart by
	for _, s := range list {
		var err error
		switch {
		case s.server.Protocol.IsHTTP():
			plain = append(plain, s)
		case !isTLS(s.server.Protocol):
			p.tcpServer(l, s)
		case s.server.TLS.Auto:
			err = p.forwardedChains(l, names, s)
		case s.server.TLS.Passthrough:
			err = p.passthroughChains(l, names, s)
		case s.server.Protocol == model.HTTPS:
			err = p.httpsChain(l, names, s)
		default:
			err = p.tlsServer(l, names, s)
		}
		if err != nil {
			return err
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
	if p.inFront().ProxyProtocol {
		l.ListenerFilters = slices.Insert(l.ListenerFilters, 0, &listenerpb.ListenerFilter{Name: "envoy.filters.listener.proxy_protocol",
			ConfigType: &listenerpb.ListenerFilter_TypedConfig{TypedConfig: toAny(&proxyprotocolpb.ProxyProtocol{})}})
	}
	m, err := finish([]*listenerpb.Listener{p.withTCPMetrics(p.withLog(l, false), false)})
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
	topology, forward := p.inFront(), hcmpb.HttpConnectionManager_SANITIZE_SET
	if topology.ForwardCert > 0 {
		forward = hcmpb.HttpConnectionManager_ForwardClientCertDetails(topology.ForwardCert - 1)
	}
	m.XffNumTrustedHops = topology.TrustedProxies
	clientCertificates(m, forward, true)
	return &listenerpb.FilterChain{Filters: []*listenerpb.Filter{managerFilter(m)}, TransportSocketConnectTimeout: handshake()}
}

// inFront is what is in front of this gateway, by its own configuration or the mesh's.
func (p *proxy) inFront() model.GatewayTopology {
	if p.node.Topology != nil {
		return *p.node.Topology
	}
	return p.mesh.Settings.Topology
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
			if !boundAnywhere(v, s.gateway.Ref()) || !p.sees(s, v) {
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
