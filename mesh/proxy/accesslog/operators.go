package accesslog

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// operator appends its value, or nothing where there is none.
type operator func(dst []byte, x *Exchange) []byte

// newOperator returns the operator of a name and its argument.
func newOperator(name, argument string) (operator, error) {
	if op, err := argumentOperator(name, argument); op != nil || err != nil {
		return op, err
	}
	if argument != "" {
		return nil, fmt.Errorf("format: operator %%%s(%s)%% is not supported", name, argument)
	}
	if op := plainOperator(name); op != nil {
		return op, nil
	}
	return nil, fmt.Errorf("format: operator %%%s%% is not supported", name)
}

// text makes an operator of a function that gives a string.
func text(f func(x *Exchange) string) operator {
	return func(dst []byte, x *Exchange) []byte { return append(dst, f(x)...) }
}

func number(f func(x *Exchange) int64) operator {
	return func(dst []byte, x *Exchange) []byte { return strconv.AppendInt(dst, f(x), 10) }
}

func address(f func(x *Exchange) netip.AddrPort) operator {
	return func(dst []byte, x *Exchange) []byte {
		if a := f(x); a.IsValid() {
			return a.AppendTo(dst)
		}
		return dst
	}
}

func downstream(f func(c *message.Conn) string) operator {
	return text(func(x *Exchange) string {
		if x.Stream.Conn == nil {
			return ""
		}
		return f(x.Stream.Conn)
	})
}

func downstreamTLS(f func(t *message.TLS) string) operator {
	return downstream(func(c *message.Conn) string {
		if c.TLS == nil {
			return ""
		}
		return f(c.TLS)
	})
}

func plainOperator(name string) operator {
	switch name {
	case "PROTOCOL":
		return text(func(x *Exchange) string {
			if x.Request == nil {
				return ""
			}
			return x.Request.Protocol.String()
		})
	case "RESPONSE_CODE":
		return number(func(x *Exchange) int64 { return int64(x.Status) })
	case "RESPONSE_CODE_DETAILS":
		return text(func(x *Exchange) string { return x.Stream.Details })
	case "RESPONSE_FLAGS":
		return func(dst []byte, x *Exchange) []byte {
			if x.Stream.Flags == 0 { // Envoy's value for none, which is not a missing one
				return append(dst, '-')
			}
			return append(dst, x.Stream.Flags.String()...)
		}
	case "CONNECTION_TERMINATION_DETAILS": // only rules of the network end connections with a reason
		return text(func(x *Exchange) string {
			if x.Request != nil || !strings.HasPrefix(x.Stream.Details, "rbac_") {
				return ""
			}
			return x.Stream.Details
		})
	case "BYTES_RECEIVED":
		return number(func(x *Exchange) int64 { return x.Stream.BytesReceived })
	case "BYTES_SENT":
		return number(func(x *Exchange) int64 { return x.Stream.BytesSent })
	case "DURATION":
		return number(func(x *Exchange) int64 { return x.End.Sub(x.Stream.Start).Milliseconds() })
	}
	if op := upstreamOperator(name); op != nil {
		return op
	}
	if op := moreOperator(name); op != nil {
		return op
	}
	return downstreamOperator(name)
}

func upstreamOperator(name string) operator {
	switch name {
	case "UPSTREAM_HOST", "UPSTREAM_REMOTE_ADDRESS":
		return address(func(x *Exchange) netip.AddrPort { return x.Stream.UpstreamHost })
	case "UPSTREAM_LOCAL_ADDRESS":
		return address(func(x *Exchange) netip.AddrPort { return x.Stream.UpstreamLocal })
	case "UPSTREAM_CLUSTER", "UPSTREAM_CLUSTER_RAW":
		return text(func(x *Exchange) string { return x.Stream.Cluster })
	case "UPSTREAM_TRANSPORT_FAILURE_REASON":
		return text(func(x *Exchange) string { return strings.ReplaceAll(x.Stream.TransportFailure, " ", "_") })
	case "UPSTREAM_REQUEST_ATTEMPT_COUNT":
		return number(func(x *Exchange) int64 { return int64(x.Stream.Attempts) })
	case "ROUTE_NAME":
		return text(func(x *Exchange) string { return x.Stream.RouteName })
	case "VIRTUAL_CLUSTER_NAME":
		return func(dst []byte, _ *Exchange) []byte { return dst }
	}
	return nil
}

func downstreamOperator(name string) operator {
	switch name {
	case "DOWNSTREAM_REMOTE_ADDRESS":
		return text(func(x *Exchange) string { return addrPort(remote(x.Stream)) })
	case "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT":
		return text(func(x *Exchange) string { return addr(remote(x.Stream)) })
	case "DOWNSTREAM_REMOTE_PORT":
		return text(func(x *Exchange) string { return port(remote(x.Stream)) })
	case "DOWNSTREAM_DIRECT_REMOTE_ADDRESS":
		return downstream(func(c *message.Conn) string { return addrPort(c.Direct()) })
	case "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT":
		return downstream(func(c *message.Conn) string { return addr(c.Direct()) })
	case "DOWNSTREAM_DIRECT_REMOTE_PORT":
		return downstream(func(c *message.Conn) string { return port(c.Direct()) })
	case "DOWNSTREAM_LOCAL_ADDRESS":
		return downstream(func(c *message.Conn) string { return addrPort(c.Local) })
	case "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT":
		return downstream(func(c *message.Conn) string { return addr(c.Local) })
	case "DOWNSTREAM_LOCAL_PORT":
		return downstream(func(c *message.Conn) string { return port(c.Local) })
	case "CONNECTION_ID":
		return downstream(func(c *message.Conn) string { return strconv.FormatUint(c.ID, 10) })
	case "REQUESTED_SERVER_NAME":
		return downstream(func(c *message.Conn) string { return c.RequestedServerName })
	case "DOWNSTREAM_PEER_URI_SAN":
		return downstreamTLS(func(t *message.TLS) string { return strings.Join(t.PeerURIs, ",") })
	case "DOWNSTREAM_LOCAL_URI_SAN":
		return downstreamTLS(func(t *message.TLS) string { return strings.Join(t.LocalURIs, ",") })
	case "DOWNSTREAM_PEER_SUBJECT":
		return downstreamTLS(func(t *message.TLS) string { return t.PeerSubject })
	case "DOWNSTREAM_PEER_FINGERPRINT_256":
		return downstreamTLS(func(t *message.TLS) string { return t.PeerHash })
	case "DOWNSTREAM_TLS_VERSION":
		return downstreamTLS(tlsVersion)
	case "DOWNSTREAM_TLS_CIPHER":
		return downstreamTLS(func(t *message.TLS) string { return tls.CipherSuiteName(t.Cipher) })
	}
	return nil
}

// remote is the client as Envoy's DOWNSTREAM_REMOTE_ADDRESS has it: from
// x-forwarded-for where that is trusted, else the direct peer.
func remote(s *message.Stream) netip.AddrPort {
	if !s.Remote.IsValid() && s.Conn != nil {
		return s.Conn.Remote
	}
	return s.Remote
}

func port(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return strconv.Itoa(int(a.Port()))
}

func addrPort(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func addr(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.Addr().String()
}

// headerOperator is REQ(X?Y) and RESP(X?Y): the first field, else the alternative.
func headerOperator(request bool, argument string) (operator, error) {
	main, alternative, _ := strings.Cut(strings.ToLower(argument), "?")
	if main == "" {
		return nil, fmt.Errorf("format: a header operator needs a name")
	}
	return func(dst []byte, x *Exchange) []byte {
		value := x.header(request, main)
		if value == "" && alternative != "" {
			value = x.header(request, alternative)
		}
		return append(dst, value...)
	}, nil
}

func (x *Exchange) header(request bool, name string) string {
	switch {
	case !request && x.Response == nil, request && x.Request == nil:
		return ""
	case !request && name == ":status":
		return strconv.Itoa(x.Status)
	case !request:
		return x.Response.Header.Get(name)
	}
	switch name {
	case ":method":
		return x.Request.Method
	case ":path":
		return x.Request.Path
	case ":authority", "host":
		return x.Request.Authority
	case ":scheme":
		return x.Request.Scheme
	default:
		return x.Request.Header.Get(name)
	}
}

// strftime maps what START_TIME takes to Go's layouts; %s and %f are apart.
var strftime = map[byte]string{'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'b': "Jan", 'y': "06",
	'e': "_2", 'a': "Mon", 'Z': "MST", 'z': "-0700", 'T': "15:04:05", 'F': "2006-01-02"}

// timeOperator is START_TIME and the like: by default ISO 8601 with milliseconds in UTC.
func timeOperator(argument string, of func(x *Exchange) time.Time) (operator, error) {
	if argument == "" {
		return func(dst []byte, x *Exchange) []byte {
			if t := of(x); !t.IsZero() {
				return t.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
			}
			return dst
		}, nil
	}
	var steps []func(dst []byte, t time.Time) []byte
	for i := 0; i < len(argument); i++ {
		c := argument[i]
		if c != '%' || i+1 == len(argument) {
			steps = append(steps, func(dst []byte, _ time.Time) []byte { return append(dst, c) })
			continue
		}
		i++
		digits := 9
		if argument[i] >= '1' && argument[i] <= '9' && i+1 < len(argument) {
			digits = int(argument[i] - '0')
			i++
		}
		step, err := timeStep(argument[i], digits)
		if err != nil {
			return nil, err
		}
		steps = append(steps, step)
	}
	return func(dst []byte, x *Exchange) []byte {
		t := of(x).UTC()
		if t.IsZero() {
			return dst
		}
		for _, step := range steps {
			dst = step(dst, t)
		}
		return dst
	}, nil
}

func timeStep(c byte, digits int) (func(dst []byte, t time.Time) []byte, error) {
	switch layout, ok := strftime[c]; {
	case ok:
		return func(dst []byte, t time.Time) []byte { return t.AppendFormat(dst, layout) }, nil
	case c == 's':
		return func(dst []byte, t time.Time) []byte { return strconv.AppendInt(dst, t.Unix(), 10) }, nil
	case c == 'f':
		return func(dst []byte, t time.Time) []byte {
			return fmt.Appendf(dst, "%09d", t.Nanosecond())[:len(dst)+digits]
		}, nil
	default:
		return nil, fmt.Errorf("format: START_TIME does not support %%%c", c)
	}
}
