package translate

import (
	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	httppb "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
)

// inboundCluster leads to the application.
func (p *proxy) inboundCluster(in *inboundPort) *clusterpb.Cluster {
	pool, d := p.inboundPolicy(in)
	first := in.service()
	source := model.Source{File: first.Source.File, Line: first.Source.Line}
	if d != nil && pool != nil {
		source = d.Source
	}
	c := &clusterpb.Cluster{
		Name: names.Inbound(in.target), AltStatName: names.Inbound(in.target) + ";",
		ConnectTimeout:       durationpb.New(p.mesh.Settings.ConnectTimeout),
		ClusterDiscoveryType: &clusterpb.Cluster_Type{Type: clusterpb.Cluster_ORIGINAL_DST},
		LbPolicy:             clusterpb.Cluster_CLUSTER_PROVIDED,
		CleanupInterval:      &durationpb.Duration{Seconds: longest},
		UpstreamBindConfig:   p.families.bindSource(), CommonLbConfig: &clusterpb.Cluster_CommonLbConfig{},
		Metadata: provenance(source, map[string]*structpb.Value{"services": servicesValue(in.services...)}),
	}
	if in.ingress != nil && in.ingress.Target != 0 {
		p.fixedEndpoint(c, in.ingress)
	}
	p.limits(c, pool, nil)
	o := inboundOptions(pool)
	switch {
	case in.protocol == model.Auto, pool != nil && pool.UseClientProtocol:
		o.UpstreamProtocolOptions, o.set = useDownstream(), true
	case in.protocol.IsHTTP2():
		h2 := &corepb.Http2ProtocolOptions{}
		if pool != nil && pool.MaxStreams > 0 {
			h2.MaxConcurrentStreams = wrapperspb.UInt32(pool.MaxStreams)
		}
		o.UpstreamProtocolOptions, o.set = &httppb.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &httppb.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &httppb.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: h2}}}, true
	}
	if o.set {
		c.TypedExtensionProtocolOptions = o.pack()
	}
	return c
}

// fixedEndpoint sends all requests to where the Sidecar says that the application listens.
func (p *proxy) fixedEndpoint(c *clusterpb.Cluster, l *model.IngressListener) {
	at := p.families.loopback(l.IPv6)
	if l.Instance {
		at = p.node.IP
	} else {
		c.UpstreamBindConfig = nil // nothing redirects what stays at home
	}
	c.ClusterDiscoveryType = &clusterpb.Cluster_Type{Type: clusterpb.Cluster_STATIC}
	c.LbPolicy, c.CleanupInterval = clusterpb.Cluster_ROUND_ROBIN, nil
	c.LoadAssignment = &endpointpb.ClusterLoadAssignment{ClusterName: c.Name, Endpoints: []*endpointpb.LocalityLbEndpoints{{
		LbEndpoints: []*endpointpb.LbEndpoint{{HostIdentifier: &endpointpb.LbEndpoint_Endpoint{Endpoint: &endpointpb.Endpoint{Address: address(at, l.Target)}}}}}}}
}

// inboundOptions are a pool's limits of single connections.
func inboundOptions(pool *model.Pool) *protocolOptions {
	o := &protocolOptions{}
	if pool == nil {
		return o
	}
	if pool.MaxRequestsPerConn > 0 {
		o.common().MaxRequestsPerConnection = wrapperspb.UInt32(pool.MaxRequestsPerConn)
	}
	if pool.HTTPIdle != nil {
		o.common().IdleTimeout = durationpb.New(*pool.HTTPIdle)
	}
	if pool.MaxConnectionDuration > 0 {
		o.common().MaxConnectionDuration = durationpb.New(pool.MaxConnectionDuration)
	}
	return o
}
