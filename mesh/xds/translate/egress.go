package translate

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// view is what a proxy knows at one port, by an egress listener of its Sidecar, or at all
// ports that have none (listener nil). As in Istio a listener with a port knows the
// services that have this port, and the VirtualServices, of its own hosts only.
type view struct {
	scope    *scope
	listener *model.EgressListener
}

// imported is a service as far as the scope lets it in; nil: not at all.
func (s *scope) imported(t *Translator, service *model.Service) *model.Service {
	all, ports := s.sidecar.ImportsAll(service.Namespace, service.Host)
	if all {
		return service
	}
	return t.trimmed(service, ports, "")
}

// trimmed is a service with some of its ports, perhaps of another protocol; nil where it
// has none of them. What is made of it depends on these, too, so that it gets a number of its own.
func (t *Translator) trimmed(service *model.Service, ports []uint32, protocol model.Protocol) *model.Service {
	less := *service
	less.Ports = nil
	for _, port := range service.Ports {
		if !slices.Contains(ports, port.Number) {
			continue
		}
		own := *port
		if protocol != "" {
			own.Protocol = protocol
		}
		less.Ports = append(less.Ports, &own)
	}
	if less.Ports == nil {
		return nil
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %v %v", t.ids[service], ports, protocol))
	t.ids[&less] = binary.BigEndian.Uint64(sum[:]) | 1<<63 // counted numbers do not get there
	return &less
}

// seeListeners makes the views of a Sidecar that has listeners with ports.
func (t *Translator) seeListeners(s *scope, labels map[string]string) {
	if s.sidecar == nil || len(s.sidecar.Listeners) == 0 {
		return
	}
	for i := range s.sidecar.Listeners {
		l := &s.sidecar.Listeners[i]
		own := s.narrowed(l.Hosts)
		t.seeServices(own, labels, func(t *Translator, service *model.Service) *model.Service {
			if !own.sidecar.Imports(service.Namespace, service.Host) {
				return nil
			}
			return t.trimmed(service, []uint32{l.Port}, l.Protocol)
		})
		t.seeRoutes(own)
		s.views = append(s.views, view{own, l})
	}
	rest := s.narrowed(s.sidecar.Egress)
	t.seeServices(rest, labels, rest.imported)
	t.seeRoutes(rest)
	s.views = append(s.views, view{rest, nil})
}

// narrowed is a scope that is still empty, for other hosts.
func (s *scope) narrowed(hosts []model.EgressHost) *scope {
	sidecar := *s.sidecar
	sidecar.Egress, sidecar.Listeners = hosts, nil
	if hosts == nil {
		sidecar.Egress = []model.EgressHost{}
	}
	return &scope{namespace: s.namespace, sidecar: &sidecar, allowAny: s.allowAny, anyByName: s.anyByName}
}

// eachView calls do with the proxy's view of every listener, the one of all other ports at
// the end; once with the scope itself where there are no listeners.
func (p *proxy) eachView(do func(l *model.EgressListener) error) error {
	whole := p.scope
	defer func() { p.scope = whole }()
	if whole.views == nil {
		return do(nil)
	}
	for _, v := range whole.views {
		p.scope = v.scope
		if err := do(v.listener); err != nil {
			return err
		}
	}
	return nil
}

// bindEgress is bind for a listener of a Sidecar. One with an address of its own takes
// the place of the services' addresses.
func (p *proxy) bindEgress(at func(string, uint32) *binding, l *model.EgressListener, s *model.Service, port *model.Port) error {
	if l.Bind == "" && !l.Loopback {
		return p.bind(at, s, port)
	}
	addresses := []string{l.Bind}
	if l.Loopback {
		addresses = p.families.loopbacks()
	}
	b := at(addresses[0], l.Port)
	b.also = addresses[1:]
	b.open = l.Open
	if port.Protocol.IsHTTP() {
		b.route = strconv.Itoa(int(l.Port))
		b.resolves(s)
		return nil
	}
	return p.bindConnections(b, s, port)
}

// egressTable is the route table of a listener's port; nil where it is not of HTTP.
func (p *proxy) egressTable(l *model.EgressListener) *routepb.RouteConfiguration {
	if !l.Protocol.IsHTTP() {
		return nil
	}
	return p.outboundTable(strconv.Itoa(int(l.Port)), l.Port, p.scope.services, false)
}

// egressPort reports whether the routes of a port are a listener's.
func (s *scope) egressPort(port uint32) bool {
	return slices.ContainsFunc(s.views, func(v view) bool {
		return v.listener != nil && v.listener.Port == port && v.listener.Protocol.IsHTTP()
	})
}
