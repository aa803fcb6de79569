package accesslog

import (
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/attributes"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// argumentOperator returns the operators that take an argument; nil: there is none of
// that name.
func argumentOperator(name, argument string) (operator, error) {
	switch name {
	case "REQ", "RESP":
		return headerOperator(name == "REQ", argument)
	case "TRAILER":
		return trailerOperator(argument)
	case "REQ_WITHOUT_QUERY":
		op, err := headerOperator(true, argument)
		return withoutQuery(op), err
	case "PATH":
		return pathOperator(argument)
	case "QUERY_PARAM":
		return queryOperator(argument)
	case "START_TIME":
		return timeOperator(argument, func(x *Exchange) time.Time { return x.Stream.Start })
	case "EMIT_TIME":
		return timeOperator(argument, func(x *Exchange) time.Time { return x.End })
	case "DOWNSTREAM_PEER_CERT_V_START":
		return timeOperator(argument, func(x *Exchange) time.Time { return validity(x, false) })
	case "DOWNSTREAM_PEER_CERT_V_END":
		return timeOperator(argument, func(x *Exchange) time.Time { return validity(x, true) })
	case "COMMON_DURATION":
		return durationOperator(argument)
	case "DYNAMIC_METADATA":
		path := strings.Split(argument, ":")
		if path[0] == "" {
			return nil, fmt.Errorf("format: DYNAMIC_METADATA needs a filter's name")
		}
		return text(func(x *Exchange) string { return MetadataText(x.Stream.Metadata, path) }), nil
	case "GRPC_STATUS":
		return grpcOperator(argument)
	case "CEL":
		p, err := attributes.Compile(argument)
		if err != nil {
			return nil, fmt.Errorf("format: CEL: %w", err)
		}
		return text(func(x *Exchange) string {
			v, _ := p.Text(x.Attributes)
			return v
		}), nil
	}
	return nil, nil
}

func trailerOperator(argument string) (operator, error) {
	main, alternative, _ := strings.Cut(strings.ToLower(argument), "?")
	if main == "" {
		return nil, fmt.Errorf("format: TRAILER needs a name")
	}
	return text(func(x *Exchange) string {
		if x.Response == nil || x.Response.Body == nil {
			return ""
		}
		trailer := x.Response.Body.Trailer()
		if v := trailer.Get(main); v != "" || alternative == "" {
			return v
		}
		return trailer.Get(alternative)
	}), nil
}

func withoutQuery(op operator) operator {
	return func(dst []byte, x *Exchange) []byte {
		before := len(dst)
		dst = op(dst, x)
		path, _, _ := strings.Cut(string(dst[before:]), "?")
		return append(dst[:before], path...)
	}
}

// pathOperator is PATH(X:Y): X is WQ or NQ, with or without the query; Y picks the
// original path, the present one, or the first that is there.
func pathOperator(argument string) (operator, error) {
	query, which, _ := strings.Cut(argument, ":")
	fields := map[string]string{"": "x-envoy-original-path?:path", "ORIG_OR_PATH": "x-envoy-original-path?:path", "ORIG": "x-envoy-original-path", "PATH": ":path"}
	if fields[which] == "" || query != "" && query != "WQ" && query != "NQ" {
		return nil, fmt.Errorf("format: PATH(%s): expected WQ or NQ, then ORIG, PATH or ORIG_OR_PATH", argument)
	}
	op, err := headerOperator(true, fields[which])
	if query == "NQ" {
		op = withoutQuery(op)
	}
	return op, err
}

func queryOperator(argument string) (operator, error) {
	if argument == "" {
		return nil, fmt.Errorf("format: QUERY_PARAM needs a name")
	}
	return text(func(x *Exchange) string {
		if x.Request == nil {
			return ""
		}
		_, query, _ := strings.Cut(x.Request.Path, "?")
		values, _ := url.ParseQuery(query) // what can be read of it
		return values.Get(argument)
	}), nil
}

// points are the moments of an exchange by Envoy's names; zero: it did not come to that.
var points = map[string]func(x *Exchange) time.Time{
	"DS_RX_BEG": func(x *Exchange) time.Time { return x.Stream.Start },
	"DS_RX_END": func(x *Exchange) time.Time { return x.Stream.Times.RequestEnd },
	"US_TX_BEG": func(x *Exchange) time.Time { return x.Stream.Times.UpstreamBegin },
	"US_TX_END": func(x *Exchange) time.Time { return x.Stream.Times.UpstreamEnd },
	"US_RX_BEG": func(x *Exchange) time.Time { return x.Stream.Times.AnswerBegin },
	"US_RX_END": func(x *Exchange) time.Time { return x.Stream.Times.AnswerEnd },
	"DS_TX_END": func(x *Exchange) time.Time { return x.End },
}

// durationOperator is COMMON_DURATION(START:END:PRECISION).
func durationOperator(argument string) (operator, error) {
	parts := strings.Split(argument, ":")
	if len(parts) == 2 {
		parts = append(parts, "ms")
	}
	units := map[string]time.Duration{"ms": time.Millisecond, "us": time.Microsecond, "ns": time.Nanosecond}
	if len(parts) != 3 || units[parts[2]] == 0 {
		return nil, fmt.Errorf("format: COMMON_DURATION(%s): expected START:END, then ms, us or ns", argument)
	}
	for _, p := range parts[:2] {
		if points[p] == nil {
			return nil, fmt.Errorf("format: COMMON_DURATION: the point %s is not supported", p)
		}
	}
	return between(points[parts[0]], points[parts[1]], units[parts[2]]), nil
}

func between(start, end func(x *Exchange) time.Time, unit time.Duration) operator {
	return func(dst []byte, x *Exchange) []byte {
		from, to := start(x), end(x)
		if from.IsZero() || to.IsZero() || to.Before(from) {
			return dst
		}
		return strconv.AppendInt(dst, int64(to.Sub(from)/unit), 10)
	}
}

// grpcNames are the statuses of gRPC as Envoy spells them.
var grpcNames = [...]string{"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied",
	"ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated"}

// grpcNumber is the status of a gRPC answer, from its trailer or, without one, its header.
func grpcNumber(x *Exchange) (int, bool) {
	if x.Response == nil {
		return 0, false
	}
	v := x.Response.Header.Get("grpc-status")
	if v == "" && x.Response.Body != nil {
		v = x.Response.Body.Trailer().Get("grpc-status")
	}
	n, err := strconv.Atoi(v)
	return n, err == nil && n >= 0
}

func grpcOperator(format string) (operator, error) {
	name := func(n int) string {
		if n < len(grpcNames) {
			return grpcNames[n]
		}
		return strconv.Itoa(n)
	}
	switch format {
	case "", "CAMEL_STRING":
	case "SNAKE_STRING":
		camel := name
		name = func(n int) string { return snake(camel(n)) }
	case "NUMBER":
		name = strconv.Itoa
	default:
		return nil, fmt.Errorf("format: GRPC_STATUS(%s): expected CAMEL_STRING, SNAKE_STRING or NUMBER", format)
	}
	return text(func(x *Exchange) string {
		if n, ok := grpcNumber(x); ok {
			return name(n)
		}
		return ""
	}), nil
}

// snake is "NOT_FOUND" for "NotFound".
func snake(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if i > 0 && s[i] >= 'A' && s[i] <= 'Z' && s[i-1] >= 'a' {
			b.WriteByte('_')
		}
		b.WriteByte(s[i])
	}
	return strings.ToUpper(b.String())
}

// longFlags are the response flags in full, by their short names.
var longFlags = map[string]string{
	"UH": "NoHealthyUpstream", "UF": "UpstreamConnectionFailure", "UO": "UpstreamOverflow", "NR": "NoRouteFound", "NC": "NoClusterFound",
	"URX": "UpstreamRetryLimitExceeded", "UT": "UpstreamRequestTimeout", "UC": "UpstreamConnectionTermination", "UR": "UpstreamRemoteReset",
	"LR": "LocalReset", "DC": "DownstreamConnectionTermination", "LH": "FailedLocalHealthCheck", "DI": "DelayInjected", "FI": "FaultInjected",
	"RL": "RateLimited", "UAEX": "UnauthorizedExternalService", "RLSE": "RateLimitServiceError", "IH": "InvalidEnvoyRequestHeaders",
	"SI": "StreamIdleTimeout", "DPE": "DownstreamProtocolError", "UPE": "UpstreamProtocolError", "UMSDR": "UpstreamMaxStreamDurationReached",
	"DT": "DurationTimeout", "RFCF": "ResponseFromCacheFilter", "NFCF": "NoFilterConfigFound", "OM": "OverloadManagerTerminated",
	"DF": "DnsResolutionFailed", "DO": "DropOverload", "DR": "DownstreamRemoteReset",
}

// moreOperator returns further operators without arguments.
func moreOperator(name string) operator {
	switch name {
	case "RESPONSE_FLAGS_LONG":
		return text(func(x *Exchange) string {
			if x.Stream.Flags == 0 {
				return "-"
			}
			var long []string
			for _, short := range x.Stream.Flags.Names() {
				long = append(long, longFlags[short])
			}
			return strings.Join(long, ",")
		})
	case "REQUEST_DURATION":
		return between(points["DS_RX_BEG"], points["DS_RX_END"], time.Millisecond)
	case "REQUEST_TX_DURATION":
		return between(points["DS_RX_BEG"], points["US_TX_END"], time.Millisecond)
	case "RESPONSE_DURATION":
		return between(points["DS_RX_BEG"], points["US_RX_BEG"], time.Millisecond)
	case "RESPONSE_TX_DURATION":
		return between(points["US_RX_BEG"], points["DS_TX_END"], time.Millisecond)
	case "GRPC_STATUS_NUMBER":
		return func(dst []byte, x *Exchange) []byte {
			if n, ok := grpcNumber(x); ok {
				return strconv.AppendInt(dst, int64(n), 10)
			}
			return dst
		}
	case "TRACE_ID":
		return span(message.Span.TraceID)
	case "SPAN_ID":
		return span(message.Span.SpanID)
	case "STREAM_ID":
		return text(func(x *Exchange) string { return x.header(true, "x-request-id") })
	case "ACCESS_LOG_TYPE":
		return text(func(x *Exchange) string {
			if x.Request == nil {
				return "TcpConnectionEnd"
			}
			return "DownstreamEnd"
		})
	case "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT":
		return text(func(x *Exchange) string { return addr(x.Stream.UpstreamLocal) })
	case "UPSTREAM_LOCAL_PORT":
		return text(func(x *Exchange) string { return port(x.Stream.UpstreamLocal) })
	case "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT":
		return text(func(x *Exchange) string { return addr(x.Stream.UpstreamHost) })
	case "UPSTREAM_REMOTE_PORT":
		return text(func(x *Exchange) string { return port(x.Stream.UpstreamHost) })
	case "UPSTREAM_PEER_URI_SAN":
		return text(func(x *Exchange) string { return x.Stream.UpstreamPeer })
	case "UPSTREAM_LOCAL_URI_SAN":
		return text(func(x *Exchange) string { return x.Stream.UpstreamIdentity })
	}
	return peerOperator(name)
}

func span(f func(s message.Span) string) operator {
	return text(func(x *Exchange) string {
		if x.Stream.Span == nil {
			return ""
		}
		return f(x.Stream.Span)
	})
}

// peerOperator returns those that are about the client's certificate.
func peerOperator(name string) operator {
	certificate := func(f func(c *x509.Certificate) string) operator {
		return downstreamTLS(func(t *message.TLS) string {
			if len(t.Peer) == 0 {
				return ""
			}
			return f(t.Peer[0])
		})
	}
	switch name {
	case "DOWNSTREAM_PEER_DNS_SAN":
		return downstreamTLS(func(t *message.TLS) string { return strings.Join(t.PeerDNS, ",") })
	case "DOWNSTREAM_PEER_ISSUER":
		return certificate(func(c *x509.Certificate) string { return c.Issuer.String() })
	case "DOWNSTREAM_PEER_SERIAL":
		return certificate(func(c *x509.Certificate) string { return hex.EncodeToString(c.SerialNumber.Bytes()) })
	case "DOWNSTREAM_PEER_FINGERPRINT_1":
		return certificate(func(c *x509.Certificate) string {
			sum := sha1.Sum(c.Raw)
			return hex.EncodeToString(sum[:])
		})
	case "DOWNSTREAM_PEER_CERT":
		return certificate(func(c *x509.Certificate) string {
			return url.QueryEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})))
		})
	}
	return nil
}

func validity(x *Exchange, end bool) time.Time {
	c := x.Stream.Conn
	switch {
	case c == nil || c.TLS == nil || len(c.TLS.Peer) == 0:
		return time.Time{}
	case end:
		return c.TLS.Peer[0].NotAfter
	default:
		return c.TLS.Peer[0].NotBefore
	}
}

func tlsVersion(t *message.TLS) string {
	return strings.Replace(tls.VersionName(t.Version), "TLS ", "TLSv", 1)
}
