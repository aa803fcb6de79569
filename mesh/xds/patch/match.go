package patch

import (
	"slices"
	"strconv"
	"strings"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
)

// The contexts of patches.
const (
	inbound  = "SIDECAR_INBOUND"
	outbound = "SIDECAR_OUTBOUND"
	gateway  = "GATEWAY"
)

// applies tells whether a patch is for a proxy in a context.
func (s *Set) applies(p *patch, target, context string) bool {
	return p.Target == target && (p.Context == "ANY" || p.Context == "" || p.Context == context) &&
		(p.version == nil || p.version.MatchString(s.node.Version))
}

// matchCluster compares with the name, which says it all; the service of an inbound
// cluster does not count.
func matchCluster(m *model.ClusterMatch, c *clusterpb.Cluster) bool {
	if m == nil {
		return true
	}
	if m.Name != "" {
		return m.Name == c.GetName()
	}
	parts := strings.Split(c.GetName(), "|") // direction, port, subset, host
	if len(parts) != 4 {
		return m.Port == 0 && m.Service == "" && m.Subset == ""
	}
	return (m.Port == 0 || strconv.Itoa(int(m.Port)) == parts[1]) && (m.Subset == "" || m.Subset == parts[2]) &&
		(m.Service == "" || m.Service == parts[3] || parts[0] == "inbound")
}

// virtual tells the listeners whose filter chains are those of ports.
func virtual(l *listenerpb.Listener) bool {
	return l.GetName() == names.VirtualInbound || l.GetName() == names.VirtualOutbound
}

func matchListener(m *model.ListenerMatch, l *listenerpb.Listener) bool {
	switch {
	case m == nil:
		return true
	case m.Name != "" && m.Name != l.GetName():
		return false
	default:
		return m.Port == 0 || virtual(l) || m.Port == l.GetAddress().GetSocketAddress().GetPortValue()
	}
}

func matchChain(m *model.ListenerMatch, l *listenerpb.Listener, c *listenerpb.FilterChain) bool {
	if m == nil {
		return true
	}
	own := c.GetFilterChainMatch()
	if m.Port != 0 && virtual(l) && own.GetDestinationPort().GetValue() != m.Port {
		return false
	}
	f := m.Chain
	switch {
	case f == nil:
		return true
	case f.Name != "" && f.Name != c.GetName(),
		f.SNI != "" && !slices.Contains(own.GetServerNames(), f.SNI),
		f.Transport != "" && f.Transport != own.GetTransportProtocol(),
		f.Port != 0 && f.Port != own.GetDestinationPort().GetValue():
		return false
	}
	for _, p := range f.Protocols {
		if !slices.Contains(own.GetApplicationProtocols(), p) {
			return false
		}
	}
	return true
}

func namesFilter(m *model.ListenerMatch) bool {
	return m != nil && m.Chain != nil && m.Chain.Filter != ""
}

func namesHTTPFilter(m *model.ListenerMatch) bool {
	return m != nil && m.Chain != nil && m.Chain.HTTPFilter != ""
}

func namesListenerFilter(m *model.ListenerMatch) bool { return m != nil && m.ListenerFilter != "" }

// matchTable compares with the name of a route configuration, which on gateways is
// "http.8080", or "https.443.NAME.GATEWAY.NAMESPACE" for one server, and else has the
// port. On a gateway the port may be the Service's, too.
func (s *Set) matchTable(m *model.RouteTableMatch, context string, r *routepb.RouteConfiguration) bool {
	if m == nil {
		return true
	}
	if m.Name != "" && m.Name != r.GetName() {
		return false
	}
	if context != gateway {
		return m.Port == 0 || strconv.Itoa(int(m.Port)) == portOf(r.GetName())
	}
	parts := strings.Split(r.GetName(), ".")
	port, portName, of := "", "", ""
	if len(parts) > 1 {
		port = parts[1]
	}
	if len(parts) == 5 {
		portName, of = parts[2], parts[4]+"/"+parts[3]
	}
	if m.Port != 0 && !slices.Contains(s.portsBehind(port), m.Port) {
		return false
	}
	return (m.PortName == "" || m.PortName == portName) && (m.Gateway == "" || m.Gateway == of)
}

// portOf is the port of "9080", of "reviews.default.svc.cluster.local:9080" and of
// "inbound|9080||".
func portOf(name string) string {
	if rest, ok := strings.CutPrefix(name, "inbound|"); ok {
		port, _, _ := strings.Cut(rest, "|")
		return port
	}
	return name[strings.LastIndexByte(name, ':')+1:]
}

// portsBehind are the ports that a patch may mean by one that the proxy opens.
func (s *Set) portsBehind(target string) []uint32 {
	n, err := strconv.ParseUint(target, 10, 32)
	if err != nil {
		return nil
	}
	ports := []uint32{uint32(n)}
	if s.Ports != nil {
		if behind := s.Ports(uint32(n)); len(behind) > 0 {
			ports = behind
		}
	}
	return ports
}

func matchHost(m *model.RouteTableMatch, h *routepb.VirtualHost) bool {
	return m == nil || !m.HasHost || (m.Host == "" || m.Host == h.GetName()) && (m.Domain == "" || slices.Contains(h.GetDomains(), m.Domain))
}

func matchRoute(m *model.RouteTableMatch, r *routepb.Route) bool {
	if m == nil || !m.HasRoute {
		return true
	}
	if m.Route != "" && m.Route != r.GetName() {
		return false
	}
	switch m.Action {
	case "ROUTE":
		return r.GetRoute() != nil
	case "REDIRECT":
		return r.GetRedirect() != nil
	case "DIRECT_RESPONSE":
		return r.GetDirectResponse() != nil
	default:
		return true
	}
}
