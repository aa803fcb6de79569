package engine

import (
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
)

// recorder makes Istio's standard metrics of finished exchanges.
type recorder struct {
	istio    *stats.Istio
	self     stats.Workload
	reporter string
	upstream *upstream.Manager
}

func (e *Engine) recorder(c snapshot.IstioStats) *recorder {
	return &recorder{istio: e.istio, self: e.options.Workload, reporter: c.Reporter, upstream: e.upstream}
}

// record counts one exchange. The peer of an outbound call is known by its endpoint,
// the peer of an inbound one by its certificate only.
func (r *recorder) record(x *exchange, milliseconds float64) {
	s := x.Request.Stream
	c := stats.Call{Reporter: r.reporter, Code: x.status, Flags: s.Flags.String(), Protocol: "http", ConnectionSecurity: "unknown"}
	inbound := s.Conn != nil && s.Conn.Inbound
	if c.Reporter == "" {
		c.Reporter = "source"
		if inbound {
			c.Reporter = "destination"
		}
	}
	if route.IsGRPC(x.Request.Header) {
		c.Protocol = "grpc"
		if x.response != nil {
			c.GRPCStatus = x.response.Header.Get("grpc-status")
		}
	}
	r.service(&c, s)
	if inbound {
		c.Destination = r.self
		c.ConnectionSecurity = "none"
		if t := s.Conn.TLS; t != nil && len(t.PeerURIs) > 0 {
			c.Source.Principal = t.PeerURIs[0]
			c.Source.Namespace = namespaceOf(t.PeerURIs[0])
			c.ConnectionSecurity = "mutual_tls"
		}
	} else {
		c.Source = r.self
		r.destination(&c, s)
	}
	r.istio.Record(c, milliseconds, s.BytesReceived, x.bytes)
}

func (r *recorder) service(c *stats.Call, s *message.Stream) {
	cluster := r.upstream.Cluster(s.Cluster)
	if cluster == nil || cluster.Config().Service == "" {
		return
	}
	c.Service = cluster.Config().Service
	c.ServiceName, c.ServiceNamespace, _ = strings.Cut(c.Service, ".")
	c.ServiceNamespace, _, _ = strings.Cut(c.ServiceNamespace, ".")
}

// destination fills in the workload of the endpoint that was called, from Istio's
// "name;namespace;canonical service;canonical revision;cluster".
func (r *recorder) destination(c *stats.Call, s *message.Stream) {
	cluster := r.upstream.Cluster(s.Cluster)
	if cluster == nil {
		return
	}
	e := cluster.Endpoint(s.UpstreamHost)
	if e == nil {
		return
	}
	if parts := strings.Split(e.Workload, ";"); len(parts) == 5 {
		c.Destination = stats.Workload{Name: parts[0], Namespace: parts[1], App: parts[2], Version: parts[3],
			CanonicalService: parts[2], CanonicalRevision: parts[3], Cluster: parts[4]}
	}
}

// namespaceOf is the namespace in "spiffe://domain/ns/NAMESPACE/sa/ACCOUNT".
func namespaceOf(id string) string {
	_, rest, ok := strings.Cut(id, "/ns/")
	if !ok {
		return ""
	}
	namespace, _, _ := strings.Cut(rest, "/")
	return namespace
}
