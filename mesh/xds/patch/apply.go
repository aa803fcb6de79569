package patch

import (
	"slices"
	"strings"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
)

// Set is the patches for one proxy.
type Set struct {
	// Ports are the Service's ports in front of one that a gateway opens; nil: the same.
	Ports func(target uint32) []uint32

	node    model.Node
	patches []*patch
}

// New returns the patches of filters, in their order. Patches with problems are left
// out: Check has reported them. It is nil where there are none.
func New(filters []*model.EnvoyFilter, n model.Node) *Set {
	s := &Set{node: n}
	for _, f := range filters {
		for _, p := range f.Patches {
			if read, problems := read(p); len(problems) == 0 {
				s.patches = append(s.patches, read)
			}
		}
	}
	if len(s.patches) == 0 {
		return nil
	}
	return s
}

// Cluster patches a cluster; false where it is removed.
func (s *Set) Cluster(c *clusterpb.Cluster) bool {
	return s.whole("CLUSTER", s.clusterContext(c.GetName()), c, func(p *patch) bool { return matchCluster(p.Cluster, c) })
}

// whole patches a message as such; false where it is removed. Which operations a target
// has is checked where EnvoyFilters are read.
func (s *Set) whole(target, context string, m proto.Message, matches func(*patch) bool) bool {
	for _, p := range s.patches {
		if !s.applies(p, target, context) || !matches(p) {
			continue
		}
		switch p.Operation {
		case "REMOVE":
			return false
		case "MERGE":
			merge(m.ProtoReflect(), p.value.ProtoReflect())
		case "REPLACE":
			proto.Reset(m)
			proto.Merge(m, p.value)
		}
	}
	return true
}

func (s *Set) clusterContext(name string) string {
	switch {
	case s.node.Type == model.Router:
		return gateway
	case strings.HasPrefix(name, "inbound|") || name == names.InboundPassthrough:
		return inbound
	default:
		return outbound
	}
}

// Clusters are those that patches add.
func (s *Set) Clusters() []*clusterpb.Cluster {
	return added[*clusterpb.Cluster](s, "CLUSTER", func(*patch) string { return s.side() })
}

// Listeners are those that patches add. Without a context, it is that of outbound.
func (s *Set) Listeners() []*listenerpb.Listener {
	return added[*listenerpb.Listener](s, "LISTENER", func(p *patch) string {
		if p.Context == inbound && s.node.Type != model.Router {
			return inbound
		}
		return s.side()
	})
}

func (s *Set) side() string {
	if s.node.Type == model.Router {
		return gateway
	}
	return outbound
}

func added[M proto.Message](s *Set, target string, context func(*patch) string) (list []M) {
	for _, p := range s.patches {
		if p.Operation == "ADD" && s.applies(p, target, context(p)) {
			list = append(list, proto.Clone(p.value).(M))
		}
	}
	return list
}

// Listener patches a listener and all in it; false where it is removed.
func (s *Set) Listener(l *listenerpb.Listener) bool {
	context := s.side()
	if context == outbound && l.GetTrafficDirection() == corepb.TrafficDirection_INBOUND {
		context = inbound
	}
	if !s.whole("LISTENER", context, l, func(p *patch) bool { return matchListener(p.Listener, l) }) {
		return false
	}
	for _, p := range s.patches {
		if s.applies(p, "LISTENER_FILTER", context) && matchListener(p.Listener, l) {
			l.ListenerFilters = listed(p, l.ListenerFilters, namesListenerFilter(p.Listener), func(f *listenerpb.ListenerFilter) bool {
				return f.GetName() == p.Listener.ListenerFilter
			})
		}
	}
	l.FilterChains = slices.DeleteFunc(l.FilterChains, func(c *listenerpb.FilterChain) bool { return !s.chain(context, l, c) })
	if l.DefaultFilterChain != nil && !s.chain(context, l, l.DefaultFilterChain) {
		l.DefaultFilterChain = nil
	}
	for _, p := range s.patches {
		if p.Operation == "ADD" && s.applies(p, "FILTER_CHAIN", context) && matchListener(p.Listener, l) {
			l.FilterChains = append(l.FilterChains, proto.Clone(p.value).(*listenerpb.FilterChain))
		}
	}
	return true
}

// chain patches a filter chain; false where it is removed.
func (s *Set) chain(context string, l *listenerpb.Listener, c *listenerpb.FilterChain) bool {
	if !s.whole("FILTER_CHAIN", context, c, func(p *patch) bool { return matchListener(p.Listener, l) && matchChain(p.Listener, l, c) }) {
		return false
	}
	for _, p := range s.patches {
		if s.applies(p, "NETWORK_FILTER", context) && matchListener(p.Listener, l) && matchChain(p.Listener, l, c) {
			c.Filters = listed(p, c.Filters, namesFilter(p.Listener), func(f *listenerpb.Filter) bool { return f.GetName() == p.Listener.Chain.Filter })
		}
	}
	for _, f := range c.Filters {
		s.manager(context, l, c, f)
	}
	return true
}

// manager patches the HTTP filters and the inline routes of a connection manager.
func (s *Set) manager(context string, l *listenerpb.Listener, c *listenerpb.FilterChain, f *listenerpb.Filter) {
	m := &hcmpb.HttpConnectionManager{}
	if f.GetTypedConfig() == nil || f.GetTypedConfig().UnmarshalTo(m) != nil {
		return
	}
	for _, p := range s.patches {
		if !s.applies(p, "HTTP_FILTER", context) || !matchListener(p.Listener, l) || !matchChain(p.Listener, l, c) ||
			namesFilter(p.Listener) && p.Listener.Chain.Filter != f.GetName() {
			continue
		}
		m.HttpFilters = listed(p, m.HttpFilters, namesHTTPFilter(p.Listener), func(h *hcmpb.HttpFilter) bool { return h.GetName() == p.Listener.Chain.HTTPFilter })
	}
	if r := m.GetRouteConfig(); r != nil {
		s.table(context, r)
	}
	f.ConfigType = &listenerpb.Filter_TypedConfig{TypedConfig: pack(m)}
}

// Routes patches a route configuration that comes over RDS.
func (s *Set) Routes(r *routepb.RouteConfiguration) { s.table(s.side(), r) }

func (s *Set) table(context string, r *routepb.RouteConfiguration) {
	for _, p := range s.patches {
		if s.applies(p, "ROUTE_CONFIGURATION", context) && s.matchTable(p.Route, context, r) {
			merge(r.ProtoReflect(), p.value.ProtoReflect())
		}
	}
	r.VirtualHosts = slices.DeleteFunc(r.VirtualHosts, func(h *routepb.VirtualHost) bool { return !s.host(context, r, h) })
	for _, p := range s.patches {
		if p.Operation == "ADD" && s.applies(p, "VIRTUAL_HOST", context) && s.matchTable(p.Route, context, r) {
			r.VirtualHosts = append(r.VirtualHosts, proto.Clone(p.value).(*routepb.VirtualHost))
		}
	}
}

// host patches a virtual host; false where it is removed.
func (s *Set) host(context string, r *routepb.RouteConfiguration, h *routepb.VirtualHost) bool {
	if !s.whole("VIRTUAL_HOST", context, h, func(p *patch) bool { return s.matchTable(p.Route, context, r) && matchHost(p.Route, h) }) {
		return false
	}
	for _, p := range s.patches {
		if s.applies(p, "HTTP_ROUTE", context) && s.matchTable(p.Route, context, r) && matchHost(p.Route, h) {
			h.Routes = listed(p, h.Routes, p.Route != nil && p.Route.HasRoute || p.Operation == "REMOVE" || p.Operation == "MERGE",
				func(route *routepb.Route) bool { return matchRoute(p.Route, route) })
		}
	}
	return true
}

// listed patches a list whose order matters. named tells whether the patch names a
// member: one that does not inserts at the ends, and does nothing else. One that names
// a member that is not there does nothing. Insertions happen at the first match.
func listed[M proto.Message](p *patch, list []M, named bool, is func(M) bool) []M {
	value := func() M { return proto.Clone(p.value).(M) }
	at := -1
	if named {
		at = slices.IndexFunc(list, is)
	}
	switch {
	case p.Operation == "ADD", p.Operation == "INSERT_AFTER" && !named:
		return append(list, value())
	case p.Operation == "INSERT_FIRST" && (at >= 0 || !named || p.Target != "HTTP_ROUTE"), p.Operation == "INSERT_BEFORE" && !named:
		return slices.Insert(list, 0, value())
	case at < 0:
	case p.Operation == "INSERT_BEFORE":
		return slices.Insert(list, at, value())
	case p.Operation == "INSERT_AFTER":
		return slices.Insert(list, at+1, value())
	case p.Operation == "REPLACE":
		list[at] = value()
	case p.Operation == "REMOVE":
		return slices.DeleteFunc(list, is)
	case p.Operation == "MERGE":
		for _, m := range list {
			if is(m) {
				merge(m.ProtoReflect(), p.value.ProtoReflect())
			}
		}
	}
	return list
}
