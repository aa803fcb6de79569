package translate

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// binding is one outbound listener under construction.
type binding struct {
	address string
	also    []string // the same address of other families
	port    uint32
	route   string   // of the HTTP chain; "": none
	byName  []string // hosts of the HTTP services that are resolved by name
	chains  []*listenerpb.FilterChain
	// rest takes what no chain matches; nil: the original destination, or nothing.
	rest   *listenerpb.FilterChain
	open   bool               // the proxy listens there itself
	sniffs bool               // TLS chains are told apart by server name
	taken  map[[2]string]bool // server name and subnet of the chains
}

// outbound makes the listeners that connections of the application reach, and their routes.
func (p *proxy) outbound() error {
	key := "|" + p.scope.key + "|" + p.clientLabels() + "|"
	if p.node.AnswersDNS { // services have more addresses
		key += "dns|"
	}
	m, err := p.once("|lds|"+key+p.telemetryKey(false), func() (made, error) {
		list, err := p.outboundListeners()
		if err != nil {
			return nil, err
		}
		for _, l := range list {
			p.withTCPMetrics(l, false)
		}
		return finish(list)
	})
	if err := p.put(resource.Listener, m, err); err != nil {
		return err
	}
	for name := range p.set[resource.Listener] {
		// A headless service's: the Pod's own address is passed through.
		if slices.ContainsFunc(addressesOf(p.node), func(a string) bool { return strings.HasPrefix(name, a+"_") }) {
			delete(p.set[resource.Listener], name)
		}
	}
	m, err = p.once("|rds|"+key, func() (made, error) { return finish(p.outboundRoutes()) })
	return p.put(resource.Route, m, err)
}

func (p *proxy) outboundListeners() ([]*listenerpb.Listener, error) {
	bindings := map[string]*binding{}
	at := func(address string, port uint32) *binding {
		name := names.Listener(address, port)
		if bindings[name] == nil {
			bindings[name] = &binding{address: address, port: port}
		}
		return bindings[name]
	}
	err := p.eachView(func(l *model.EgressListener) error {
		view := at
		if l == nil { // what listeners have is theirs
			locked := maps.Clone(bindings)
			view = func(address string, port uint32) *binding {
				if locked[names.Listener(address, port)] != nil {
					return &binding{address: address, port: port} // goes nowhere
				}
				return at(address, port)
			}
		}
		for _, s := range p.scope.services {
			for _, port := range s.Ports {
				var err error
				if l != nil {
					err = p.bindEgress(view, l, s, port)
				} else {
					err = p.bind(view, s, port)
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	list := []*listenerpb.Listener{p.virtualOutbound()}
	for _, name := range slices.Sorted(maps.Keys(bindings)) {
		list = append(list, p.outboundListener(bindings[name]))
	}
	return list, nil
}

// bind adds a service's port to the listeners that are to receive it: HTTP shares
// the wildcard address, as the Host header tells services apart; the rest needs the
// service's own address, a server name, or the port for itself.
func (p *proxy) bind(at func(string, uint32) *binding, s *model.Service, port *model.Port) error {
	vips := p.addresses(s)
	switch {
	case port.Protocol.IsHTTP() || port.Protocol == model.Auto && len(vips) == 0:
		if port.Protocol == model.Auto && s.Headless && len(s.Endpoints.On(port)) == 0 {
			return nil
		}
		b := p.anywhere(at, port.Number)
		b.route = strconv.Itoa(int(port.Number))
		b.resolves(s)
	case port.Protocol == model.Auto:
		for _, vip := range vips {
			b := at(vip, port.Number)
			b.route = names.VirtualHost(s.Host, port.Number)
			if err := p.bindConnections(b, s, port); err != nil {
				return err
			}
		}
	case len(vips) > 0:
		for _, vip := range vips {
			if err := p.bindConnections(at(vip, port.Number), s, port); err != nil {
				return err
			}
		}
	case s.Headless:
		for _, e := range s.Endpoints.On(port) {
			if err := p.bindConnections(at(e.Address, port.Number), s, port); err != nil {
				return err
			}
		}
	default:
		return p.bindConnections(p.anywhere(at, port.Number), s, port)
	}
	return nil
}

// anywhere is the listener of the wildcard address, of each family that the proxy has.
func (p *proxy) anywhere(at func(string, uint32) *binding, port uint32) *binding {
	all := p.families.wildcards()
	b := at(all[0], port)
	b.also = all[1:]
	return b
}

// resolves notes a service that the HTTP chain's requests may be for.
func (b *binding) resolves(s *model.Service) {
	if s.Resolution == model.ByName {
		b.byName = append(b.byName, s.Host)
	}
}

// plainAddresses are a service's addresses that are not prefixes.
func plainAddresses(s *model.Service) []string {
	var list []string
	for _, a := range s.Addresses {
		if !strings.Contains(a, "/") {
			list = append(list, a)
		}
	}
	return list
}

// sourceApplies evaluates what a match says about the client. Gateways of a match
// replace the VirtualService's, and switch the other two conditions off, as in Istio.
func (p *proxy) sourceApplies(v *model.VirtualService, gateway string, gateways []string, labels map[string]string, namespace string) bool {
	if len(gateways) > 0 {
		return slices.Contains(gateways, gateway)
	}
	return v.Bound(gateway) && model.Selects(labels, p.node.Labels) && (namespace == "" || namespace == p.node.Namespace)
}

func (p *proxy) outboundListener(b *binding) *listenerpb.Listener {
	l := &listenerpb.Listener{
		Name:             names.Listener(b.address, b.port),
		TrafficDirection: corepb.TrafficDirection_OUTBOUND, BindToPort: wrapperspb.Bool(b.open),
		FilterChains: b.chains, DefaultFilterChain: b.rest,
	}
	listens(l, append([]string{b.address}, b.also...), b.port)
	if b.route != "" {
		m := p.manager("outbound_"+l.Name+";", false)
		m.RouteSpecifier = rds(b.route)
		p.resolveHosts(m, b.byName)
		p.resolveAny(m)
		l.FilterChains = append(l.FilterChains, &listenerpb.FilterChain{
			FilterChainMatch: &listenerpb.FilterChainMatch{TransportProtocol: "raw_buffer", ApplicationProtocols: plainHTTP},
			Filters:          []*listenerpb.Filter{managerFilter(m)}, TransportSocketConnectTimeout: handshake(),
		})
		l.ListenerFilters = append(l.ListenerFilters, httpInspector(nil))
	}
	if b.sniffs {
		l.ListenerFilters = append([]*listenerpb.ListenerFilter{tlsInspector(nil)}, l.ListenerFilters...)
	}
	switch {
	case len(l.FilterChains) == 0: // the one chain matches everything
		l.FilterChains, l.DefaultFilterChain = []*listenerpb.FilterChain{b.rest}, nil
	case b.rest == nil:
		l.DefaultFilterChain = &listenerpb.FilterChain{Name: "PassthroughFilterChain", FilterChainMatch: &listenerpb.FilterChainMatch{},
			Filters: []*listenerpb.Filter{p.toCluster(p.scope.unknown(), false)}}
	}
	p.inspected(l)
	return l
}

// virtualOutbound receives all captured connections, and keeps those that no other
// listener wants.
func (p *proxy) virtualOutbound() *listenerpb.Listener {
	port := p.mesh.Settings.OutboundPort
	l := &listenerpb.Listener{
		Name: names.VirtualOutbound, TrafficDirection: corepb.TrafficDirection_OUTBOUND,
		UseOriginalDst:                       wrapperspb.Bool(true),
		MaxConnectionsToAcceptPerSocketEvent: wrapperspb.UInt32(1),
		FilterChains: []*listenerpb.FilterChain{
			{Name: "virtualOutbound-blackhole", FilterChainMatch: &listenerpb.FilterChainMatch{DestinationPort: wrapperspb.UInt32(port)},
				Filters: []*listenerpb.Filter{p.toCluster(names.BlackHole, false)}},
			{Name: "virtualOutbound-catchall-tcp", Filters: []*listenerpb.Filter{p.toCluster(p.scope.unknown(), false)}},
		},
	}
	listens(l, p.families.wildcards(), port)
	if p.scope.anyByName {
		l.FilterChains = slices.Insert(l.FilterChains, 1, p.anyHTTP())
		l.ListenerFilters = append(l.ListenerFilters, httpInspector(nil))
		p.inspected(l)
	}
	return p.withLog(l, false)
}

// outboundRoutes makes a table per HTTP port, and one per service port that is sniffed.
func (p *proxy) outboundRoutes() []*routepb.RouteConfiguration {
	whole := p.scope
	var list []*routepb.RouteConfiguration
	_ = p.eachView(func(l *model.EgressListener) error { // no call fails
		if l == nil {
			list = append(list, p.portTables(whole)...)
		} else if table := p.egressTable(l); table != nil {
			list = append(list, table)
		}
		return nil
	})
	return list
}

// portTables are those of the ports that are no listener's of the whole scope.
func (p *proxy) portTables(whole *scope) []*routepb.RouteConfiguration {
	shared := map[uint32][]*model.Service{}
	var list []*routepb.RouteConfiguration
	for _, s := range p.scope.services {
		for _, port := range s.Ports {
			switch {
			case port.Protocol.IsHTTP() || port.Protocol == model.Auto && len(p.addresses(s)) == 0:
				if !whole.egressPort(port.Number) {
					shared[port.Number] = append(shared[port.Number], s)
				}
			case port.Protocol == model.Auto:
				list = append(list, p.outboundTable(names.VirtualHost(s.Host, port.Number), port.Number, []*model.Service{s}, true))
			}
		}
	}
	for _, port := range slices.Sorted(maps.Keys(shared)) {
		list = append(list, p.outboundTable(strconv.Itoa(int(port)), port, shared[port], false))
	}
	return list
}

func (p *proxy) outboundTable(name string, port uint32, services []*model.Service, sniffed bool) *routepb.RouteConfiguration {
	taken := map[string]bool{"*": true}
	table := routeTable(name)
	for _, s := range services {
		domains := p.domains(s)
		if sniffed { // whatever the Host header says, the address was the service's
			domains = []string{"*"}
		}
		p.addHost(table, taken, names.VirtualHost(s.Host, port), domains, p.serviceRoutes(s, port))
	}
	if port == 80 && !sniffed {
		p.addServiceless(table, taken, port)
	}
	slices.SortFunc(table.VirtualHosts, func(a, b *routepb.VirtualHost) int { return cmp.Compare(a.Name, b.Name) })
	if !sniffed {
		table.VirtualHosts = append(table.VirtualHosts, p.scope.catchAll())
	}
	return table
}

// addServiceless adds hosts that only VirtualServices know: Istio routes them on port 80.
func (p *proxy) addServiceless(table *routepb.RouteConfiguration, taken map[string]bool, port uint32) {
	p.serviceless = true
	defer func() { p.serviceless = false }()
	for _, v := range p.scope.virtual {
		for _, h := range v.Hosts {
			if s := p.scope.byHost[h]; s != nil && s.Port(port) != nil || taken[h] || p.scope.virtualFor(h) != v && !model.IsWildcard(h) {
				continue
			}
			if routes := p.virtualRoutes(v, port, model.MeshGateway); len(routes) > 0 {
				p.addHost(table, taken, names.VirtualHost(h, port), []string{h}, routes)
			}
		}
	}
}

func (p *proxy) addHost(table *routepb.RouteConfiguration, taken map[string]bool, name string, domains []string, routes []*routepb.Route) {
	h := &routepb.VirtualHost{Name: name, Routes: routes, IncludeRequestAttemptCount: true}
	for _, d := range domains {
		if d == "*" || !taken[d] {
			taken[d] = true
			h.Domains = append(h.Domains, d)
		}
	}
	if len(h.Domains) > 0 {
		table.VirtualHosts = append(table.VirtualHosts, h)
	}
}

func (p *proxy) serviceRoutes(s *model.Service, port uint32) []*routepb.Route {
	for _, v := range p.scope.attached[s.Host] {
		if routes := p.virtualRoutes(v, port, model.MeshGateway); len(routes) > 0 {
			return routes
		}
	}
	if v := p.scope.virtualFor(s.Host); v != nil && len(v.HTTP) > 0 {
		return p.virtualRoutes(v, port, model.MeshGateway)
	}
	return []*routepb.Route{p.defaultRoute(s, port)}
}

// domains are the names under which a client finds a service: full, and short ones
// by namespace, and its addresses.
func (p *proxy) domains(s *model.Service) []string {
	list := []string{s.Host}
	if !model.IsWildcard(s.Host) {
		list = append(list, s.Host+".")
	}
	if s.Kubernetes {
		short := s.Name + "." + s.Namespace
		if s.Namespace == p.scope.namespace {
			list = append(list, s.Name, short+".svc", short)
		} else {
			list = append(list, short, short+".svc")
		}
		if s.Headless {
			for _, d := range slices.Clone(list) {
				list = append(list, "*."+d)
			}
		}
	}
	for _, a := range p.addresses(s) {
		list = append(list, inURL(a))
	}
	return list
}

// catchAll is the last virtual host: what no service matches.
func (s *scope) catchAll() *routepb.VirtualHost {
	h := &routepb.VirtualHost{Name: "block_all", Domains: []string{"*"}, IncludeRequestAttemptCount: true}
	r := &routepb.Route{Name: "block_all", Match: prefixMatch("/"),
		Action: &routepb.Route_DirectResponse{DirectResponse: &routepb.DirectResponseAction{Status: 502}}}
	if s.anyByName {
		h.Name, r.Name = "allow_any_dynamic_dns", "allow_any_dynamic_dns"
		a := forward()
		a.ClusterSpecifier = &routepb.RouteAction_Cluster{Cluster: names.AnyByName}
		r.Action = &routepb.Route_Route{Route: a}
	} else if s.allowAny {
		h.Name, r.Name = "allow_any", "allow_any"
		a := forward()
		a.ClusterSpecifier = &routepb.RouteAction_Cluster{Cluster: s.unknown()}
		r.Action = &routepb.Route_Route{Route: a}
	}
	h.Routes = []*routepb.Route{r}
	return h
}
