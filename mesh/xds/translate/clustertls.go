package translate

import (
	"cmp"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// transport sets how the cluster secures connections: as the policy says, else mTLS
// where an endpoint's sidecar terminates it.
func (p *proxy) transport(c *clusterpb.Cluster, s *model.Service, port *model.Port, subset string, tls *model.ClientTLS, o *protocolOptions) {
	sni := names.SNI(port.Number, subset, s.Host)
	switch {
	case tls == nil && (s.External || s.Resolution == model.ByName || !p.mesh.Settings.AutoMTLS):
	case tls == nil && c.GetType() == clusterpb.Cluster_ORIGINAL_DST:
		// There is no metadata on such endpoints to match on: all of them, or none.
		if allMTLS(s.Endpoints.On(port)) {
			c.TransportSocket = p.clientMTLS(s, port, sni, nil)
		}
	case tls == nil:
		c.TransportSocketMatches = []*clusterpb.Cluster_TransportSocketMatch{
			{Name: "tlsMode-istio", Match: stringsStruct(map[string]string{"tlsMode": "istio"}), TransportSocket: p.clientMTLS(s, port, sni, nil)},
			{Name: "tlsMode-disabled", Match: &structpb.Struct{}, TransportSocket: plaintext()},
		}
	case tls.Mode == model.TLSIstio:
		c.TransportSocket = p.clientMTLS(s, port, cmp.Or(tls.SNI, sni), tls.SubjectAltNames)
	case tls.Mode == model.TLSMutual && tls.Credential == "" && tls.Certificate == "":
		// Istio has no certificate to show then, and leaves the connection in plain text.
	case tls.Mode == model.TLSSimple || tls.Mode == model.TLSMutual:
		var alpn []string
		if port.Protocol.IsHTTP2() {
			alpn = []string{"h2"}
		}
		c.TransportSocket = clientTLS(tls, s.SubjectAltNames, alpn)
		if tls.SNI == "" {
			o.set = true
			o.UpstreamHttpProtocolOptions = &corepb.UpstreamHttpProtocolOptions{
				AutoSni: true, AutoSanValidation: (len(tls.SubjectAltNames) == 0 || s.Resolution == model.ByName) && !tls.InsecureSkipVerify}
		}
		if tls.SNI != "" || tls.InsecureSkipVerify {
			p.trustsAnySNI(c, s)
		}
	}
}

// tlsOf is a policy's TLS as this kind of proxy takes it.
func (p *proxy) tlsOf(d *model.DestinationRule, tls *model.ClientTLS) *model.ClientTLS {
	if tls == nil || tls.Credential == "" || p.scope.router || d != nil && d.Selector != nil {
		return tls
	}
	plain := *tls
	plain.Credential = ""
	return &plain
}

// clientSecrets sends the Secrets with which clusters originate TLS. One that is not
// there fails the connections of its clusters, until it comes.
func (p *proxy) clientSecrets() error {
	sent := map[string]bool{}
	for _, s := range p.scope.services {
		d := p.scope.policies[s]
		if d == nil {
			continue
		}
		for _, port := range s.Ports {
			for _, subset := range append([]*model.Subset{nil}, d.Subsets...) {
				tls := p.tlsOf(d, p.policyFor(d, subset, port.Number).TLS)
				if tls == nil || tls.Credential == "" || sent[tls.Credential] {
					continue
				}
				sent[tls.Credential] = true
				m, err := finish(p.credentialSecrets(tls.Credential))
				if err := p.put(resource.Secret, m, err); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (p *proxy) credentialSecrets(name string) []*tlspb.Secret {
	var list []*tlspb.Secret
	if s := p.certificateSecret(p.vault(), name); s != nil {
		list = append(list, s)
	}
	if s := p.rootsSecret(p.vault(), name); s != nil {
		list = append(list, s)
	}
	return list
}

func allMTLS(list []*model.Endpoint) bool {
	for _, e := range list {
		if e.TLSMode != "istio" {
			return false
		}
	}
	return len(list) > 0
}
