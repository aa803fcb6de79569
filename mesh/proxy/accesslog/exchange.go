package accesslog

import (
	"encoding/json"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// Exchange is what formats and entries are made from: a finished exchange, or one
// that still runs (header values with command operators).
type Exchange struct {
	// Request is nil for a TCP connection.
	Request *message.Request
	// Response has the answer's header; nil where there was none.
	Response *message.Response
	// Status is the answer's, 0 where there was none.
	Status int
	Stream *message.Stream
	End    time.Time
	// Node is what this proxy says of itself: id, cluster, metadata; nil: nothing.
	Node map[string]any
}

// Of returns the exchange of a request and its answer, which may be nil.
func Of(r *message.Request, resp *message.Response, end time.Time) *Exchange {
	x := &Exchange{Request: r, Response: resp, Stream: r.Stream, End: end}
	if resp != nil {
		x.Status = resp.Status
	}
	return x
}

// FromExchange returns the record of a finished exchange.
func FromExchange(x *Exchange) Entry {
	s := x.Stream
	e := Entry{Start: s.Start, Duration: x.End.Sub(s.Start), Status: x.Status,
		Flags: s.Flags.String(), Details: s.Details, TransportFailure: s.TransportFailure, Attempts: s.Attempts,
		BytesReceived: s.BytesReceived, BytesSent: s.BytesSent, UpstreamDuration: s.UpstreamDuration,
		VirtualHost: s.VirtualHost, RouteName: s.RouteName, Source: s.Source, Cluster: s.Cluster,
		UpstreamHost: s.UpstreamHost, UpstreamLocal: s.UpstreamLocal}
	if c := s.Conn; c != nil {
		e.Listener, e.Inbound = c.Listener, c.Inbound
		e.DownstreamRemote, e.DownstreamLocal = c.Remote, c.Local
		e.ServerName = c.RequestedServerName
		if c.TLS != nil {
			e.MutualTLS = c.TLS.PeerHash != "" || len(c.TLS.PeerURIs) > 0
			if len(c.TLS.PeerURIs) > 0 {
				e.PeerURI = c.TLS.PeerURIs[0]
			}
		}
	}
	if r := x.Request; r != nil {
		e.RequestID, e.Method, e.Scheme, e.Authority = r.Header.Get("x-request-id"), r.Method, r.Scheme, r.Authority
		e.Path, e.Protocol = r.Path, r.Protocol.String()
		e.UserAgent, e.ForwardedFor = r.Header.Get("user-agent"), r.Header.Get("x-forwarded-for")
		if s.OriginalPath != "" {
			e.Path = s.OriginalPath
		}
	}
	return e
}

// RequestField is a field of the request; ":method", ":path", ":authority" and
// ":scheme" name the pseudo fields.
func (x *Exchange) RequestField(name string) string { return x.header(true, name) }

// MetadataText is the value at a path in dynamic metadata, whose first element is the
// filter's name: text as it is, other values as JSON. It is empty where there is none.
func MetadataText(all map[string]map[string]any, path []string) string {
	if len(path) == 0 || all[path[0]] == nil {
		return ""
	}
	var value any = all[path[0]]
	for _, key := range path[1:] {
		object, ok := value.(map[string]any)
		if !ok {
			return ""
		}
		value = object[key]
	}
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	text, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(text)
}
