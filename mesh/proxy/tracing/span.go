package tracing

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/accesslog"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// Span is the span of one exchange. It is a message.Span.
type Span struct {
	tracer            *Tracer
	trace, id, parent string
	name              string
	state             string // tracestate
	sampled, server   bool
	shared            bool
	start             time.Time
	duration          time.Duration
	failed            bool
	tags              []message.Field
	local             string   // address of the proxy
	segment           *segment // SkyWalking's; nil for others
}

var (
	_ message.Span      = (*Span)(nil)
	_ message.TriedSpan = (*Span)(nil)
)

// Start begins the span of a request, named by its route's decorator or else by its
// direction, and writes the context for the next server. A request that is not sampled
// carries its context, too, so that nobody after this proxy decides otherwise.
func (t *Tracer) Start(r *message.Request, operation string) *Span {
	stream := r.Stream
	s := &Span{tracer: t, name: operation, start: stream.Start, server: stream.Conn != nil && stream.Conn.Inbound}
	if s.name == "" {
		s.name = "ingress"
		if !s.server {
			s.name = "egress " + r.Authority
		}
	}
	if t.provider.Protocol == snapshot.SkyWalking {
		s.startSegment(r)
		return s
	}
	from := t.extract(r.Header)
	s.sampled = from.sampled
	if !from.decided {
		s.sampled = stream.TraceReason != message.NotTraced
	}
	s.identify(from, r)
	s.state = r.Header.Get("tracestate")
	if t.provider.Protocol == snapshot.Zipkin {
		s.writeB3(&r.Header)
	}
	if t.provider.Protocol != snapshot.Zipkin || t.provider.W3C {
		s.writeW3C(&r.Header)
	}
	if s.sampled {
		s.requestTags(r)
	}
	return s
}

func (t *Tracer) extract(h message.Header) traceContext {
	if t.provider.Protocol != snapshot.Zipkin {
		return fromW3C(h)
	}
	c := fromB3(h)
	if c.trace == "" && t.provider.W3C {
		if w3c := fromW3C(h); w3c.trace != "" {
			return w3c
		}
	}
	return c
}

// identify gives the span its ids. They are drawn by what the request is and when it
// came: other requests, however they interleave, do not change them.
func (s *Span) identify(from traceContext, r *message.Request) {
	t := s.tracer
	key := keyOf(r)
	draw := func(purpose string) string { return fmt.Sprintf("%016x", max(t.ids.Uint64(purpose+key), 1)) }
	if from.trace == "" {
		s.id = draw("span ")
		s.trace = s.id
		if !t.provider.Short || t.provider.Protocol != snapshot.Zipkin {
			s.trace = draw("trace ") + s.id
		}
		return
	}
	s.trace = from.trace
	if t.provider.Shared && s.server {
		s.id, s.parent, s.shared = from.span, from.parent, true
		return
	}
	s.id, s.parent = draw("span "), from.span
}

// keyOf is what tells a request from all others.
func keyOf(r *message.Request) string {
	connection := uint64(0)
	if r.Stream.Conn != nil {
		connection = r.Stream.Conn.ID
	}
	return fmt.Sprintf("%s %d %d %s %s %s", r.Header.Get("x-request-id"), connection, r.Stream.Start.UnixNano(), r.Method, r.Authority, r.Path)
}

// TraceID implements message.Span.
func (s *Span) TraceID() string { return s.trace }

// SpanID implements message.Span.
func (s *Span) SpanID() string { return s.id }

// SetOperation implements message.Span.
func (s *Span) SetOperation(name string) {
	if s.segment == nil { // SkyWalking's spans are called by their paths
		s.name = name
	}
}

func (s *Span) tag(name, value string) {
	s.tags = append(s.tags, message.Field{Name: name, Value: value})
}

// requestTags are those that Envoy documents for every span, as far as they are known
// when the request comes; what changes the request later does not change them.
func (s *Span) requestTags(r *message.Request) {
	h, o := r.Header, &s.tracer.hub.o
	s.tag("component", "proxy")
	s.tag("node_id", o.NodeID)
	s.tag("zone", o.Zone)
	if id := h.Get("x-request-id"); id != "" {
		s.tag("guid:x-request-id", id)
	}
	if id := h.Get("x-client-trace-id"); id != "" {
		s.tag("guid:x-client-trace-id", id)
	}
	path := r.Path
	if original := h.Get("x-envoy-original-path"); original != "" {
		path = original
	}
	s.tag("http.url", r.Scheme+"://"+r.Authority+path[:min(len(path), s.tracer.config.MaxPathLength)])
	s.tag("http.method", r.Method)
	s.tag("http.protocol", r.Protocol.String())
	s.tag("user_agent", orDash(h.Get("user-agent")))
	s.tag("downstream_cluster", orDash(h.Get("x-envoy-downstream-service-cluster")))
	if c := r.Stream.Conn; c != nil {
		s.tag("peer.address", c.Remote.Addr().String())
		s.local = c.Local.Addr().String()
	}
	if strings.HasPrefix(h.Get("content-type"), "application/grpc") {
		s.tag("grpc.path", r.Path)
		s.tag("grpc.authority", r.Authority)
		s.tag("grpc.content_type", h.Get("content-type"))
		if timeout := h.Get("grpc-timeout"); timeout != "" {
			s.tag("grpc.timeout", timeout)
		}
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// End implements message.Span. An answer of 500 and above is an error, and so is none.
func (s *Span) End(q *message.Request, p *message.Response, status int, stream *message.Stream) {
	if !s.sampled {
		return
	}
	s.duration = stream.Duration
	s.tag("request_size", strconv.FormatInt(stream.BytesReceived, 10))
	s.tag("response_size", strconv.FormatInt(stream.BytesSent, 10))
	s.tag("http.status_code", strconv.Itoa(status))
	s.tag("response_flags", stream.Flags.String())
	if stream.Cluster != "" {
		s.tag("upstream_cluster", stream.Cluster)
		s.tag("upstream_cluster.name", stream.Cluster)
	}
	grpc := ""
	if p != nil {
		if grpc = p.Header.Get("grpc-status"); grpc == "" && p.Body != nil {
			grpc = p.Body.Trailer().Get("grpc-status")
		}
	}
	if grpc != "" {
		s.tag("grpc.status_code", grpc)
	}
	x := &accesslog.Exchange{Request: q, Response: p, Status: status, Stream: stream, End: stream.Start.Add(stream.Duration)}
	for _, t := range s.tracer.tags {
		if v := t.value(x); v != "" {
			s.tag(t.name, v)
		}
	}
	if s.failed = status == 0 || status >= 500 || failedGRPC(grpc); s.failed {
		s.tag("error", "true")
	}
	s.tracer.exporter.add(s)
}

// failedGRPC tells whether a status is one that Envoy takes for the server's failure.
func failedGRPC(status string) bool {
	switch status {
	case "2", "4", "12", "13", "14", "15":
		return true
	}
	return false
}
