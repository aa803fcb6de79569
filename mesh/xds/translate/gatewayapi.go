package translate

import (
	"slices"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// behind reports whether the proxy is one of those that a Service sends to.
func (p *proxy) behind(host string) bool {
	for _, i := range p.mesh.Instances(p.node.IP) {
		if i.Service.Host == host {
			return true
		}
	}
	s := p.mesh.Service(host, p.node.Namespace)
	return s != nil && s.Namespace == p.node.Namespace && len(s.Selector) > 0 && model.Selects(s.Selector, p.node.Labels)
}

// attach adds routes of the Gateway API to the mesh. Those that hold in their own
// namespace only, because somebody else's Service is their parent, go before the
// Service's own: a client's rules win for the client.
func (s *scope) attach(v *model.VirtualService) {
	for _, h := range v.Hosts {
		list := s.attached[h]
		i := len(list)
		if !v.Export.All {
			i = slices.IndexFunc(list, func(other *model.VirtualService) bool { return other.Export.All })
			if i < 0 {
				i = len(list)
			}
		}
		s.attached[h] = slices.Insert(list, i, v)
	}
}

// secretOf is the namespace of a server's Secret, and its name among the resources.
func (p *proxy) secretOf(t *model.ServerTLS) (namespace, name string) {
	if t.CredentialNamespace != "" {
		return t.CredentialNamespace, "kubernetes-gateway://" + t.CredentialNamespace + "/" + t.Credential
	}
	return p.node.Namespace, "kubernetes://" + t.Credential
}
