package translate

import (
	"cmp"
	"slices"
	"strings"
	"time"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tracepb "github.com/envoyproxy/go-control-plane/envoy/config/trace/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tracingpb "github.com/envoyproxy/go-control-plane/envoy/type/tracing/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
)

// tracing is what a connection manager does about traces; nil: nothing. Without a
// provider it only marks request ids, and nobody could see tags.
func (p *proxy) tracing(spec *model.TraceSpec) *hcmpb.HttpConnectionManager_Tracing {
	if spec == nil {
		return nil
	}
	t := &hcmpb.HttpConnectionManager_Tracing{
		ClientSampling:  &typepb.Percent{Value: 100},
		RandomSampling:  &typepb.Percent{Value: spec.Sampling},
		OverallSampling: &typepb.Percent{Value: 100},
	}
	if spec.Provider == nil {
		return t
	}
	t.Provider = p.traceProvider(spec.Provider)
	if n := cmp.Or(spec.Provider.MaxTagLength, spec.MaxTagLength); n > 0 {
		t.MaxPathTagLength = wrapperspb.UInt32(n)
	}
	if spec.IstioTags {
		for _, tag := range p.istioTags() {
			t.CustomTags = append(t.CustomTags, &tracingpb.CustomTag{Tag: tag[0],
				Type: &tracingpb.CustomTag_Literal_{Literal: &tracingpb.CustomTag_Literal{Value: tag[1]}}})
		}
	}
	for _, tag := range spec.Tags {
		t.CustomTags = append(t.CustomTags, customTag(tag))
	}
	slices.SortFunc(t.CustomTags, func(a, b *tracingpb.CustomTag) int { return strings.Compare(a.Tag, b.Tag) })
	return t
}

// istioTags say whose span it is.
func (p *proxy) istioTags() [][2]string {
	labels := p.node.Labels
	return [][2]string{
		{"istio.canonical_revision", cmp.Or(labels["service.istio.io/canonical-revision"], labels["app.kubernetes.io/version"], labels["version"], "latest")},
		{"istio.canonical_service", cmp.Or(labels["service.istio.io/canonical-name"], labels["app.kubernetes.io/name"], labels["app"], p.node.Workload, "unknown")},
		{"istio.cluster_id", cmp.Or(p.node.Cluster, "unknown")},
		{"istio.mesh_id", cmp.Or(p.node.MeshID, p.mesh.Settings.TrustDomain, "unknown")},
		{"istio.namespace", p.node.Namespace},
	}
}

func customTag(t model.TraceTag) *tracingpb.CustomTag {
	c := &tracingpb.CustomTag{Tag: t.Name}
	switch {
	case t.Environment != "":
		c.Type = &tracingpb.CustomTag_Environment_{Environment: &tracingpb.CustomTag_Environment{Name: t.Environment, DefaultValue: t.Default}}
	case t.Header != "":
		c.Type = &tracingpb.CustomTag_RequestHeader{RequestHeader: &tracingpb.CustomTag_Header{Name: t.Header, DefaultValue: t.Default}}
	case t.Formula != "":
		c.Type = &tracingpb.CustomTag_Value{Value: t.Formula}
	default:
		c.Type = &tracingpb.CustomTag_Literal_{Literal: &tracingpb.CustomTag_Literal{Value: t.Literal}}
	}
	return c
}

// serviceName is what the spans of the proxy say: its node's cluster, as the injector
// writes it.
func (p *proxy) serviceName() string {
	return cmp.Or(p.node.Labels["app"], p.node.Workload) + "." + p.node.Namespace
}

func (p *proxy) traceProvider(t *model.TraceProvider) *tracepb.Tracing_Http {
	cluster := names.Outbound(t.Port, "", t.Host)
	name, config := "envoy.tracers.zipkin", proto.Message(nil)
	switch t.Kind {
	case model.ZipkinTracer:
		z := &tracepb.ZipkinConfig{CollectorCluster: cluster, CollectorEndpoint: t.Path, CollectorHostname: t.Host,
			CollectorEndpointVersion: tracepb.ZipkinConfig_HTTP_JSON, TraceId_128Bit: !t.Short, SharedSpanContext: wrapperspb.Bool(false)}
		if t.W3C {
			z.TraceContextOption = tracepb.ZipkinConfig_USE_B3_WITH_W3C_PROPAGATION
		}
		if t.Timeout > 0 {
			z.CollectorCluster, z.CollectorEndpoint, z.CollectorHostname = "", "", ""
			z.CollectorService = httpService(t, cluster)
		}
		config = z
	case model.OpenTelemetryHTTP:
		name = "envoy.tracers.opentelemetry"
		config = &tracepb.OpenTelemetryConfig{ServiceName: p.serviceName(), HttpService: httpService(t, cluster)}
	case model.OpenTelemetryGRPC:
		name = "envoy.tracers.opentelemetry"
		g := &corepb.GrpcService{TargetSpecifier: &corepb.GrpcService_EnvoyGrpc_{
			EnvoyGrpc: &corepb.GrpcService_EnvoyGrpc{ClusterName: cluster, Authority: t.Host}}}
		if t.Timeout > 0 {
			g.Timeout = durationpb.New(t.Timeout)
		}
		for _, h := range t.Headers {
			g.InitialMetadata = append(g.InitialMetadata, &corepb.HeaderValue{Key: h.Name, Value: h.Value})
		}
		config = &tracepb.OpenTelemetryConfig{ServiceName: p.serviceName(), GrpcService: g}
	case model.SkyWalking:
		name = "envoy.tracers.skywalking"
		s := &tracepb.SkyWalkingConfig{GrpcService: &corepb.GrpcService{TargetSpecifier: &corepb.GrpcService_EnvoyGrpc_{
			EnvoyGrpc: &corepb.GrpcService_EnvoyGrpc{ClusterName: cluster, Authority: t.Host}}}}
		if t.Token != "" {
			s.ClientConfig = &tracepb.ClientConfig{BackendTokenSpecifier: &tracepb.ClientConfig_BackendToken{BackendToken: t.Token}}
		}
		config = s
	}
	return &tracepb.Tracing_Http{Name: name, ConfigType: &tracepb.Tracing_Http_TypedConfig{TypedConfig: toAny(config)}}
}

// httpService is where reports go over HTTP.
func httpService(t *model.TraceProvider, cluster string) *corepb.HttpService {
	timeout := cmp.Or(t.Timeout, 10*time.Second)
	s := &corepb.HttpService{HttpUri: &corepb.HttpUri{Uri: "http://" + t.Host + t.Path,
		HttpUpstreamType: &corepb.HttpUri_Cluster{Cluster: cluster}, Timeout: durationpb.New(timeout)}}
	for _, h := range t.Headers {
		s.RequestHeadersToAdd = append(s.RequestHeadersToAdd, &corepb.HeaderValueOption{
			Header:       &corepb.HeaderValue{Key: h.Name, Value: h.Value},
			AppendAction: corepb.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD})
	}
	return s
}
