package translate

import (
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
)

// open reports whether the proxy itself listens on the port, since nobody redirects its
// connections: captureMode NONE of a Sidecar's ingress listener.
func (in *inboundPort) open() bool { return in.ingress != nil && in.ingress.Open }

// inboundName is the listener that a port has, or would have: istiod calls the chains of
// virtualInbound by it. A Sidecar's port is at the address that it says, or at the workload's own.
func (p *proxy) inboundName(in *inboundPort) string {
	switch {
	case in.ingress == nil:
		return names.Listener(p.families.wildcard(), in.target)
	case in.ingress.Bind != "":
		return names.Listener(in.ingress.Bind, in.target)
	}
	return names.Listener(p.node.IP, in.target)
}

// openInbound is a listener of its own for a port, with the chains that virtualInbound
// would have for it. There is no original destination to ask for.
func (p *proxy) openInbound(in *inboundPort, effective model.Effective) *listenerpb.Listener {
	at := in.ingress.Bind
	if at == "" {
		at = p.node.IP
	}
	l := &listenerpb.Listener{
		Name: p.inboundName(in), TrafficDirection: corepb.TrafficDirection_INBOUND, BindToPort: wrapperspb.Bool(true),
		MaxConnectionsToAcceptPerSocketEvent: wrapperspb.UInt32(1),
	}
	listens(l, []string{at}, in.target)
	for _, k := range chainKinds(effective.On(in.target), in.protocol) {
		l.FilterChains = append(l.FilterChains, p.inboundChain(k, in, in.target, effective))
	}
	l.ListenerFilters = inspectors(l.FilterChains)
	p.inspected(l)
	return l
}
