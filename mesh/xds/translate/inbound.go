package translate

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// inboundPort is a port of the workload, with the services that lead to it.
type inboundPort struct {
	target   uint32
	protocol model.Protocol
	number   uint32 // of the first service
	services []*model.Service
	ingress  *model.IngressListener // of the Sidecar that names the ports; nil: none does
}

// inbound makes virtualInbound and the clusters of the workload's own ports.
func (p *proxy) inbound() error {
	ports := p.inboundPorts()
	effective := p.mesh.MTLS(p.node.Namespace, p.node.Labels)
	var clusters []*clusterpb.Cluster
	for _, in := range ports {
		clusters = append(clusters, p.inboundCluster(in))
	}
	m, err := finish(clusters)
	if err := p.put(resource.Cluster, m, err); err != nil {
		return err
	}
	listeners := []*listenerpb.Listener{p.virtualInbound(ports, effective)}
	for _, in := range ports {
		if in.open() {
			listeners = append(listeners, p.openInbound(in, effective))
		}
	}
	for _, l := range listeners {
		p.withTCPMetrics(p.withLog(l, true), true)
	}
	m, err = finish(listeners)
	return p.put(resource.Listener, m, err)
}

// inboundPorts finds the services in front of the workload: by its address among
// their endpoints, and by their selectors, so that a proxy that starts before its
// endpoint is known has its ports.
//
// A Sidecar with ingress listeners names all ports itself; a service in front of one is
// that whose target is its port.
func (p *proxy) inboundPorts() []*inboundPort {
	found := p.portsOfServices()
	if p.scope.sidecar == nil || p.scope.sidecar.Ingress == nil {
		return found
	}
	var list []*inboundPort
	for i := range p.scope.sidecar.Ingress {
		l := &p.scope.sidecar.Ingress[i]
		in := &inboundPort{target: l.Port, number: l.Port, protocol: l.Protocol, ingress: l}
		for _, of := range found {
			if of.target == l.Port {
				in.number, in.services = of.number, of.services
			}
		}
		list = append(list, in)
	}
	return list
}

// instances are the endpoints at the proxy's addresses.
func (p *proxy) instances() []model.Instance {
	var list []model.Instance
	for _, a := range addressesOf(p.node) {
		list = append(list, p.mesh.Instances(a)...)
	}
	return list
}

func (p *proxy) portsOfServices() []*inboundPort {
	type target struct {
		service *model.Service
		port    *model.Port
		number  uint32
	}
	var targets []target
	for _, i := range p.instances() {
		if i.Service.Namespace == p.node.Namespace || i.Endpoint.Namespace == p.node.Namespace {
			targets = append(targets, target{i.Service, i.Port, i.Endpoint.Port})
		}
	}
	for _, s := range p.mesh.Services {
		if s.Namespace != p.node.Namespace || len(s.Selector) == 0 || !model.Selects(s.Selector, p.node.Labels) {
			continue
		}
		for _, port := range s.Ports {
			if port.Target != 0 {
				targets = append(targets, target{s, port, port.Target})
			}
		}
	}
	slices.SortStableFunc(targets, func(a, b target) int {
		return cmp.Or(a.service.Created.Compare(b.service.Created), cmp.Compare(a.service.Host, b.service.Host), cmp.Compare(a.port.Number, b.port.Number))
	})
	byTarget := map[uint32]*inboundPort{}
	for _, t := range targets {
		in := byTarget[t.number]
		if in == nil {
			in = &inboundPort{target: t.number, protocol: t.port.Protocol, number: t.port.Number}
			byTarget[t.number] = in
		}
		if !slices.Contains(in.services, t.service) {
			in.services = append(in.services, t.service)
		}
	}
	var list []*inboundPort
	for _, n := range slices.Sorted(maps.Keys(byTarget)) {
		list = append(list, byTarget[n])
	}
	return list
}

// service is the oldest in front of the port, or one without a name where none is.
func (in *inboundPort) service() *model.Service {
	if len(in.services) == 0 {
		return &model.Service{}
	}
	return in.services[0]
}

// inboundPolicy is what limits connections to the application: the Sidecar's pool for the
// port or for all, else that of the DestinationRule for the service, which so holds at
// both ends. Nothing else of a policy does.
func (p *proxy) inboundPolicy(in *inboundPort) (*model.Pool, *model.DestinationRule) {
	if in.ingress != nil && in.ingress.Pool != nil {
		return in.ingress.Pool, nil
	}
	if s := p.scope.sidecar; s != nil && s.InboundPool != nil {
		return s.InboundPool, nil
	}
	if len(in.services) == 0 {
		return nil, nil
	}
	d := p.mesh.Policy(p.node.Namespace, nil, in.services[0])
	if d == nil {
		return nil, nil
	}
	return d.Policy.For(in.number).PoolOrNil(), d
}

// chainKind is one of the filter chains that a port has: what it matches, and what it is.
type chainKind struct {
	transport string // "" matches both
	alpn      []string
	http      bool
	mtls      bool
}

// The chains of a port by mode and protocol, as istiod has them. A permissive port
// takes mTLS and plaintext; TLS that is not the mesh's goes to the application as it is.
func chainKinds(mode model.MTLS, protocol model.Protocol) []chainKind {
	switch {
	case mode == model.Disable && protocol.IsHTTP():
		return []chainKind{{http: true}}
	case mode == model.Disable && protocol == model.Auto:
		return []chainKind{{alpn: plainHTTP, http: true}, {}}
	case mode == model.Disable:
		return []chainKind{{}}
	case mode == model.Strict && protocol.IsHTTP():
		return []chainKind{{transport: "tls", http: true, mtls: true}}
	case mode == model.Strict && protocol == model.Auto:
		return []chainKind{{transport: "tls", alpn: meshHTTP, http: true, mtls: true}, {transport: "tls", mtls: true}}
	case mode == model.Strict:
		return []chainKind{{transport: "tls", mtls: true}}
	case protocol.IsHTTP():
		return []chainKind{{transport: "tls", alpn: meshAny, http: true, mtls: true}, {transport: "raw_buffer", http: true}, {transport: "tls"}}
	case protocol == model.Auto:
		return []chainKind{
			{transport: "tls", alpn: meshHTTP, http: true, mtls: true},
			{transport: "raw_buffer", alpn: plainHTTP, http: true},
			{transport: "tls", alpn: meshTCP, mtls: true},
			{transport: "raw_buffer"},
			{transport: "tls"},
		}
	default:
		return []chainKind{{transport: "tls", alpn: meshTCP, mtls: true}, {transport: "raw_buffer"}, {transport: "tls"}}
	}
}

func (p *proxy) virtualInbound(ports []*inboundPort, effective model.Effective) *listenerpb.Listener {
	own := p.mesh.Settings.InboundPort
	l := &listenerpb.Listener{
		Name: names.VirtualInbound, TrafficDirection: corepb.TrafficDirection_INBOUND,
		MaxConnectionsToAcceptPerSocketEvent: wrapperspb.UInt32(1),
		FilterChains: []*listenerpb.FilterChain{{
			Name: "virtualInbound-blackhole", FilterChainMatch: &listenerpb.FilterChainMatch{DestinationPort: wrapperspb.UInt32(own)},
			Filters: []*listenerpb.Filter{p.toCluster(names.BlackHole, true)},
		}},
	}
	listens(l, p.families.wildcards(), own)
	covered := map[uint32]bool{}
	for _, in := range ports {
		covered[in.target] = true
		if in.open() {
			continue
		}
		for _, k := range chainKinds(effective.On(in.target), in.protocol) {
			l.FilterChains = append(l.FilterChains, p.inboundChain(k, in, in.target, effective))
		}
	}
	for _, port := range slices.Sorted(maps.Keys(effective.Ports)) {
		if covered[port] || effective.On(port) == effective.Mode {
			continue
		}
		for _, k := range chainKinds(effective.On(port), model.Auto) {
			l.FilterChains = append(l.FilterChains, p.inboundChain(k, nil, port, effective))
		}
	}
	for _, k := range chainKinds(effective.Mode, model.Auto) {
		l.FilterChains = append(l.FilterChains, p.inboundChain(k, nil, 0, effective))
	}
	l.ListenerFilters = append([]*listenerpb.ListenerFilter{originalDst()}, inspectors(l.FilterChains)...)
	p.inspected(l)
	return l
}

// inboundChain leads to the port's cluster; to the original destination where no
// service is known (in is nil). Port 0 matches the rest.
func (p *proxy) inboundChain(k chainKind, in *inboundPort, port uint32, effective model.Effective) *listenerpb.FilterChain {
	c := &listenerpb.FilterChain{
		FilterChainMatch: &listenerpb.FilterChainMatch{TransportProtocol: k.transport, ApplicationProtocols: k.alpn},
		Name:             names.VirtualInbound,
		Metadata:         provenance(effective.Source, nil),
	}
	if port != 0 {
		c.FilterChainMatch.DestinationPort = wrapperspb.UInt32(port)
	}
	cluster := names.InboundPassthrough
	switch {
	case in != nil:
		cluster, c.Name = names.Inbound(in.target), p.inboundName(in)
	case k.http:
		c.Name = "virtualInbound-catchall-http"
	}
	if k.http {
		c.Filters = []*listenerpb.Filter{managerFilter(p.inboundManager(in))}
	} else {
		c.Filters = append(p.tcpAuthorization(), p.toCluster(cluster, true))
	}
	if k.mtls {
		alpn := []string{"h2", "http/1.1"}
		if !k.http {
			alpn = []string{"istio-peer-exchange", "h2", "http/1.1"}
		}
		c.TransportSocket = p.serverMTLS(alpn)
	}
	return c
}

func (p *proxy) inboundManager(in *inboundPort) *hcmpb.HttpConnectionManager {
	cluster, stat, port, operation, source := names.InboundPassthrough, names.InboundPassthrough+";", uint32(0), ":0/*", model.Source{}
	grpc := false
	if in != nil {
		s := in.service()
		cluster, stat, port = names.Inbound(in.target), "inbound_"+p.inboundName(in)+";", in.target
		operation = names.VirtualHost(s.Host, in.number) + "/*"
		source = model.Source{File: s.Source.File, Line: s.Source.Line}
		grpc = in.protocol == model.GRPC || in.protocol == model.GRPCWeb
	}
	a := &routepb.RouteAction{
		ClusterSpecifier: &routepb.RouteAction_Cluster{Cluster: cluster}, Timeout: durationpb.New(0),
		MaxStreamDuration: &routepb.RouteAction_MaxStreamDuration{MaxStreamDuration: durationpb.New(0), GrpcTimeoutHeaderMax: durationpb.New(0)},
	}
	if !grpc {
		a.RetryPolicy = &routepb.RetryPolicy{RetryOn: "reset-before-request", NumRetries: wrapperspb.UInt32(2)}
	}
	m := p.manager(stat, true)
	m.ServerName = "istio-envoy"
	clientCertificates(m, hcmpb.HttpConnectionManager_APPEND_FORWARD, false)
	m.RouteSpecifier = inlineRoutes(&routepb.RouteConfiguration{
		Name: cluster, ValidateClusters: wrapperspb.Bool(false),
		VirtualHosts: []*routepb.VirtualHost{{
			Name: "inbound|http|" + strconv.Itoa(int(port)), Domains: []string{"*"},
			Routes: []*routepb.Route{{
				Name: "default", Match: prefixMatch("/"), Action: &routepb.Route_Route{Route: a},
				Decorator: decorate(operation), Metadata: provenance(source, nil),
			}},
		}},
	})
	return m
}
