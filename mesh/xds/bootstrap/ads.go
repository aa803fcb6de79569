package bootstrap

//lint:file-ignore SA1019 Envoy still takes what is deprecated, and control planes still send it.

import (
	"fmt"
	"net"
	"strconv"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
)

// ADS is where the control plane is and how to speak to it.
type ADS struct {
	Cluster string // name of the static cluster that carries it
	Delta   bool
	// Addresses are "host:port", in the order of the cluster's endpoints; hosts may be names.
	Addresses []string
	// TLS is nil for plaintext. What it names in files is in Files.
	TLS   *snapshot.ClientTLS
	Files TLSFiles
}

// TLSFiles are the paths of PEM files; whoever opens the connection reads them.
type TLSFiles struct{ Roots, Chain, Key string }

// dynamic finds the control plane. It returns the names of the clusters that carry
// xDS and nothing else.
func (p *parser) dynamic() map[string]bool {
	d := p.m.GetDynamicResources()
	if d == nil {
		return nil
	}
	if d.GetAdsConfig() == nil {
		p.problem("dynamicResources", "adsConfig is missing: only aggregated discovery is supported")
		return nil
	}
	for name, c := range map[string]*corepb.ConfigSource{"cdsConfig": d.GetCdsConfig(), "ldsConfig": d.GetLdsConfig()} {
		if c.GetAds() == nil {
			p.problem("dynamicResources."+name, "only ads is supported, and both cdsConfig and ldsConfig are needed")
		}
	}
	const path = "dynamicResources.adsConfig"
	ads := new(ADS)
	switch t := d.GetAdsConfig().GetApiType(); t {
	case corepb.ApiConfigSource_DELTA_GRPC:
		ads.Delta = true
	case corepb.ApiConfigSource_GRPC:
	default:
		p.problem(path+".apiType", "%s: only GRPC and DELTA_GRPC are supported", t)
	}
	if v := d.GetAdsConfig().GetTransportApiVersion(); v == corepb.ApiVersion_V2 {
		p.problem(path+".transportApiVersion", "%s: only V3 is supported", v)
	}
	services := d.GetAdsConfig().GetGrpcServices()
	if len(services) != 1 || services[0].GetEnvoyGrpc().GetClusterName() == "" {
		p.problem(path+".grpcServices", "exactly one with envoyGrpc is needed")
		return nil
	}
	ads.Cluster = services[0].GetEnvoyGrpc().GetClusterName()
	for i, c := range p.m.GetStaticResources().GetClusters() {
		if c.GetName() == ads.Cluster {
			p.carrier(fmt.Sprintf("staticResources.clusters[%d]", i), c, ads)
			p.b.Dynamic = ads
			return map[string]bool{ads.Cluster: true}
		}
	}
	p.problem(path+".grpcServices[0].envoyGrpc.clusterName", "there is no static cluster %q", ads.Cluster)
	return nil
}

// carrier reads the addresses and the TLS of the cluster that carries ADS.
func (p *parser) carrier(path string, c *clusterpb.Cluster, ads *ADS) {
	for _, problem := range compile.Strict(c) {
		p.problem(path+"."+problem.Path, "%s", problem.Text)
	}
	switch c.GetType() {
	case clusterpb.Cluster_STATIC, clusterpb.Cluster_STRICT_DNS, clusterpb.Cluster_LOGICAL_DNS:
	default:
		p.problem(path+".type", "%s: not supported for the cluster of the control plane", c.GetType())
	}
	for _, l := range c.GetLoadAssignment().GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			s := e.GetEndpoint().GetAddress().GetSocketAddress()
			ads.Addresses = append(ads.Addresses, net.JoinHostPort(s.GetAddress(), strconv.FormatUint(uint64(s.GetPortValue()), 10)))
		}
	}
	if len(ads.Addresses) == 0 {
		p.problem(path+".loadAssignment", "has no endpoints")
	}
	if len(c.GetTransportSocketMatches()) > 0 {
		p.problem(path+".transportSocketMatches", "not supported for the cluster of the control plane")
	}
	p.carrierTLS(path+".transportSocket.typedConfig", c.GetTransportSocket(), ads)
}

func (p *parser) carrierTLS(path string, s *corepb.TransportSocket, ads *ADS) {
	ctx := new(tlspb.UpstreamTlsContext)
	if s == nil || !s.GetTypedConfig().MessageIs(ctx) {
		return // plaintext; what is neither was refused already
	}
	if err := s.GetTypedConfig().UnmarshalTo(ctx); err != nil {
		p.problem(path, "%v", err)
		return
	}
	path += ".commonTlsContext"
	common := ctx.GetCommonTlsContext()
	ads.TLS = &snapshot.ClientTLS{SNI: ctx.GetSni(), ALPN: common.GetAlpnProtocols()}
	if len(common.GetTlsCertificateSdsSecretConfigs()) > 0 {
		p.problem(path+".tlsCertificateSdsSecretConfigs", "not supported for the cluster of the control plane")
	}
	if common.GetTlsParams() != nil {
		p.problem(path+".tlsParams", "not supported for the cluster of the control plane")
	}
	if certs := common.GetTlsCertificates(); len(certs) > 0 {
		ads.Files.Chain, ads.Files.Key = certs[0].GetCertificateChain().GetFilename(), certs[0].GetPrivateKey().GetFilename()
		if ads.Files.Chain == "" || ads.Files.Key == "" {
			ads.TLS.Inline = &snapshot.InlineCertificate{Chain: inline(certs[0].GetCertificateChain()), Key: inline(certs[0].GetPrivateKey())}
		}
	}
	v := common.GetValidationContext()
	if v == nil && common.GetValidationContextType() != nil {
		p.problem(path, "only validationContext is supported for the cluster of the control plane")
	}
	ads.Files.Roots, ads.TLS.InlineRoots = v.GetTrustedCa().GetFilename(), inline(v.GetTrustedCa())
	ads.TLS.SystemRoots = v.GetSystemRootCerts() != nil
	ads.TLS.InsecureSkipVerify = ads.Files.Roots == "" && ads.TLS.InlineRoots == nil && !ads.TLS.SystemRoots
	for _, m := range v.GetMatchTypedSubjectAltNames() {
		p.san(path+".validationContext.matchTypedSubjectAltNames", m.GetMatcher().GetExact(), ads)
	}
	for _, m := range v.GetMatchSubjectAltNames() {
		p.san(path+".validationContext.matchSubjectAltNames", m.GetExact(), ads)
	}
}

func (p *parser) san(path, exact string, ads *ADS) {
	if exact == "" {
		p.problem(path, "only exact is supported for the cluster of the control plane")
	}
	ads.TLS.MatchSANs = append(ads.TLS.MatchSANs, snapshot.StringMatch{Exact: &exact})
}

func inline(d *corepb.DataSource) []byte {
	if s := d.GetInlineString(); s != "" {
		return []byte(s)
	}
	if b := d.GetInlineBytes(); len(b) > 0 {
		return b
	}
	return nil
}
