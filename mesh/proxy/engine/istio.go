package engine

import (
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/accesslog"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
)

// recorder makes Istio's standard metrics of finished exchanges and of connections.
type recorder struct {
	istio    *stats.Istio
	self     stats.Workload
	config   snapshot.IstioStats
	upstream *upstream.Manager
	shape    *shape // nil: nothing is changed
	node     map[string]any
}

func (e *Engine) recorder(c snapshot.IstioStats) (*recorder, error) {
	s, err := e.shapeOf(c)
	return &recorder{istio: e.istio, self: e.options.Workload, config: c, upstream: e.upstream, shape: s, node: e.options.Node}, err
}

// shaped adds to a call what its configuration wants to have in labels.
func (r *recorder) shaped(c *stats.Call, x *accesslog.Exchange) {
	if r.shape != nil {
		x.Node = r.node
		c.Shape, c.Values = r.shape, r.shape.values(x, c)
	}
}

// record counts one exchange.
func (r *recorder) record(x *exchange, end time.Time, milliseconds float64) {
	s := x.Request.Stream
	c := r.call(s, x.Peer, x.Request.Authority)
	c.Code, c.Protocol = x.status, "http"
	if route.IsGRPC(x.Request.Header) {
		c.Protocol = "grpc"
		if x.response != nil {
			c.GRPCStatus = x.response.Header.Get("grpc-status")
		}
	}
	r.shaped(&c, &accesslog.Exchange{Request: x.Request, Response: x.response, Status: x.status, Stream: s, End: end})
	r.istio.Record(c, milliseconds, s.BytesReceived, x.bytes)
}

// Connections counts the connections of a TCP proxy.
type Connections struct{ recorder *recorder }

// Connections makes the metrics of a TCP proxy. An error names an expression.
func (e *Engine) Connections(c snapshot.IstioStats) (*Connections, error) {
	r, err := e.recorder(c)
	return &Connections{r}, err
}

// Opened counts a connection that has reached its cluster.
func (c *Connections) Opened(s *message.Stream) {
	c.recorder.istio.Opened(c.recorder.connection(s))
}

// Closed counts the end of a connection and its bytes. One that never reached its
// cluster was not counted before, and is now.
func (c *Connections) Closed(s *message.Stream) {
	call := c.recorder.connection(s)
	if !s.UpstreamLocal.IsValid() {
		c.recorder.istio.Opened(call)
	}
	c.recorder.istio.Closed(call, s.BytesReceived, s.BytesSent)
}

func (r *recorder) connection(s *message.Stream) stats.Call {
	c := r.call(s, nil, "")
	c.Protocol = "tcp"
	r.shaped(&c, &accesslog.Exchange{Stream: s, End: s.Start.Add(s.Duration)})
	return c
}

// call has the labels that follow from the stream. What the peer's proxy said of
// itself goes before what the endpoint or the certificate tells. Principals are those
// of the certificates on the connection, as in Istio; what secured it only the
// server's proxy reports.
func (r *recorder) call(s *message.Stream, peer *stats.Workload, authority string) stats.Call {
	c := stats.Call{Reporter: r.config.Reporter, Flags: s.Flags.String(), ConnectionSecurity: "unknown"}
	inbound := s.Conn != nil && s.Conn.Inbound
	if c.Reporter == "" {
		c.Reporter = "source"
		if inbound {
			c.Reporter = "destination"
		}
	}
	r.service(&c, s, authority)
	self := r.self
	if inbound {
		c.Destination, c.ConnectionSecurity = self, "none"
		if peer != nil {
			c.Source = *peer
		}
		if t := s.Conn.TLS; t != nil && len(t.PeerURIs) > 0 {
			c.Source.Principal, c.ConnectionSecurity = t.PeerURIs[0], "mutual_tls"
			if c.Source.Namespace == "" {
				c.Source.Namespace = namespaceOf(t.PeerURIs[0])
			}
			if len(t.LocalURIs) > 0 {
				c.Destination.Principal = t.LocalURIs[0]
			}
		}
		return c
	}
	c.Source = self
	if peer != nil {
		c.Destination = *peer
	} else {
		r.destination(&c, s)
	}
	c.Source.Principal, c.Destination.Principal = s.UpstreamIdentity, s.UpstreamPeer
	return c
}

// service names the service by the cluster's metadata, the fixed clusters by their own
// names, and else the host that the client asked for, where that is allowed.
func (r *recorder) service(c *stats.Call, s *message.Stream, authority string) {
	cluster := r.upstream.Cluster(s.Cluster)
	if cluster != nil && cluster.Config().Service != "" {
		config := cluster.Config()
		c.Service, c.ServiceName, c.ServiceNamespace = config.Service, config.ServiceName, config.ServiceNamespace
		return
	}
	if !r.config.NoHostFallback {
		c.Service = authority
		c.ServiceName = authority
	}
	switch s.Cluster {
	case "PassthroughCluster", "BlackHoleCluster", "InboundPassthroughCluster":
		c.ServiceName = s.Cluster
	}
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
		if parts[3] == "latest" { // the revision of a workload without a version
			c.Destination.Version = ""
		}
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
