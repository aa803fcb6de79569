package build

import (
	"cmp"
	"time"

	meshpb "istio.io/api/mesh/v1alpha1"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// settings reads MeshConfig.
func (b *builder) settings() {
	c := b.options.MeshConfig
	s := model.Settings{
		ClusterDomain: b.options.ClusterDomain,
		TrustDomain:   cmp.Or(c.GetTrustDomain(), "cluster.local"),
		TrustAliases:  c.GetTrustDomainAliases(),
		RootNamespace: b.options.RootNamespace,
		AllowAny: c.GetOutboundTrafficPolicy() == nil ||
			c.GetOutboundTrafficPolicy().GetMode() != meshpb.MeshConfig_OutboundTrafficPolicy_REGISTRY_ONLY,
		AnyByName:      c.GetOutboundTrafficPolicy().GetMode() == meshpb.MeshConfig_OutboundTrafficPolicy_ALLOW_ANY_DYNAMIC_DNS,
		AutoMTLS:       c.GetEnableAutoMtls() == nil || c.GetEnableAutoMtls().GetValue(),
		Sampling:       1, // PILOT_TRACE_SAMPLING
		ConnectTimeout: cmp.Or(c.GetConnectTimeout().AsDuration(), 10*time.Second),
		DetectTimeout:  c.GetProtocolDetectionTimeout().AsDuration(),
		DNSRefresh:     cmp.Or(c.GetDnsRefreshRate().AsDuration(), time.Minute),
		OutboundPort:   cmp.Or(uint32(c.GetProxyListenPort()), 15001),
		InboundPort:    cmp.Or(uint32(c.GetProxyInboundListenPort()), 15006),
		UpgradeH2:      c.GetH2UpgradePolicy() == meshpb.MeshConfig_UPGRADE,
		MinTLS13:       c.GetMeshMTLS().GetMinProtocolVersion() == meshpb.MeshConfig_TLSConfig_TLSV1_3,
		Keepalive:      keepalive(c.GetTcpKeepalive()),
		Normalization:  normalization(c.GetPathNormalization().GetNormalization()),
	}
	s.Authorizers = b.authorizers()
	if t := c.GetDefaultConfig().GetGatewayTopology(); t != nil {
		s.Topology = model.GatewayTopology{TrustedProxies: t.GetNumTrustedProxies(), ForwardCert: uint8(t.GetForwardClientCertDetails()), ProxyProtocol: t.GetProxyProtocol() != nil}
	}
	if t := c.GetDefaultConfig().GetTracing(); t != nil && t.GetSampling() != 0 {
		s.Sampling = t.GetSampling()
	}
	if l := c.GetLocalityLbSetting(); l.GetEnabled() == nil || l.GetEnabled().GetValue() {
		s.Locality = locality(l)
	}
	if r := c.GetDefaultHttpRetryPolicy(); r != nil {
		s.Retry = retry(r)
	}
	if p := c.GetDefaultTrafficPolicy(); p != nil {
		s.OutboundPolicy = &model.TrafficPolicy{Pool: pool(p.GetConnectionPool()), Outlier: outlier(p.GetOutlierDetection())}
	}
	b.parts.Settings = s
}

func normalization(n meshpb.MeshConfig_ProxyPathNormalization_NormalizationType) model.Normalization {
	switch n {
	case meshpb.MeshConfig_ProxyPathNormalization_NONE:
		return model.NormalizeNone
	case meshpb.MeshConfig_ProxyPathNormalization_MERGE_SLASHES:
		return model.NormalizeMergeSlashes
	case meshpb.MeshConfig_ProxyPathNormalization_DECODE_AND_MERGE_SLASHES:
		return model.NormalizeDecodeAndMergeSlashes
	default:
		return model.NormalizeBase
	}
}
