package compile

import (
	"net/url"
	"strings"
	"time"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tracepb "github.com/envoyproxy/go-control-plane/envoy/config/trace/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	uuidpb "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3"
	tracingpb "github.com/envoyproxy/go-control-plane/envoy/type/tracing/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/accesslog"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// tracing compiles what a connection manager does about traces. Percentages are 100
// where they are absent.
func tracing(at place, m *hcmpb.HttpConnectionManager, done *compiled) *snapshot.Tracing {
	config := m.GetTracing()
	if config == nil {
		return nil
	}
	at = at.field("tracing")
	or100 := func(p *typepb.Percent) float64 {
		if p == nil {
			return 100
		}
		return p.GetValue()
	}
	t := &snapshot.Tracing{
		ClientSampling:  or100(config.GetClientSampling()),
		RandomSampling:  or100(config.GetRandomSampling()),
		OverallSampling: or100(config.GetOverallSampling()),
		MaxPathLength:   int(number(config.GetMaxPathTagLength(), 256)),
	}
	if body := m.GetRequestIdExtension().GetTypedConfig(); body != nil {
		if ids, err := unpack(body); err == nil {
			if ids, ok := ids.(*uuidpb.UuidRequestIdConfig); ok {
				t.IgnoreRequestID = !boolean(ids.GetUseRequestIdForTraceSampling(), true)
				t.KeepRequestID = !boolean(ids.GetPackTraceReason(), true)
			}
		}
	}
	for i, tag := range config.GetCustomTags() {
		t.Tags = append(t.Tags, customTag(at.field("customTags").index(i), tag))
	}
	if p := config.GetProvider(); p != nil {
		t.Provider = traceProvider(at.field("provider").field("typedConfig"), p)
		if t.Provider != nil {
			done.clusters = append(done.clusters, t.Provider.Cluster)
		}
	}
	return t
}

func customTag(at place, m *tracingpb.CustomTag) snapshot.TraceTag {
	t := snapshot.TraceTag{Name: m.GetTag()}
	switch v := m.GetType().(type) {
	case *tracingpb.CustomTag_Literal_:
		t.Literal = v.Literal.GetValue()
	case *tracingpb.CustomTag_Environment_:
		t.Environment, t.Default = v.Environment.GetName(), v.Environment.GetDefaultValue()
	case *tracingpb.CustomTag_RequestHeader:
		t.Header, t.Default = strings.ToLower(v.RequestHeader.GetName()), v.RequestHeader.GetDefaultValue()
	case *tracingpb.CustomTag_Metadata_:
		t.Default = v.Metadata.GetDefaultValue()
		if v.Metadata.GetKind().GetRequest() == nil {
			at.field("metadata").field("kind").errorf("metadata of others than requests: not supported")
		}
		t.Metadata = append(t.Metadata, v.Metadata.GetMetadataKey().GetKey())
		for _, segment := range v.Metadata.GetMetadataKey().GetPath() {
			t.Metadata = append(t.Metadata, segment.GetKey())
		}
	case *tracingpb.CustomTag_Value:
		t.Format = v.Value
		if _, err := accesslog.CompileFormat(v.Value); err != nil {
			at.field("value").errorf("%v", err)
		}
	}
	return t
}

// traceProvider compiles a tracer; nil where strict has refused it.
func traceProvider(at place, m *tracepb.Tracing_Http) *snapshot.TraceProvider {
	config, err := unpack(m.GetTypedConfig())
	if err != nil {
		if m.GetTypedConfig() == nil {
			at.errorf("%s has no configuration", m.GetName())
		}
		return nil
	}
	switch c := config.(type) {
	case *tracepb.ZipkinConfig:
		return zipkin(at, c)
	case *tracepb.OpenTelemetryConfig:
		return openTelemetry(at, c)
	case *tracepb.SkyWalkingConfig:
		return skyWalking(at, c)
	default:
		at.errorf("%s is no tracer", config.ProtoReflect().Descriptor().FullName())
		return nil
	}
}

// zipkin compiles Zipkin's tracer, whose reports Envoy gives five seconds.
func zipkin(at place, c *tracepb.ZipkinConfig) *snapshot.TraceProvider {
	p := &snapshot.TraceProvider{Protocol: snapshot.Zipkin, Timeout: 5 * time.Second, Short: !c.GetTraceId_128Bit(),
		Shared: boolean(c.GetSharedSpanContext(), true),
		W3C:    c.GetTraceContextOption() == tracepb.ZipkinConfig_USE_B3_WITH_W3C_PROPAGATION}
	if service := c.GetCollectorService(); service != nil {
		httpCollector(at.field("collectorService"), service, p)
		return p
	}
	p.Cluster, p.Path, p.Host = c.GetCollectorCluster(), c.GetCollectorEndpoint(), c.GetCollectorHostname()
	if p.Host == "" {
		p.Host = p.Cluster
	}
	if p.Cluster == "" || p.Path == "" {
		at.errorf("collectorCluster and collectorEndpoint are needed")
	}
	if v := c.GetCollectorEndpointVersion(); v != tracepb.ZipkinConfig_HTTP_JSON {
		at.field("collectorEndpointVersion").errorf("%s: not supported", v)
	}
	return p
}

func openTelemetry(at place, c *tracepb.OpenTelemetryConfig) *snapshot.TraceProvider {
	p := &snapshot.TraceProvider{ServiceName: c.GetServiceName(), Timeout: 10 * time.Second}
	switch {
	case c.GetHttpService() != nil:
		p.Protocol = snapshot.OTLPHTTP
		httpCollector(at.field("httpService"), c.GetHttpService(), p)
	case c.GetGrpcService().GetEnvoyGrpc() != nil:
		g := c.GetGrpcService()
		p.Protocol, p.Cluster, p.Host = snapshot.OTLPGRPC, g.GetEnvoyGrpc().GetClusterName(), g.GetEnvoyGrpc().GetAuthority()
		if p.Host == "" {
			p.Host = p.Cluster
		}
		p.Timeout = duration(at.field("grpcService").field("timeout"), g.GetTimeout(), p.Timeout)
		for _, v := range g.GetInitialMetadata() {
			p.Headers = append(p.Headers, snapshot.HeaderOp{Name: strings.ToLower(v.GetKey()), Value: v.GetValue()})
		}
	default:
		at.errorf("one of grpcService and httpService is needed")
	}
	return p
}

// skyWalking compiles SkyWalking's tracer. Who the service and its instance are the node
// says, unless they are written.
func skyWalking(at place, c *tracepb.SkyWalkingConfig) *snapshot.TraceProvider {
	g, client := c.GetGrpcService(), c.GetClientConfig()
	p := &snapshot.TraceProvider{Protocol: snapshot.SkyWalking, ServiceName: client.GetServiceName(), Instance: client.GetInstanceName(),
		Cluster: g.GetEnvoyGrpc().GetClusterName(), Host: g.GetEnvoyGrpc().GetAuthority()}
	if p.Host == "" {
		p.Host = p.Cluster
	}
	p.Timeout = duration(at.field("grpcService").field("timeout"), g.GetTimeout(), 10*time.Second)
	if len(g.GetInitialMetadata()) > 0 {
		at.field("grpcService").field("initialMetadata").errorf("not supported for this tracer")
	}
	if token := client.GetBackendToken(); token != "" {
		p.Headers = []snapshot.HeaderOp{{Name: "authentication", Value: token, Action: snapshot.OverwriteOrAdd}}
	}
	return p
}

// httpCollector reads where reports go over HTTP.
func httpCollector(at place, s *corepb.HttpService, p *snapshot.TraceProvider) {
	uri := s.GetHttpUri()
	p.Cluster, p.Timeout = uri.GetCluster(), duration(at.field("httpUri").field("timeout"), uri.GetTimeout(), p.Timeout)
	u, err := url.Parse(uri.GetUri())
	if err != nil || u.Host == "" && u.Path == "" {
		at.field("httpUri").field("uri").errorf("%q is no address", uri.GetUri())
		return
	}
	if p.Host, p.Path = u.Host, u.RequestURI(); p.Host == "" {
		p.Host = p.Cluster
	}
	p.Headers = headerOps(at, "request", s.GetRequestHeadersToAdd(), nil).Set
	for i, h := range p.Headers {
		if strings.Contains(h.Value, "%") {
			at.field("requestHeadersToAdd").index(i).errorf("command operators: not supported")
		}
	}
}
