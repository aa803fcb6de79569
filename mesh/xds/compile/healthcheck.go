package compile

import (
	"encoding/hex"
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// healthCheck compiles active health checking with Envoy's defaults: a minute without
// traffic, the other intervals as the plain one, 200 as the only good status.
func healthCheck(at place, m *clusterpb.Cluster) *snapshot.HealthCheck {
	list := m.GetHealthChecks()
	if len(list) == 0 {
		return nil
	}
	switch {
	case len(list) > 1:
		at.errorf("several health checks of one cluster: not supported")
	case m.GetClusterType() != nil:
		at.errorf("of a cluster by name: not supported")
	case m.GetType() == clusterpb.Cluster_ORIGINAL_DST:
		at.errorf("an ORIGINAL_DST cluster cannot have health checks")
	}
	h := list[0]
	at = at.index(0)
	span := func(name string, d *durationpb.Duration, absent time.Duration) time.Duration {
		return duration(at.field(name), d, absent)
	}
	c := &snapshot.HealthCheck{
		Timeout: span("timeout", h.GetTimeout(), 0), Interval: span("interval", h.GetInterval(), 0),
		InitialJitter: span("initialJitter", h.GetInitialJitter(), 0), IntervalJitter: span("intervalJitter", h.GetIntervalJitter(), 0),
		JitterPercent: h.GetIntervalJitterPercent(), Unhealthy: h.GetUnhealthyThreshold().GetValue(), Healthy: h.GetHealthyThreshold().GetValue(),
		NoTraffic: span("noTrafficInterval", h.GetNoTrafficInterval(), time.Minute), Reuse: boolean(h.GetReuseConnection(), true),
		KeepPassing: m.GetType() != clusterpb.Cluster_STATIC && !m.GetIgnoreHealthOnHostRemoval(),
	}
	c.NoTrafficHealthy = span("noTrafficHealthyInterval", h.GetNoTrafficHealthyInterval(), c.NoTraffic)
	c.UnhealthyInterval = span("unhealthyInterval", h.GetUnhealthyInterval(), c.Interval)
	c.UnhealthyEdge = span("unhealthyEdgeInterval", h.GetUnhealthyEdgeInterval(), c.UnhealthyInterval)
	c.HealthyEdge = span("healthyEdgeInterval", h.GetHealthyEdgeInterval(), c.Interval)
	if p := h.GetAltPort(); p != nil {
		c.Port = port(at.field("altPort"), p.GetValue())
	}
	switch k := h.GetHealthChecker().(type) {
	case *corepb.HealthCheck_HttpHealthCheck_:
		c.HTTP = httpCheck(at.field("httpHealthCheck"), k.HttpHealthCheck)
	case *corepb.HealthCheck_TcpHealthCheck_:
		c.TCP = tcpCheck(at.field("tcpHealthCheck"), k.TcpHealthCheck)
	case *corepb.HealthCheck_GrpcHealthCheck_:
		c.GRPC = &snapshot.GRPCCheck{Service: k.GrpcHealthCheck.GetServiceName(), Authority: k.GrpcHealthCheck.GetAuthority()}
	}
	return c
}

// endpointCheck compiles what an endpoint says about its own checks.
func endpointCheck(at place, m *endpointpb.Endpoint_HealthCheckConfig) snapshot.EndpointCheck {
	c := snapshot.EndpointCheck{Port: port(at.field("portValue"), m.GetPortValue()), Hostname: m.GetHostname(), Disabled: m.GetDisableActiveHealthCheck()}
	if a := m.GetAddress(); a != nil {
		c.Address = address(at.field("address"), a).Addr()
	}
	return c
}

func httpCheck(at place, m *corepb.HealthCheck_HttpHealthCheck) *snapshot.HTTPCheck {
	h := &snapshot.HTTPCheck{Host: m.GetHost(), Path: m.GetPath(), Method: "GET", HTTP2: m.GetCodecClientType() == typepb.CodecClientType_HTTP2,
		Headers:  headerOps(at, "request", m.GetRequestHeadersToAdd(), nil).Set,
		Expected: statusRanges(m.GetExpectedStatuses()), Retriable: statusRanges(m.GetRetriableStatuses())}
	if m.GetMethod() != corepb.RequestMethod_METHOD_UNSPECIFIED {
		h.Method = m.GetMethod().String()
	}
	if m.GetCodecClientType() == typepb.CodecClientType_HTTP3 {
		at.field("codecClientType").errorf("HTTP3: not supported")
	}
	if len(h.Expected) == 0 {
		h.Expected = []snapshot.StatusRange{{From: 200, To: 201}}
	}
	return h
}

func statusRanges(list []*typepb.Int64Range) []snapshot.StatusRange {
	var out []snapshot.StatusRange
	for _, r := range list {
		out = append(out, snapshot.StatusRange{From: int(r.GetStart()), To: int(r.GetEnd())})
	}
	return out
}

func tcpCheck(at place, m *corepb.HealthCheck_TcpHealthCheck) *snapshot.TCPCheck {
	t := &snapshot.TCPCheck{Send: payload(at.field("send"), m.GetSend())}
	for i, r := range m.GetReceive() {
		t.Receive = append(t.Receive, payload(at.field("receive").index(i), r))
	}
	return t
}

// payload is bytes, or hex as text.
func payload(at place, m *corepb.HealthCheck_Payload) []byte {
	if m.GetText() == "" {
		return m.GetBinary()
	}
	b, err := hex.DecodeString(m.GetText())
	if err != nil {
		at.field("text").errorf("%q is not hexadecimal", m.GetText())
	}
	return b
}
