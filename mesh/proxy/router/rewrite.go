package router

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// splitQuery cuts a target before its query or fragment.
func splitQuery(target string) (path, rest string) {
	if i := strings.IndexAny(target, "?#"); i >= 0 {
		return target[:i], target[i:]
	}
	return target, ""
}

// rewritten is a target with its matched prefix replaced, or its whole path where
// the route matched an exact path or a regular expression.
func rewritten(m *snapshot.RouteMatch, target, prefix string, regex *snapshot.RegexRewrite) string {
	path, rest := splitQuery(target)
	switch {
	case regex != nil:
		return regex.Pattern.ReplaceAllString(path, template(regex.Substitution)) + rest
	case prefix == "":
		return target
	case m.Prefix != nil:
		return prefix + path[len(*m.Prefix):] + rest
	case m.PathSeparated != nil:
		return prefix + path[len(*m.PathSeparated):] + rest
	default:
		return prefix + rest
	}
}

var backReference = regexp.MustCompile(`\\(\\|[0-9])`)

// template turns RE2's \1 into Go's ${1}.
func template(substitution string) string {
	escaped := strings.ReplaceAll(substitution, "$", "$$")
	return backReference.ReplaceAllStringFunc(escaped, func(ref string) string {
		if ref == `\\` {
			return `\`
		}
		return "${" + ref[1:] + "}"
	})
}

// rewritePath changes the path by the route and keeps the one before in x-envoy-original-path.
func rewritePath(rule *route.Rule, r *message.Request) {
	f := rule.Forward
	if f.PrefixRewrite == "" && f.RegexRewrite == nil || r.Path == "" { // a CONNECT has none
		return
	}
	path := rewritten(&rule.Route.Match, r.Path, f.PrefixRewrite, f.RegexRewrite)
	if r.Stream.OriginalPath == "" {
		r.Stream.OriginalPath = r.Path
	}
	r.Header.Set("x-envoy-original-path", r.Path)
	r.Path = path
}

// rewriteHost changes the authority to one that is known before a host is chosen.
func rewriteHost(f *snapshot.Forward, c *snapshot.WeightedCluster, r *message.Request) {
	host := f.HostRewrite
	if c != nil && c.HostRewrite != "" {
		host = c.HostRewrite
	}
	if host != "" {
		setHost(f, r, host)
	}
}

func setHost(f *snapshot.Forward, r *message.Request, host string) {
	if f.AppendXForwardedHost {
		appendForwardedHost(r)
	}
	r.Authority = host
}

// appendForwardedHost appends the authority to x-forwarded-host, unless it is the last
// one there already.
func appendForwardedHost(r *message.Request) {
	list, ok := r.Header.Lookup("x-forwarded-host")
	if !ok || list == "" {
		r.Header.Set("x-forwarded-host", r.Authority)
		return
	}
	if last := list[strings.LastIndexByte(list, ',')+1:]; strings.TrimSpace(last) != r.Authority {
		r.Header.Set("x-forwarded-host", list+","+r.Authority)
	}
}

// location is where a redirect sends to.
func location(rule *route.Rule, r *message.Request) string {
	d := rule.Redirect
	scheme := r.Scheme
	if scheme == "" {
		scheme = "http"
	}
	old := scheme
	switch {
	case d.HTTPS:
		scheme = "https"
	case d.Scheme != "":
		scheme = d.Scheme
	}
	host, port := d.Host, ""
	if d.Port != 0 {
		port = ":" + strconv.Itoa(int(d.Port))
	}
	if host == "" {
		host = hostForRedirect(r.Authority, old, scheme, port != "")
	}
	var path, rest string
	switch {
	case d.Path != "":
		path = d.Path
		if !d.StripQuery && !strings.Contains(path, "?") {
			_, rest = splitQuery(r.Path)
		}
	default:
		path, rest = splitQuery(rewritten(&rule.Route.Match, r.Path, d.PrefixRewrite, d.RegexRewrite))
		if d.StripQuery {
			rest = ""
		}
	}
	return scheme + "://" + host + port + path + rest
}

// hostForRedirect drops a port that the redirect replaces, or that was the default
// of the scheme that it leaves.
func hostForRedirect(authority, old, scheme string, newPort bool) string {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.LastIndexByte(authority, ']') > i {
		return authority
	}
	port := authority[i:]
	if newPort || old != scheme && (old == "http" && port == ":80" || old == "https" && port == ":443") {
		return authority[:i]
	}
	return authority
}

// shadowed is the authority of a mirrored request: "-shadow" goes before the port.
func shadowed(authority string) string {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.LastIndexByte(authority, ']') > i {
		return authority + "-shadow"
	}
	return authority[:i] + "-shadow" + authority[i:]
}
