package translate

import (
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
)

// forwardedChains are those of a server with AUTO_PASSTHROUGH, one per port and subset of
// the services whose hosts it has: mutual TLS of the mesh goes on as it is to the cluster
// that its server name says. No VirtualService has a part in it.
func (p *proxy) forwardedChains(l *listenerpb.Listener, taken *binding, s served) error {
	for _, service := range p.scope.services {
		host, ok := s.server.Admits(service.Namespace, service.Host)
		if !ok || host != service.Host || service.External {
			continue
		}
		for _, port := range service.Ports {
			if port.Protocol == model.UDP {
				continue
			}
			subsets := []*model.Subset{{}}
			if d := p.scope.policies[service]; d != nil {
				subsets = append(subsets, d.Subsets...)
			}
			for _, subset := range subsets {
				name := names.SNI(port.Number, subset.Name, service.Host)
				chain := &listenerpb.FilterChain{Metadata: provenance(s.server.Source, nil), Filters: []*listenerpb.Filter{p.toCluster(name, false)}}
				if err := addTLS(l, taken, []string{name}, chain); err != nil {
					return err
				}
				if chain.FilterChainMatch != nil { // else another Gateway has the name
					chain.FilterChainMatch.ApplicationProtocols = meshAny
				}
			}
		}
	}
	return nil
}
