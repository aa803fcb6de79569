package manager

import (
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// setPath brings the path into the form that routes match, in Envoy's order: escaped
// slashes, RFC 3986's normal form, repeated slashes. The query stays as it is.
func setPath(c *snapshot.HTTPManager, q *message.Request) error {
	if strings.IndexByte(q.Path, '#') >= 0 {
		return &reply.Reply{Status: 400, Details: "path_normalization_failed"}
	}
	if q.Path == "*" {
		return nil
	}
	path, query := q.Path, ""
	if i := strings.IndexByte(path, '?'); i >= 0 {
		path, query = path[:i], path[i:]
	}
	unescaped := false
	if c.EscapedSlashes != snapshot.KeepUnchanged {
		if plain := unescapeSlashes(path); plain != path {
			if c.EscapedSlashes == snapshot.RejectRequest {
				return &reply.Reply{Status: 400, Details: "path_normalization_failed"}
			}
			path, unescaped = plain, true
		}
	}
	if c.NormalizePath {
		path = normalize(path)
	}
	if c.MergeSlashes {
		path = mergeSlashes(path)
	}
	if len(path)+len(query) != len(q.Path) || q.Path[:len(path)] != path {
		q.Path = path + query
	}
	if unescaped && c.EscapedSlashes == snapshot.UnescapeAndRedirect {
		return &reply.Reply{Status: 307, Details: "path_normalization_failed", Header: message.Header{{Name: "location", Value: q.Path}}}
	}
	return nil
}

func unescapeSlashes(path string) string {
	if strings.IndexByte(path, '%') < 0 {
		return path
	}
	return strings.NewReplacer("%2f", "/", "%2F", "/", "%5c", `\`, "%5C", `\`).Replace(path)
}

// normalize decodes what needs no encoding, turns backslashes into slashes, as browsers
// do, encodes what may not stand in a path, and resolves dot segments (RFC 3986, 6.2.2).
func normalize(path string) string {
	if isNormal(path) {
		return path
	}
	decoded := make([]byte, 0, len(path)+8)
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '\\':
			decoded = append(decoded, '/')
		case c == '%' && i+2 < len(path) && isUnreserved(unhex(path[i+1])<<4|unhex(path[i+2])) && isHex(path[i+1]) && isHex(path[i+2]):
			decoded = append(decoded, byte(unhex(path[i+1])<<4|unhex(path[i+2])))
			i += 2
		case mustEscape(c):
			const digits = "0123456789ABCDEF"
			decoded = append(decoded, '%', digits[c>>4], digits[c&15])
		default:
			decoded = append(decoded, c)
		}
	}
	return resolveDots(string(decoded))
}

// isNormal finds most paths: nothing to decode, no segment that begins with a dot.
func isNormal(path string) bool {
	for i := range len(path) {
		c := path[i]
		if c == '%' || c == '\\' || mustEscape(c) || c == '.' && path[i-min(i, 1)] == '/' {
			return false
		}
	}
	return true
}

func mustEscape(c byte) bool {
	return c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' || c == '^' || c == '`' || c == '{' || c == '}'
}

func isUnreserved(c byte) bool {
	return c-'0' <= 9 || c-'a' <= 25 || c-'A' <= 25 || c == '-' || c == '.' || c == '_' || c == '~'
}

func isHex(c byte) bool { return c-'0' <= 9 || c-'a' <= 5 || c-'A' <= 5 }

func unhex(c byte) byte {
	if c-'0' <= 9 {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// resolveDots is RFC 3986's remove_dot_segments; going above the root stays there.
func resolveDots(path string) string {
	out := make([]byte, 0, len(path))
	for rest := path; rest != ""; {
		segment := rest[1:] // rest begins with a slash
		end := strings.IndexByte(segment, '/')
		last := end < 0
		if last {
			end = len(segment)
		}
		rest = segment[end:]
		switch segment = segment[:end]; segment {
		case ".", "..":
			if segment == ".." {
				out = out[:max(strings.LastIndexByte(string(out), '/'), 0)]
			}
			if last {
				out = append(out, '/')
			}
		default:
			out = append(out, '/')
			out = append(out, segment...)
		}
	}
	return string(out)
}

func mergeSlashes(path string) string {
	if !strings.Contains(path, "//") {
		return path
	}
	out := make([]byte, 0, len(path))
	for i := range len(path) {
		if path[i] == '/' && len(out) > 0 && out[len(out)-1] == '/' {
			continue
		}
		out = append(out, path[i])
	}
	return string(out)
}
