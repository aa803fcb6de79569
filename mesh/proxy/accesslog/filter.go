package accesslog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/attributes"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// filter tells whether a log takes an exchange.
type filter func(x *Exchange) bool

// newFilter compiles a filter.
func newFilter(f *snapshot.LogFilter) (filter, error) {
	switch {
	case len(f.And) > 0, len(f.Or) > 0:
		var parts []filter
		for _, p := range slices.Concat(f.And, f.Or) {
			part, err := newFilter(&p)
			if err != nil {
				return nil, err
			}
			parts = append(parts, part)
		}
		all := len(f.And) > 0
		return func(x *Exchange) bool {
			return slices.ContainsFunc(parts, func(p filter) bool { return p(x) != all }) != all
		}, nil
	case f.Status != nil:
		return func(x *Exchange) bool { return f.Status.Holds(int64(x.Status)) }, nil
	case f.Duration != nil:
		return func(x *Exchange) bool { return f.Duration.Holds(x.End.Sub(x.Stream.Start).Milliseconds()) }, nil
	case f.Expression != "":
		p, err := attributes.CompileFilter(f.Expression)
		if err != nil {
			return nil, err
		}
		return func(x *Exchange) bool { return p.Holds(x.Attributes) }, nil
	default:
		return flagFilter(f.Flags)
	}
}

// flagFilter takes exchanges with one of some response flags, or with any.
func flagFilter(names []string) (filter, error) {
	var flags message.Flags
	for _, name := range names {
		flag, ok := message.FlagNamed(name)
		if !ok {
			return nil, fmt.Errorf("response flag %q is unknown", name)
		}
		flags |= flag
	}
	if flags == 0 {
		flags = ^flags
	}
	return func(x *Exchange) bool { return x.Stream.Flags&flags != 0 }, nil
}

// Attributes is the exchange as expressions see it: an attributes.Source.
func (x *Exchange) Attributes(group string) map[string]any {
	s, m := x.Stream, map[string]any{}
	text := func(name, value string) {
		if value != "" {
			m[name] = value
		}
	}
	switch group {
	case "request":
		if x.Request != nil {
			x.requestAttributes(m)
		}
	case "response":
		if x.Status != 0 {
			m["code"] = int64(x.Status)
		}
		text("code_details", s.Details)
		m["flags"], m["size"] = int64(s.Flags), s.BytesSent
		if x.Response != nil {
			m["headers"] = headers(x.Response.Header)
			if n, ok := grpcNumber(x); ok {
				m["grpc_status"] = int64(n)
			}
		}
	case "source":
		if a := remote(s); a.IsValid() {
			m["address"], m["port"] = a.String(), int64(a.Port())
		}
	case "destination":
		if c := s.Conn; c != nil && c.Local.IsValid() {
			m["address"], m["port"] = c.Local.String(), int64(c.Local.Port())
		}
	case "upstream":
		if a := s.UpstreamHost; a.IsValid() {
			m["address"], m["port"] = a.String(), int64(a.Port())
		}
		if a := s.UpstreamLocal; a.IsValid() {
			m["local_address"] = a.String()
		}
		text("transport_failure_reason", s.TransportFailure)
		m["request_attempt_count"] = int64(s.Attempts)
	case "connection":
		if s.Conn != nil {
			connectionAttributes(m, s.Conn, text)
		}
	case "xds":
		text("cluster_name", s.Cluster)
		text("route_name", s.RouteName)
		text("virtual_host_name", s.VirtualHost)
		if x.Node != nil {
			m["node"] = x.Node
		}
		m["listener_direction"] = int64(2)
		if s.Conn != nil && s.Conn.Inbound {
			m["listener_direction"] = int64(1)
		}
	case "metadata":
		all := map[string]any{}
		for name, values := range s.Metadata {
			all[name] = values
		}
		m["filter_metadata"] = all
	}
	return m
}

func (x *Exchange) requestAttributes(m map[string]any) {
	r := x.Request
	path, query, _ := strings.Cut(r.Path, "?")
	m["path"], m["url_path"], m["query"] = r.Path, path, query
	m["host"], m["scheme"], m["method"], m["protocol"] = r.Authority, r.Scheme, r.Method, r.Protocol.String()
	m["headers"] = headers(r.Header)
	m["time"], m["size"] = x.Stream.Start, x.Stream.BytesReceived
	if !x.End.IsZero() {
		m["duration"] = x.End.Sub(x.Stream.Start)
	}
	for name, field := range map[string]string{"referer": "referer", "useragent": "user-agent", "id": "x-request-id"} {
		if v := r.Header.Get(field); v != "" {
			m[name] = v
		}
	}
}

func connectionAttributes(m map[string]any, c *message.Conn, text func(name, value string)) {
	m["id"], m["mtls"] = c.ID, false
	text("requested_server_name", c.RequestedServerName)
	t := c.TLS
	if t == nil {
		return
	}
	m["mtls"] = t.PeerHash != "" || len(t.PeerURIs) > 0
	text("tls_version", tlsVersion(t))
	text("subject_peer_certificate", t.PeerSubject)
	text("sha256_peer_certificate_digest", t.PeerHash)
	for name, list := range map[string][]string{"uri_san_peer_certificate": t.PeerURIs, "uri_san_local_certificate": t.LocalURIs, "dns_san_peer_certificate": t.PeerDNS} {
		if len(list) > 0 {
			m[name] = list[0]
		}
	}
}

// headers is a header by name; several values of a field are joined.
func headers(h message.Header) map[string]string {
	m := make(map[string]string, len(h))
	for _, f := range h {
		if before, twice := m[f.Name]; twice {
			f.Value = before + "," + f.Value
		}
		m[f.Name] = f.Value
	}
	return m
}
