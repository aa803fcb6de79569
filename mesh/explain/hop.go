package explain

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/filter"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/listen"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/manager"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/router"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// connection is one that a proxy takes.
type connection struct {
	dst  netip.AddrPort // the original destination
	src  netip.Addr
	tls  *snapshot.ClientTLS // what the peer speaks; nil: plaintext
	sni  string
	alpn []string
	// identity is the peer's name in its certificate, and leaf what else that says; nil:
	// nothing that is known.
	identity string
	leaf     *x509.Certificate
	// inner is the application's own handshake inside of it.
	inner *snapshot.ClientTLS
}

// connFacts are what any proxy knows of a connection that it takes.
func connFacts(c connection) *message.Conn {
	f := &message.Conn{Remote: netip.AddrPortFrom(c.src, 0), Local: c.dst, RequestedServerName: c.sni}
	if c.tls != nil {
		f.TLS = peerOf(c)
	}
	return f
}

// stop is one place in a proxy.
type stop struct {
	*walk
	h    *Hop
	peer *Peer
	conn connection
	http *snapshot.HTTPManager
	// terminates is true where TLS ends here.
	terminates bool
}

// through follows a connection through a proxy that gets it on a port.
func (w *walk) through(h *Hop, p *Peer, port uint16, c connection) error {
	if h.Security = securityOf(c.tls); h.Security == "mTLS" {
		h.Peer = c.identity
	}
	l := findListener(p.Snapshot, port, c.dst)
	if l == nil {
		return w.refuse(h, fmt.Sprintf("there is no listener for port %d", port))
	}
	h.Listener = l.Name
	chain, steps, err := listen.Explain(l, listen.Shown{Destination: c.dst, Source: netip.AddrPortFrom(c.src, 0),
		TLS: c.tls != nil, ServerName: c.sni, ALPN: c.alpn})
	if err != nil {
		return err
	}
	for _, s := range steps {
		h.Chains = append(h.Chains, Chain{s.Chain, s.Matched, s.Reason, s.Source})
	}
	switch {
	case chain == nil:
		return w.refuse(h, "no filter chain matches")
	case chain.TLS != nil && c.tls == nil:
		return w.refuse(h, "the filter chain wants TLS, the client speaks plaintext")
	case chain.TLS != nil && chain.TLS.RequireClientCert && h.Security != "mTLS":
		return w.refuse(h, "the filter chain wants a certificate of the client")
	case chain.TLS == nil && c.tls != nil && chain.HTTP != nil:
		return w.refuse(h, "the filter chain speaks HTTP, the client begins with a TLS handshake")
	}
	s := &stop{walk: w, h: h, peer: p, conn: c, http: chain.HTTP, terminates: chain.TLS != nil}
	if chain.HTTP == nil {
		if why := s.permitted(chain.Guards); why != "" {
			return w.refuse(h, why)
		}
		return s.tcp(chain.TCP)
	}
	return s.request(l)
}

// refuse ends the way: the connection is closed. A proxy before makes a 503 of that
// for its client, with the flag of a connection that ended.
func (w *walk) refuse(h *Hop, why string) error {
	h.Refused = why
	switch {
	case w.way.Hops[0] == h:
		w.way.Error = "the connection is closed: " + why
	case len(w.way.Clusters) == 1 && w.way.Hops[0].Action == "forward":
		w.way.Status = 503
		w.way.Flags = message.UpstreamConnectionTermination.Names()
	}
	return nil
}

// findListener is where a socket's connection goes: the listener of that port, or the
// one that it hands over to.
func findListener(p *snapshot.Proxy, port uint16, dst netip.AddrPort) *snapshot.Listener {
	i := slices.IndexFunc(p.Listeners, func(l *snapshot.Listener) bool { return l.BindToPort && l.Address.Port() == port })
	if i < 0 {
		return nil
	}
	if bound := p.Listeners[i]; !bound.UseOriginalDst {
		return bound
	}
	for _, address := range listen.Candidates(dst) {
		for _, l := range p.Listeners {
			if slices.Contains(l.Addresses(), address) {
				return l
			}
		}
	}
	return p.Listeners[i]
}

// listensAt reports whether a proxy itself listens where nobody redirects connections to.
func listensAt(p *snapshot.Proxy, dst netip.AddrPort) bool {
	return slices.ContainsFunc(p.Listeners, func(l *snapshot.Listener) bool {
		return l.BindToPort && slices.ContainsFunc(l.Addresses(), func(a netip.AddrPort) bool {
			return a.Port() == dst.Port() && (a.Addr() == dst.Addr() || a.Addr().IsUnspecified())
		})
	})
}

func (s *stop) tcp(t *snapshot.TCPProxy) error {
	s.h.Action = "tcp"
	if t == nil {
		return nil
	}
	if u := t.Tunnel; u != nil && u.Post {
		s.h.Tunnel = "POST " + u.Hostname
	} else if u != nil {
		s.h.Tunnel = "CONNECT " + u.Hostname
	}
	return s.clusters(t.Clusters, nil, nil)
}

// request follows the request through the connection manager.
func (s *stop) request(l *snapshot.Listener) error {
	facts := s.facts(l)
	s.q.Stream = &message.Stream{Conn: facts, Remote: facts.Remote}
	if err := manager.Prepare(s.http, facts, s.q); err != nil {
		var r *reply.Reply
		if !errors.As(err, &r) {
			return err
		}
		return s.reply(r.Status, r.Flag, r.Header.Get("location"))
	}
	config := s.http.Routes
	if config == nil {
		config = s.peer.Snapshot.Routes[s.http.RouteConfig]
	}
	if config == nil {
		s.h.RouteConfig = s.http.RouteConfig
		return s.reply(404, message.NoRouteFound, "")
	}
	s.h.RouteConfig = config.Name
	table := route.Compile(config)
	x := &filter.Exchange{Request: s.q, Table: table}
	x.Route()
	s.routed(x)
	if s.q.Method == "CONNECT" && !x.Rule.AllowsConnect(slices.Contains(s.http.Upgrades, "connect")) {
		return s.reply(403, 0, "")
	}
	// The filters run where no route matches, too.
	switch stopped, err := s.policies(x); {
	case stopped || err != nil:
		return err
	case x.Rule == nil:
		return s.reply(404, message.NoRouteFound, "")
	}
	return s.act(config, x.VirtualHost, x.Rule, x)
}

// routed notes how the route was found. A filter may have had it looked for once more.
func (s *stop) routed(x *filter.Exchange) {
	s.h.Routes, s.h.Route, s.h.Source, s.h.Changes = []Rule{}, "", "", []string{}
	for i, step := range x.Table.Explain(s.q, 0, x.Metadata) {
		if i == 0 {
			s.h.VirtualHost, s.h.Domain, s.h.HostSource = step.VirtualHost, step.Reason, step.Source
			continue
		}
		s.h.Routes = append(s.h.Routes, Rule{step.Route, step.Matched, step.Reason, step.Source})
	}
	x.Cluster = nil // which of several is drawn per request
	if rule := x.Rule; rule != nil {
		s.h.Route, s.h.Source = rule.Name, rule.Source
		s.h.Changes = changes(x.Table.Config, x.VirtualHost, rule)
		if rule.Forward != nil && len(rule.Forward.Clusters) == 1 {
			x.Cluster = &rule.Forward.Clusters[0]
		}
	}
	s.summary()
}

// act does what a rule says.
func (s *stop) act(config *snapshot.RouteConfig, vh *route.VirtualHost, rule *route.Rule, x *filter.Exchange) error {
	switch {
	case rule.Direct != nil:
		s.h.Action = "direct"
		return s.reply(rule.Direct.Status, 0, "")
	case rule.Redirect != nil:
		s.h.Action = "redirect"
		status := rule.Redirect.Status
		if status == 0 {
			status = 301
		}
		return s.reply(status, 0, router.Location(rule, s.q))
	}
	s.h.Action = "forward"
	policy, err := router.Explain(config, vh, rule, x.Cluster, s.q)
	if err != nil {
		return err
	}
	s.h.Timeout = policy.Timeout.Seconds()
	if policy.Retries > 0 {
		s.h.Retry = &Retry{Attempts: policy.Retries, On: []string{}, PerTryTimeout: policy.PerTryTimeout.Seconds()}
		if policy.Retry != nil {
			s.h.Retry.On = append(s.h.Retry.On, policy.Retry.On...)
		}
	}
	for _, m := range rule.Forward.Mirrors {
		s.h.Mirrors = append(s.h.Mirrors, Mirror{m.Cluster, m.Percent})
	}
	list := rule.Forward.Clusters
	if name := rule.Forward.ClusterHeader; name != "" {
		list = []snapshot.WeightedCluster{{Name: s.q.Header.Get(name), Weight: 1}}
	}
	return s.clusters(list, rule.Forward, s.alpn())
}

// alpn is what Istio's ALPN filter would have the upstream's handshake offer.
func (s *stop) alpn() *snapshot.ALPN {
	for _, f := range s.http.Filters {
		switch a := f.(type) {
		case snapshot.ALPN:
			return &a
		case *snapshot.ALPN:
			return a
		}
	}
	return nil
}

// fault notes what is injected, and tells whether that is the answer for certain.
func (s *stop) fault(f snapshot.Filter, x *filter.Exchange) bool {
	if own := x.Config(f.FilterName()); own != nil {
		f = own
	}
	c, ok := f.(snapshot.Fault)
	if p, is := f.(*snapshot.Fault); is {
		c, ok = *p, true
	}
	delays, aborts := c.Delay > 0 && c.DelayPercent > 0, (c.AbortStatus > 0 || c.AbortGRPC >= 0) && c.AbortPercent > 0
	if !ok || !delays && !aborts || slices.ContainsFunc(c.Headers, func(m snapshot.HeaderMatch) bool { return !route.MatchHeader(&m, s.q) }) {
		return false
	}
	s.h.Fault = &Fault{AbortGRPC: -1}
	var flags message.Flags
	if delays {
		s.h.Fault.Delay, s.h.Fault.DelayPercent = c.Delay.Seconds(), c.DelayPercent
		if c.DelayPercent >= 100 {
			flags |= message.DelayInjected
		}
	}
	if !aborts {
		return false
	}
	s.h.Fault.Abort, s.h.Fault.AbortGRPC, s.h.Fault.AbortPercent = c.AbortStatus, c.AbortGRPC, c.AbortPercent
	if c.AbortPercent < 100 || c.MaxActive != 0 {
		return false
	}
	status := c.AbortStatus
	if status == 0 {
		status = 200 // the other is in grpc-status
	}
	s.h.Action = "abort"
	_ = s.reply(status, flags|message.FaultInjected, "")
	return true
}

// reply is this proxy's own answer. It is the client's too where no choice of several
// clusters led here.
func (s *stop) reply(status int, flags message.Flags, location string) error {
	if flags != 0 && route.IsGRPC(s.q.Header) {
		status = 200 // with grpc-status
	}
	s.h.Status, s.h.Flags, s.h.Location = status, append(s.h.Flags, flags.Names()...), location
	w := s.way
	if s.h == w.Hops[0] || len(w.Clusters) == 1 {
		w.Status, w.Location = status, location
		if s.h == w.Hops[0] {
			w.Flags = append(w.Flags, flags.Names()...)
		}
	}
	return nil
}

// summary copies what the first proxy found to the top of the answer.
func (s *stop) summary() {
	if s.h == s.way.Hops[0] {
		s.way.VirtualHost, s.way.Route, s.way.Source = s.h.VirtualHost, s.h.Route, s.h.Source
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
