package translate

import (
	"fmt"
	"strings"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/patch"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// patch changes what the proxy gets as the EnvoyFilters of its workload say. The result
// is not validated here: like istiod's, it goes to the proxy, which takes or refuses it.
func (p *proxy) patch() error {
	filters := p.mesh.EnvoyFilters(p.node.Namespace, p.node.Labels)
	patches := patch.New(filters, p.node)
	if patches == nil {
		return nil
	}
	patches.Ports = p.servicePorts
	var key strings.Builder
	fmt.Fprintf(&key, "|patch|%s|%s", p.node.Type, p.node.Version)
	for _, f := range filters {
		key.WriteString("|" + p.id(f))
	}
	for typ, change := range map[resource.Type]func(proto.Message) bool{
		resource.Cluster:  func(m proto.Message) bool { return patches.Cluster(m.(*clusterpb.Cluster)) },
		resource.Listener: func(m proto.Message) bool { return patches.Listener(m.(*listenerpb.Listener)) },
		resource.Route:    func(m proto.Message) bool { patches.Routes(m.(*routepb.RouteConfiguration)); return true },
	} {
		if err := p.patchAll(typ, key.String(), change); err != nil {
			return err
		}
	}
	for _, c := range patches.Clusters() {
		if err := p.add(resource.Cluster, c); err != nil {
			return err
		}
	}
	for _, l := range patches.Listeners() {
		if err := p.add(resource.Listener, l); err != nil {
			return err
		}
	}
	return nil
}

// patchAll changes all resources of a type; one for which change says false goes.
func (p *proxy) patchAll(typ resource.Type, key string, change func(proto.Message) bool) error {
	for _, name := range p.set.Names(typ) {
		before := p.set[typ][name]
		ports := ""
		if p.node.Type == model.Router && typ == resource.Route {
			ports = p.node.Namespace + "/" + p.node.ID // the Service in front of it counts
		}
		m, err := p.once(key+"|"+string(typ)+"|"+name+"|"+before.Version+"|"+ports, func() (made, error) {
			m, err := before.Unmarshal(typ)
			if err != nil || !change(m) {
				return nil, err
			}
			after, err := resource.New(name, m)
			if err != nil || after.Version == before.Version {
				return made{before}, err
			}
			return made{after}, nil
		})
		if err != nil {
			return err
		}
		delete(p.set[typ], name)
		for _, r := range m {
			p.set.Put(typ, r)
		}
	}
	return nil
}

func (p *proxy) add(typ resource.Type, m proto.Message) error {
	r, err := resource.New(resource.NameOf(m), m)
	if err != nil {
		return err
	}
	p.set.Put(typ, r)
	return nil
}

// servicePorts are the ports that Services in front of the proxy have for one of its own.
func (p *proxy) servicePorts(target uint32) []uint32 {
	var ports []uint32
	for _, s := range p.mesh.Services {
		if !s.Kubernetes || s.Namespace != p.node.Namespace || len(s.Selector) == 0 || !model.Selects(s.Selector, p.node.Labels) {
			continue
		}
		for _, port := range s.Ports {
			if port.Target == target {
				ports = append(ports, port.Number)
			}
		}
	}
	return ports
}
