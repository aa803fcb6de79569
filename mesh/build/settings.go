package build

import (
	"cmp"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
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
			c.GetOutboundTrafficPolicy().GetMode() == meshpb.MeshConfig_OutboundTrafficPolicy_ALLOW_ANY,
		AutoMTLS:       c.GetEnableAutoMtls() == nil || c.GetEnableAutoMtls().GetValue(),
		Tracing:        c.GetEnableTracing(),
		Sampling:       1, // PILOT_TRACE_SAMPLING
		ConnectTimeout: cmp.Or(c.GetConnectTimeout().AsDuration(), 10*time.Second),
		DetectTimeout:  c.GetProtocolDetectionTimeout().AsDuration(),
		DNSRefresh:     cmp.Or(c.GetDnsRefreshRate().AsDuration(), time.Minute),
		OutboundPort:   cmp.Or(uint32(c.GetProxyListenPort()), 15001),
		InboundPort:    cmp.Or(uint32(c.GetProxyInboundListenPort()), 15006),
		AccessLog:      meshAccessLog(c),
		UpgradeH2:      c.GetH2UpgradePolicy() == meshpb.MeshConfig_UPGRADE,
		MinTLS13:       c.GetMeshMTLS().GetMinProtocolVersion() == meshpb.MeshConfig_TLSConfig_TLSV1_3,
		Keepalive:      keepalive(c.GetTcpKeepalive()),
		Normalization:  normalization(c.GetPathNormalization().GetNormalization()),
	}
	s.Authorizers = b.authorizers()
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

// meshAccessLog is the log that MeshConfig switches on: by accessLogFile, or by the
// default providers.
func meshAccessLog(c *meshpb.MeshConfig) *model.AccessLog {
	if names := c.GetDefaultProviders().GetAccessLogging(); len(names) > 0 {
		return fileProvider(c, names[0])
	}
	if c.GetAccessLogFile() == "" {
		return nil
	}
	return &model.AccessLog{
		Path: c.GetAccessLogFile(), Format: c.GetAccessLogFormat(),
		EncodeJSON: c.GetAccessLogEncoding() == meshpb.MeshConfig_JSON,
	}
}

// fileProvider returns the file log that an extension provider makes, or nil. The
// provider "envoy" always exists.
func fileProvider(c *meshpb.MeshConfig, name string) *model.AccessLog {
	for _, p := range c.GetExtensionProviders() {
		if p.GetName() != name {
			continue
		}
		f := p.GetEnvoyFileAccessLog()
		if f == nil {
			return nil
		}
		log := &model.AccessLog{Path: cmp.Or(f.GetPath(), "/dev/stdout"), Format: f.GetLogFormat().GetText()}
		if labels := f.GetLogFormat().GetLabels(); labels != nil {
			log.JSON = jsonFormat(labels)
			log.EncodeJSON = true
		}
		return log
	}
	if name != "envoy" {
		return nil
	}
	return &model.AccessLog{
		Path: cmp.Or(c.GetAccessLogFile(), "/dev/stdout"), Format: c.GetAccessLogFormat(),
		EncodeJSON: c.GetAccessLogEncoding() == meshpb.MeshConfig_JSON,
	}
}

func jsonFormat(labels *structpb.Struct) map[string]string {
	format := map[string]string{}
	for k, v := range labels.GetFields() {
		format[k] = v.GetStringValue()
	}
	return format
}
