package explain

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/filter"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

var actions = map[snapshot.RBACAction]string{snapshot.RBACAllow: "allow", snapshot.RBACDeny: "deny", snapshot.RBACLog: "audit"}

// facts are what the proxy knows of the connection. A peer that shows a certificate is
// known by its name.
func (s *stop) facts(l *snapshot.Listener) *message.Conn {
	f := connFacts(s.conn)
	f.Inbound, f.Listener = l.Inbound, l.Name
	return f
}

// policies asks the filters that may turn a request away, in their order, and tells
// whether one did.
func (s *stop) policies(x *filter.Exchange) (stopped bool, err error) {
	for _, f := range s.http.Filters {
		switch c := f.(type) {
		case snapshot.JWT:
			stopped, err = s.authentication(c, x)
		case snapshot.RBAC:
			filter.NoteShadow(&c, x)
			stopped, err = s.authorization(&c, x)
		case *snapshot.ExtAuthz:
			s.custom(c, x)
		case *snapshot.LocalRateLimit:
			s.localLimit(c, x)
		case *snapshot.GlobalRateLimit:
			s.globalLimit(c, x)
		case snapshot.Fault, *snapshot.Fault:
			stopped = s.fault(f, x)
		}
		if stopped || err != nil {
			return stopped, err
		}
	}
	return false, nil
}

// authentication lets the filter itself look at the request, which takes out or adds what it does.
func (s *stop) authentication(c snapshot.JWT, x *filter.Exchange) (stopped bool, err error) {
	layer, err := filter.JWT(c)
	if err != nil {
		return false, err
	}
	_, err = layer(func(context.Context, *filter.Exchange) (*message.Response, error) { return nil, nil })(context.Background(), x)
	p := Policy{Kind: "authentication", Passed: err == nil, Reason: "the request has no token, which is allowed"}
	if x.Metadata[c.FilterName()] != nil {
		p.Reason = "the token is good"
	}
	again := false
	for _, provider := range c.Providers {
		again = again || provider.ClearRouteCache
		if source := s.source(p.Kind, provider.Issuer); source != "" && (p.Source == "" || source < p.Source) {
			p.Source = source
		}
	}
	if again && x.Metadata[c.FilterName()] != nil {
		s.routed(x)
	}
	var r *reply.Reply
	if errors.As(err, &r) {
		p.Reason = r.Body
		s.h.Policies = append(s.h.Policies, p)
		return true, s.reply(r.Status, r.Flag, "")
	}
	s.h.Policies = append(s.h.Policies, p)
	return false, err
}

func (s *stop) authorization(c *snapshot.RBAC, x *filter.Exchange) (stopped bool, err error) {
	name, ok := filter.Verdict(c, x)
	s.decided(c, name, ok)
	if ok {
		return false, nil
	}
	return true, s.reply(403, 0, "")
}

// decided notes what the policies of one action say.
func (w *stop) decided(c *snapshot.RBAC, name string, ok bool) {
	p := Policy{Kind: "authorization", Action: actions[c.Action], Passed: ok}
	switch {
	case c.Action == snapshot.RBACLog:
		p.Reason = "audits, and changes nothing"
	case name == "none":
		p.Reason = "no rule matches"
	default:
		p.Name, p.Source, p.Reason = name, w.source(p.Kind, name), "the rule matches"
	}
	if name == "none" && !ok && len(c.Policies) > 0 {
		p.Source = w.source(p.Kind, c.Policies[0].Name) // one of those that let others in
	}
	w.h.Policies = append(w.h.Policies, p)
}

// permitted asks the policies before a TCP proxy; the reason is empty where they let the
// connection in. What a service would say nobody knows before.
func (s *stop) permitted(list []snapshot.Guard) (reason string) {
	metadata := map[string]map[string]any{}
	for _, g := range list {
		c := g.RBAC
		if c == nil {
			if g.ExtAuthz.Enabled == nil || route.MatchMetadata(g.ExtAuthz.Enabled, metadata) {
				s.h.Policies = append(s.h.Policies, Policy{Kind: "authorization", Action: "custom", Passed: true, Reason: "a service is asked, and may close the connection"})
			}
			continue
		}
		filter.Shadow(c, connFacts(s.conn), metadata)
		name, ok := filter.ConnectionVerdict(c, connFacts(s.conn))
		s.decided(c, name, ok)
		if !ok {
			return "authorization: policy " + name
		}
	}
	return ""
}

func (w *walk) source(kind, name string) string {
	if w.PolicySource == nil {
		return ""
	}
	return w.PolicySource(kind, name)
}

// peerOf is the handshake as the server sees it.
func peerOf(c connection) *message.TLS {
	t := &message.TLS{ServerName: c.sni}
	if securityOf(c.tls) != "mTLS" || c.identity == "" {
		return t
	}
	switch {
	case c.leaf != nil:
		t.Peer = []*x509.Certificate{c.leaf}
		for _, u := range c.leaf.URIs {
			t.PeerURIs = append(t.PeerURIs, u.String())
		}
	case c.tls.Certificate == ownCertificate:
		t.PeerURIs, t.Peer = []string{c.identity}, []*x509.Certificate{{}}
	default: // a certificate that is known by where it is: no name of it
		t.Peer = []*x509.Certificate{{}}
	}
	return t
}

// shown is what a client's certificate says of it: the workload's name in its own, the
// first name in a configured one. Of one that only the client's disk has it says where it is.
func shown(t *snapshot.ClientTLS, own string) (identity string, leaf *x509.Certificate) {
	switch {
	case t == nil:
		return own, nil
	case t.Certificate == ownCertificate:
		return own, nil
	case t.Certificate != "":
		return "unknown, in " + t.Certificate, nil
	case t.Inline == nil:
		return "", nil
	}
	block, _ := pem.Decode(t.Inline.Chain)
	if block == nil {
		return "unknown, in files", nil
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	switch {
	case err != nil:
		return "unknown, in files", nil
	case len(leaf.URIs) > 0:
		return leaf.URIs[0].String(), leaf
	case len(leaf.DNSNames) > 0:
		return leaf.DNSNames[0], leaf
	}
	return leaf.Subject.String(), leaf
}
