package manager

import (
	"encoding/hex"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// prepare does the connection manager's work on a request, in Envoy's order. The error
// is a *reply.Reply.
func (s *session) prepare(m *Manager, q *message.Request) error {
	if q.Protocol == message.HTTP10 && !m.config.AcceptHTTP10 {
		return &reply.Reply{Status: 426, Details: "low_version"}
	}
	if q.Authority == "" {
		return &reply.Reply{Status: 400, Details: "missing_host_header"}
	}
	if err := checkUpgrade(m.config, q); err != nil {
		return err
	}
	if q.Method != "CONNECT" {
		if err := setPath(m.config, q); err != nil {
			return err
		}
	}
	s.setForwarded(m, q)
	if m.config.ForwardClientCert != snapshot.AlwaysForwardOnly {
		s.setClientCert(m, q)
	}
	return nil
}

// checkUpgrade drops the Upgrade of a protocol that is not allowed, which leaves an
// ordinary request (RFC 9110, 7.8). A CONNECT means nothing else; whether it is allowed
// is known with its route.
func checkUpgrade(c *snapshot.HTTPManager, q *message.Request) error {
	if q.Upgrade != "" && q.Protocol == message.HTTP2 && !slices.Contains(c.Upgrades, q.Upgrade) {
		return &reply.Reply{Status: 403, Details: "upgrade_failed"}
	}
	if q.Upgrade != "" && !slices.Contains(c.Upgrades, q.Upgrade) {
		q.Upgrade = ""
	}
	return nil
}

// setForwarded finds out who the client is and whether it is one of ours, and sets or
// removes what depends on that: x-forwarded-for, x-forwarded-proto, x-envoy-*,
// x-request-id. A request is internal if the one address in x-forwarded-for is, or with
// use_remote_address if the peer is and x-forwarded-for was absent.
func (s *session) setForwarded(m *Manager, q *message.Request) {
	c, facts := m.config, s.c.Facts
	q.Header.Del("x-envoy-internal")
	var client netip.Addr
	trusted := false
	hops := c.XFFTrustedHops
	xff, hasXFF := q.Header.Lookup("x-forwarded-for")
	if c.UseRemoteAddress {
		trusted = !hasXFF
		if hops > 0 {
			client, _ = lastForwarded(xff, hops-1)
		}
		if !client.IsValid() {
			client = facts.Remote.Addr()
		}
		q.Header.Set("x-forwarded-for", s.appendForwarded(xff))
		if hops == 0 {
			q.Header.Set("x-forwarded-proto", connScheme(facts))
		}
	} else if hasXFF {
		client, trusted = lastForwarded(xff, hops)
	}
	proto := q.Header.Get("x-forwarded-proto")
	if proto == "" {
		proto = connScheme(facts)
		q.Header.Set("x-forwarded-proto", proto)
	}
	if q.Scheme == "" {
		q.Scheme = connScheme(facts)
		if proto == "http" || proto == "https" {
			q.Scheme = proto
		}
	}
	internal := trusted && client.IsValid() && isInternal(c, client)
	edge := !internal && c.UseRemoteAddress
	if internal {
		q.Header.Add("x-envoy-internal", "true")
	} else {
		sanitize(q, edge)
	}
	if client.IsValid() {
		q.Stream.Remote = facts.Remote
		if client != facts.Remote.Addr() {
			q.Stream.Remote = netip.AddrPortFrom(client, 0)
		}
		if edge {
			q.Header.Set("x-envoy-external-address", client.String())
		}
	}
	s.setRequestID(m, q, edge)
}

// appendForwarded adds the peer; a peer on this host is known by the host's own address.
func (s *session) appendForwarded(xff string) string {
	peer := s.remoteIP
	if s.c.Facts.Remote.Addr().IsLoopback() {
		peer = s.c.Facts.Local.Addr().String()
	}
	if xff == "" {
		return peer
	}
	return xff + "," + peer
}

func connScheme(c *message.Conn) string {
	if c.TLS != nil {
		return "https"
	}
	return "http"
}

// lastForwarded gives the address that stands skip places before the last one, and
// whether it is the only one.
func lastForwarded(xff string, skip int) (client netip.Addr, only bool) {
	rest, last := xff, ""
	for range skip + 1 {
		if rest == "" {
			return netip.Addr{}, false
		}
		if i := strings.LastIndexByte(rest, ','); i >= 0 {
			rest, last = rest[:i], rest[i+1:]
		} else {
			rest, last = "", rest
		}
	}
	client, err := netip.ParseAddr(strings.Trim(last, " "))
	if err != nil {
		return netip.Addr{}, false
	}
	return client, rest == "" && skip == 0
}

func isInternal(c *snapshot.HTTPManager, a netip.Addr) bool {
	a = a.Unmap()
	if c.InternalAddresses == nil {
		return a.IsPrivate() || a.IsLoopback()
	}
	return slices.ContainsFunc(c.InternalAddresses, func(p netip.Prefix) bool { return p.Contains(a) })
}

// sanitize removes what only internal clients may ask of the proxy; at the edge also
// what only proxies say to each other.
func sanitize(q *message.Request, edge bool) {
	kept := q.Header[:0]
	for _, f := range q.Header {
		if strings.HasPrefix(f.Name, "x-envoy-") && (internalOnly(f.Name) || edge && edgeOnly(f.Name)) {
			continue
		}
		kept = append(kept, f)
	}
	q.Header = kept
}

func internalOnly(name string) bool {
	switch name {
	case "x-envoy-retriable-status-codes", "x-envoy-retriable-header-names", "x-envoy-retry-on", "x-envoy-retry-grpc-on",
		"x-envoy-max-retries", "x-envoy-upstream-alt-stat-name", "x-envoy-upstream-rq-timeout-ms",
		"x-envoy-upstream-rq-per-try-timeout-ms", "x-envoy-upstream-rq-timeout-alt-response", "x-envoy-expected-rq-timeout-ms",
		"x-envoy-force-trace", "x-envoy-ip-tags", "x-envoy-original-url", "x-envoy-hedge-on-per-try-timeout":
		return true
	}
	return false
}

func edgeOnly(name string) bool {
	switch name {
	case "x-envoy-decorator-operation", "x-envoy-downstream-service-cluster", "x-envoy-downstream-service-node":
		return true
	}
	return false
}

// setRequestID makes an id where there is none, and at the edge in any case, unless
// ids from outside are to be preserved; then it writes the sampling decision into it.
func (s *session) setRequestID(m *Manager, q *message.Request, edge bool) {
	id := q.Header.Get("x-request-id")
	if m.config.GenerateRequestID && (id == "" || edge && !m.config.PreserveExternalRequestID) {
		id = s.newRequestID(m)
		q.Header.Set("x-request-id", id)
	}
	if t := m.config.Tracing; t != nil {
		marked := id
		if marked, q.Stream.TraceReason = decideTrace(t, q, id); marked != id {
			q.Header.Set("x-request-id", marked)
		}
	}
}

// newRequestID draws a version 4 UUID keyed by connection and request, so that it is
// the same however connections interleave.
func (s *session) newRequestID(m *Manager) string {
	n := s.c.Facts.ID<<24 + s.requests
	var raw [16]byte
	hi, lo := m.ids.At(2*n), m.ids.At(2*n+1)
	for i := range 8 {
		raw[i], raw[8+i] = byte(hi>>(8*i)), byte(lo>>(8*i))
	}
	raw[6] = raw[6]&0x0f | 0x40
	raw[8] = raw[8]&0x3f | 0x80
	var text [36]byte
	at := 0
	for i, b := range raw {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			text[at] = '-'
			at++
		}
		hex.Encode(text[at:], []byte{b})
		at += 2
	}
	return string(text[:])
}

// The digit of a request id that tells why it is traced (Envoy's UUID request ids).
const (
	traceDigit    = 14
	traceNone     = '4'
	traceSampled  = '9'
	traceByClient = 'b'
	traceForced   = 'a'
)

// decideTrace decides about tracing by the id itself, so that all proxies on the way
// decide the same: its first eight digits, modulo 10,000, against the percentages. It
// returns the id, marked with the reason, and the reason. A proxy that does not use ids
// for that leaves the decision to the trace context.
func decideTrace(t *snapshot.Tracing, q *message.Request, id string) (string, message.TraceReason) {
	if t.IgnoreRequestID {
		return id, message.TraceSampled
	}
	if len(id) != 36 {
		return id, message.NotTraced
	}
	n, err := strconv.ParseUint(id[:8], 16, 64)
	if err != nil {
		return id, message.NotTraced
	}
	below := func(percent float64) bool { return n%10000 < uint64(math.Round(percent*100)) }
	digit := id[traceDigit]
	reason := traceReasons[digit]
	if reason == message.NotTraced {
		switch {
		case q.Header.Has("x-client-trace-id") && below(t.ClientSampling):
			digit = traceByClient
		case q.Header.Has("x-envoy-force-trace"):
			digit = traceForced
		case below(t.RandomSampling):
			digit = traceSampled
		}
		reason = traceReasons[digit]
	}
	if reason != message.NotTraced && !below(t.OverallSampling) {
		digit, reason = traceNone, message.NotTraced
	}
	if t.KeepRequestID || digit == id[traceDigit] {
		return id, reason
	}
	return id[:traceDigit] + string(digit) + id[traceDigit+1:], reason
}

// traceReasons reads the digit of a request id.
var traceReasons = map[byte]message.TraceReason{
	traceSampled: message.TraceSampled, traceByClient: message.TraceByClient, traceForced: message.TraceByService,
}
