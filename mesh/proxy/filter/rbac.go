package filter

import (
	"context"
	"net/netip"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// RBAC turns away what the policies do not let in, as Envoy's rbac filter: with 403,
// and with the policy in the details. Auditing changes nothing, and neither do shadow
// rules: what they would do becomes metadata of the request. Count is told what happened.
func RBAC(config snapshot.RBAC, count func(string)) Filter {
	return func(next Handler) Handler {
		return func(ctx context.Context, x *Exchange) (*message.Response, error) {
			s := subject{conn: x.Request.Stream.Conn, remote: x.Request.Stream.Remote.Addr(), request: x.Request, metadata: x.Metadata}
			if config.Shadow != nil {
				shadow(x, &s, &config, count)
			}
			if !config.Enforced {
				return next(ctx, x)
			}
			policy, ok := s.permitted(&config)
			if !ok {
				count("denied")
				return nil, &reply.Reply{Status: 403, Details: "rbac_access_denied_matched_policy[" + policy + "]", Body: "RBAC: access denied"}
			}
			count("allowed")
			return next(ctx, x)
		}
	}
}

// Verdict is what RBAC decides about an exchange, for those who explain: the policy
// that matched ("none": none did), and whether the request may pass.
func Verdict(config *snapshot.RBAC, x *Exchange) (policy string, ok bool) {
	if !config.Enforced {
		return "none", true
	}
	s := subject{conn: x.Request.Stream.Conn, remote: x.Request.Stream.Remote.Addr(), request: x.Request, metadata: x.Metadata}
	return s.permitted(config)
}

// ConnectionVerdict is Verdict for a connection that is not HTTP.
func ConnectionVerdict(config *snapshot.RBAC, c *message.Conn) (policy string, ok bool) {
	if !config.Enforced {
		return "none", true
	}
	s := subject{conn: c, remote: c.Remote.Addr()}
	return s.permitted(config)
}

// shadow notes what the shadow rules say.
func shadow(x *Exchange, s *subject, config *snapshot.RBAC, count func(string)) {
	policy, ok := s.permitted(config.Shadow)
	result := "denied"
	if ok {
		result = "allowed"
	}
	count(config.ShadowPrefix + "shadow_" + result)
	if x.Metadata == nil {
		x.Metadata = map[string]map[string]any{}
	}
	note(x.Metadata, config.FilterName(), config.ShadowPrefix, result, policy)
	s.metadata = x.Metadata
}

// Permit tells whether a connection that is not HTTP may pass.
func Permit(config *snapshot.RBAC, c *message.Conn) bool {
	_, ok := ConnectionVerdict(config, c)
	return ok
}

// Shadow tells what the shadow rules would do with a connection that is not HTTP, as
// the name of a count; "" where there are none. It notes so in the connection's metadata.
func Shadow(config *snapshot.RBAC, c *message.Conn, metadata map[string]map[string]any) string {
	if config.Shadow == nil {
		return ""
	}
	result := "denied"
	policy, ok := ConnectionVerdict(config.Shadow, c)
	if ok {
		result = "allowed"
	}
	note(metadata, "envoy.filters.network.rbac", config.ShadowPrefix, result, policy)
	return config.ShadowPrefix + "shadow_" + result
}

// note keeps what shadow rules say, under the names that Envoy has for it.
func note(metadata map[string]map[string]any, filter, prefix, result, policy string) {
	known := map[string]any{}
	for k, v := range metadata[filter] {
		known[k] = v
	}
	known[prefix+"shadow_engine_result"] = result
	if policy != "none" {
		known[prefix+"shadow_effective_policy_id"] = policy
	}
	metadata[filter] = known
}

// subject is who wants what. The request is nil where it is a connection.
type subject struct {
	conn     *message.Conn
	remote   netip.Addr
	request  *message.Request
	metadata map[string]map[string]any
}

// permitted returns the verdict and the policy behind it, "none" where none matched.
func (s *subject) permitted(config *snapshot.RBAC) (policy string, ok bool) {
	if !config.Enforced || config.Action == snapshot.RBACLog {
		return "none", true
	}
	for i := range config.Policies {
		p := &config.Policies[i]
		if s.one(p.Permissions) && s.one(p.Principals) {
			return p.Name, config.Action == snapshot.RBACAllow
		}
	}
	return "none", config.Action == snapshot.RBACDeny
}

func (s *subject) one(terms []snapshot.RBACTerm) bool {
	for i := range terms {
		if s.is(&terms[i]) {
			return true
		}
	}
	return false
}

func (s *subject) all(terms []snapshot.RBACTerm) bool {
	for i := range terms {
		if !s.is(&terms[i]) {
			return false
		}
	}
	return true
}

func (s *subject) is(t *snapshot.RBACTerm) bool {
	switch {
	case t.Any:
		return true
	case t.And != nil:
		return s.all(t.And)
	case t.Or != nil:
		return s.one(t.Or)
	case t.Not != nil:
		return !s.is(t.Not)
	case t.Header != nil:
		return s.request != nil && route.MatchHeader(t.Header, s.request)
	case t.Path != nil:
		return s.request != nil && route.MatchString(t.Path, s.path())
	case t.Template != nil:
		return s.request != nil && t.Template.MatchString(s.path())
	case t.Metadata != nil:
		return route.MatchMetadata(t.Metadata, s.metadata)
	default:
		return s.connected(t)
	}
}

// connected tests the properties of the connection.
func (s *subject) connected(t *snapshot.RBACTerm) bool {
	switch {
	case t.DestinationIP.IsValid():
		return t.DestinationIP.Contains(s.conn.Local.Addr().Unmap())
	case t.DestinationPort != 0:
		return t.DestinationPort == s.conn.Local.Port()
	case t.DirectIP.IsValid():
		return t.DirectIP.Contains(s.conn.Direct().Addr().Unmap())
	case t.RemoteIP.IsValid():
		return t.RemoteIP.Contains(s.remote.Unmap())
	case t.ServerName != nil:
		return route.MatchString(t.ServerName, s.conn.RequestedServerName)
	case t.Principal != nil:
		return s.named(t.Principal)
	default:
		return t.Authenticated && s.conn.TLS != nil && len(s.conn.TLS.Peer) > 0
	}
}

// named tests the URIs of the peer's certificate, else its DNS names, else its subject.
func (s *subject) named(m *snapshot.StringMatch) bool {
	tls := s.conn.TLS
	if tls == nil {
		return false
	}
	list := tls.PeerURIs
	if len(list) == 0 {
		list = tls.PeerDNS
	}
	if len(list) == 0 && tls.PeerSubject != "" {
		list = []string{tls.PeerSubject}
	}
	for _, name := range list {
		if route.MatchString(m, name) {
			return true
		}
	}
	return false
}

func (s *subject) path() string {
	path, _, _ := strings.Cut(s.request.Path, "?")
	path, _, _ = strings.Cut(path, "#")
	return path
}
