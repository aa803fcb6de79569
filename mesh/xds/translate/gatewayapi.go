package translate

import (
	"slices"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// behind reports whether the proxy is one of those that a Service sends to.
func (p *proxy) behind(host string) bool {
	for _, i := range p.instances() {
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

// vault is where Secrets are, and how their names begin among the resources.
type vault struct{ namespace, prefix string }

// vaultOf is where a server's Secrets are.
func (p *proxy) vaultOf(t *model.ServerTLS) vault {
	if t.CredentialNamespace != "" {
		return vault{t.CredentialNamespace, "kubernetes-gateway://" + t.CredentialNamespace + "/"}
	}
	return p.vault()
}

// vault is where the proxy's own Secrets are.
func (p *proxy) vault() vault { return vault{p.node.Namespace, secretPrefix} }
