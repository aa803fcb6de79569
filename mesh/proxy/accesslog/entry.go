// Package accesslog has the record of one finished exchange and the formats that
// it is written in: Envoy's command operators, Istio's default text, JSON.
package accesslog

import (
	"net/netip"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// Entry is one finished exchange (or TCP connection) as one proxy saw it.
// It is a value: sinks may keep it.
type Entry struct {
	Start    time.Time
	Duration time.Duration
	Listener string
	Inbound  bool // the proxy stands at the server's side

	RequestID    string
	Method       string
	Scheme       string
	Authority    string
	Path         string // as received
	Protocol     string // "HTTP/1.1"; empty for TCP
	UserAgent    string
	ForwardedFor string

	Status           int
	Flags            string // "-" or "UO,URX"
	Details          string
	TransportFailure string
	Attempts         int
	BytesReceived    int64
	BytesSent        int64
	// UpstreamDuration is x-envoy-upstream-service-time.
	UpstreamDuration time.Duration

	VirtualHost   string
	RouteName     string
	Source        string // file:line behind the route
	Cluster       string
	UpstreamHost  netip.AddrPort
	UpstreamLocal netip.AddrPort

	// DownstreamRemote is the direct peer, whatever x-forwarded-for says.
	DownstreamRemote netip.AddrPort
	DownstreamLocal  netip.AddrPort
	ServerName       string // requested SNI
	MutualTLS        bool   // downstream's connection carried a verified peer
	PeerURI          string // SPIFFE id of the downstream peer

	// Header is the request's, as it was when the exchange ended; nil unless the proxy was
	// asked to keep it.
	Header message.Header
}

// Sink takes finished entries. It is called from many goroutines and must not block.
type Sink func(Entry)
