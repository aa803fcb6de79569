package accesslog

import (
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
