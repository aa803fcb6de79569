package route

import (
	"strconv"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// matches tests all but the path.
func (r *Rule) matches(req *message.Request, query string, key uint64, known Metadata) bool {
	m := &r.Match
	for i := range m.Headers {
		if !MatchHeader(&m.Headers[i], req) {
			return false
		}
	}
	for i := range m.Query {
		if !queryMatches(&m.Query[i], query) {
			return false
		}
	}
	if m.GRPC && !IsGRPC(req.Header) {
		return false
	}
	for i := range m.Metadata {
		if !MatchMetadata(&m.Metadata[i], known) {
			return false
		}
	}
	return m.Fraction == nil || Percent(r.Draw(key, drawFraction), *m.Fraction)
}

// SplitPath cuts a target into path and query; a fragment belongs to neither.
func SplitPath(target string) (path, query string) {
	if i := strings.IndexByte(target, '#'); i >= 0 {
		target = target[:i]
	}
	if i := strings.IndexByte(target, '?'); i >= 0 {
		return target[:i], target[i+1:]
	}
	return target, ""
}

// matchesPath tests the path. A CONNECT has none: it matches where the rule is for
// CONNECTs, and nothing else does there.
func matchesPath(m *snapshot.RouteMatch, r *message.Request, path string) bool {
	if connect := r.Method == "CONNECT"; m.Connect || connect && path == "" {
		return m.Connect && connect
	}
	return pathMatches(m, path)
}

// AllowsConnect tells whether a CONNECT goes on, given what the connection manager says:
// the route's upgrade_configs come before that one's. The rule may be nil.
func (r *Rule) AllowsConnect(manager bool) bool {
	if r != nil && r.Forward != nil {
		if allowed, said := r.Forward.Upgrades["connect"]; said {
			return allowed
		}
	}
	return manager
}

func pathMatches(m *snapshot.RouteMatch, path string) bool {
	switch {
	case m.Prefix != nil:
		return hasPrefix(path, *m.Prefix, m.IgnoreCase)
	case m.Exact != nil:
		return len(path) == len(*m.Exact) && hasPrefix(path, *m.Exact, m.IgnoreCase)
	case m.Regex != nil:
		return m.Regex.MatchString(path)
	case m.PathSeparated != nil:
		p := *m.PathSeparated
		return hasPrefix(path, p, m.IgnoreCase) && (len(path) == len(p) || path[len(p)] == '/')
	default:
		return true
	}
}

func hasPrefix(s, prefix string, ignoreCase bool) bool {
	if len(s) < len(prefix) {
		return false
	}
	if !ignoreCase {
		return s[:len(prefix)] == prefix
	}
	return strings.EqualFold(s[:len(prefix)], prefix)
}

// MatchString tests a string against a matcher; nil matches everything.
// Envoy's ignore_case has no effect on regular expressions.
func MatchString(m *snapshot.StringMatch, s string) bool {
	switch {
	case m == nil:
		return true
	case m.Exact != nil:
		return len(s) == len(*m.Exact) && hasPrefix(s, *m.Exact, m.IgnoreCase)
	case m.Prefix != nil:
		return hasPrefix(s, *m.Prefix, m.IgnoreCase)
	case m.Suffix != nil:
		n := len(s) - len(*m.Suffix)
		return n >= 0 && hasPrefix(s[n:], *m.Suffix, m.IgnoreCase)
	case m.Contains != nil && m.IgnoreCase:
		return strings.Contains(strings.ToLower(s), strings.ToLower(*m.Contains))
	case m.Contains != nil:
		return strings.Contains(s, *m.Contains)
	case m.Regex != nil:
		return m.Regex.MatchString(s)
	default:
		return true
	}
}

// MatchHeader tests one field of a request. Several fields of one name count as
// one, joined with commas. A field that is missing matches nothing, inverted or
// not, unless the matcher tests presence or treats a missing field as empty.
func MatchHeader(m *snapshot.HeaderMatch, r *message.Request) bool {
	value, found := Field(r, m.Name)
	return headerMatches(m, value, found)
}

// MatchResponseHeader is MatchHeader for a response.
func MatchResponseHeader(m *snapshot.HeaderMatch, r *message.Response) bool {
	if m.Name == ":status" {
		return headerMatches(m, strconv.Itoa(r.Status), true)
	}
	value, found := r.Header.Lookup(m.Name)
	return headerMatches(m, value, found)
}

func headerMatches(m *snapshot.HeaderMatch, value string, found bool) bool {
	if m.Present {
		return found != m.Invert
	}
	if !found && !m.MissingAsEmpty {
		return false
	}
	return valueMatches(m, value) != m.Invert
}

func valueMatches(m *snapshot.HeaderMatch, value string) bool {
	if m.Range != nil {
		n, err := strconv.ParseInt(value, 10, 64)
		return err == nil && n >= m.Range[0] && n < m.Range[1]
	}
	return MatchString(m.Value, value)
}

// Field returns a header field, or a pseudo field by its name.
func Field(r *message.Request, name string) (string, bool) {
	switch name {
	case ":path":
		return r.Path, true
	case ":method":
		return r.Method, true
	case ":authority", "host":
		return r.Authority, r.Authority != ""
	case ":scheme":
		return r.Scheme, r.Scheme != ""
	default:
		return r.Header.Lookup(name)
	}
}

// queryMatches tests the first value of a parameter, undecoded as Envoy does;
// "?flag" has the value "".
func queryMatches(m *snapshot.QueryMatch, query string) bool {
	for query != "" {
		pair := query
		if i := strings.IndexByte(query, '&'); i >= 0 {
			pair, query = query[:i], query[i+1:]
		} else {
			query = ""
		}
		name, value, _ := strings.Cut(pair, "=")
		if name == m.Name && pair != "" {
			return m.Present || MatchString(m.Value, value)
		}
	}
	return false
}

// IsGRPC tells whether a message's content type is gRPC's.
func IsGRPC(h message.Header) bool {
	const grpc = "application/grpc"
	ct := h.Get("content-type")
	return strings.HasPrefix(ct, grpc) && (len(ct) == len(grpc) || ct[len(grpc)] == '+')
}
