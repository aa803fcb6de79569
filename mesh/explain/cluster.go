package explain

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
)

// clusters follows the request to every cluster that may be chosen. f is nil for TCP.
func (s *stop) clusters(list []snapshot.WeightedCluster, f *snapshot.Forward, alpn *snapshot.ALPN) error {
	total := uint64(0)
	for _, c := range list {
		total += uint64(c.Weight)
	}
	possible := list
	if len(list) > 1 {
		possible = slices.DeleteFunc(slices.Clone(list), func(c snapshot.WeightedCluster) bool { return c.Weight == 0 })
	}
	first := s.h == s.way.Hops[0]
	for _, c := range possible {
		if first && !slices.Contains(s.way.Clusters, c.Name) {
			s.way.Clusters = append(s.way.Clusters, c.Name)
		}
	}
	if first && len(s.way.Clusters) == 1 {
		s.way.Cluster = s.way.Clusters[0]
	}
	var next []func() error
	for _, c := range possible {
		percent := 100.0
		if len(list) > 1 && total > 0 {
			percent = 100 * float64(c.Weight) / float64(total)
		}
		then, err := s.cluster(c.Name, percent, f, alpn, len(possible) == 1)
		if err != nil {
			return err
		}
		if then != nil {
			next = append(next, then)
		}
	}
	q := s.q
	for _, then := range next {
		copied := *q
		copied.Header = q.Header.Clone()
		s.walk.q = &copied
		if err := then(); err != nil {
			return err
		}
	}
	return nil
}

// cluster describes one destination. What follows it is returned, as the hops after
// this one come when this one is complete.
func (s *stop) cluster(name string, percent float64, f *snapshot.Forward, alpn *snapshot.ALPN, only bool) (func() error, error) {
	out := Cluster{Name: name, Percent: percent, Endpoints: []Endpoint{}}
	out.Service, out.Port, out.Subset = nameParts(name)
	config := s.peer.Snapshot.Clusters[name]
	if config == nil {
		out.Missing = true
		s.h.Clusters = append(s.h.Clusters, out)
		if only && f != nil {
			status := f.NotFoundStatus
			if status == 0 {
				status = 503
			}
			return nil, s.reply(status, message.NoClusterFound, "")
		}
		return nil, nil
	}
	out.Source, out.Balancer = config.Source, balancers[config.Balancer]
	if config.Discovery == snapshot.ByName {
		out.Balancer = "the name of the request"
	}
	if config.Service != "" && out.Service == "" {
		out.Service = config.Service
	}
	s.limits(&out, config)
	var chosen *snapshot.Endpoint
	for _, e := range s.endpoints(config) {
		described, healthy := s.endpoint(config, e)
		out.Endpoints = append(out.Endpoints, described)
		if chosen == nil && healthy {
			chosen = e
		}
	}
	s.h.Clusters = append(s.h.Clusters, out)
	named := config.Discovery == snapshot.StrictDNS || config.Discovery == snapshot.LogicalDNS
	switch {
	case chosen != nil:
		return func() error { return s.onward(config, chosen, alpn) }, nil
	case only && config.Discovery == snapshot.ByName && f != nil && s.http.Resolves(config.Cache.Name):
		return nil, s.reply(503, message.DNSFailure, "")
	case only && !named && f != nil && (len(out.Endpoints) == 0 || config.PanicThreshold == 0):
		return nil, s.reply(503, message.NoHealthyUpstream, "")
	}
	return nil, nil
}

var balancers = map[snapshot.Balancer]string{snapshot.RoundRobin: "round robin", snapshot.LeastRequest: "least request",
	snapshot.Random: "random", snapshot.RingHash: "ring hash", snapshot.Maglev: "maglev", snapshot.ClusterProvided: "original destination"}

var healths = map[snapshot.Health]string{snapshot.Healthy: "healthy", snapshot.Unhealthy: "unhealthy",
	snapshot.Draining: "draining", snapshot.Degraded: "degraded"}

// nameParts takes Istio's name of a cluster apart: "outbound|9080|v1|reviews.default.svc.cluster.local".
func nameParts(name string) (service string, port uint32, subset string) {
	parts := strings.SplitN(name, "|", 4)
	if len(parts) != 4 {
		return "", 0, ""
	}
	n, err := strconv.ParseUint(parts[1], 10, 16)
	if err != nil {
		return "", 0, ""
	}
	return parts[3], uint32(n), parts[2]
}

// endpoints are the hosts of a cluster; an original-destination cluster has one.
func (s *stop) endpoints(c *snapshot.Cluster) (list []*snapshot.Endpoint) {
	if c.Discovery == snapshot.ByName {
		return s.byName(c)
	}
	if c.Discovery == snapshot.OriginalDst {
		return []*snapshot.Endpoint{{Address: s.conn.dst, Weight: 1}}
	}
	for _, l := range c.Endpoints {
		list = append(list, l.Endpoints...)
	}
	return list
}

// byName is the endpoint that the request's own name leads to; none where it has no address.
func (s *stop) byName(c *snapshot.Cluster) []*snapshot.Endpoint {
	authority := net.JoinHostPort(s.conn.sni, strconv.Itoa(int(s.conn.dst.Port())))
	if s.http != nil {
		authority = s.q.Authority
	}
	host, port := upstream.Target(c, authority)
	found, err := s.Mesh.Resolve(s.peer, host)
	if err != nil || len(found) == 0 {
		return nil
	}
	return []*snapshot.Endpoint{{Address: netip.AddrPortFrom(found[0].Unmap(), port), Hostname: host, Weight: 1}}
}

func (s *stop) endpoint(c *snapshot.Cluster, e *snapshot.Endpoint) (Endpoint, bool) {
	t := upstream.Transport(c, e.TransportMatch)
	out := Endpoint{Address: e.Address.String(), Health: healths[e.Health], Security: securityOf(t.TLS), Reason: reasonOf(c, t)}
	if e.Hostname != "" {
		out.Address = e.Hostname + ":" + strconv.Itoa(int(e.Address.Port()))
	}
	if s.peer.IsEjected != nil && s.peer.IsEjected(c.Name, e.Address) {
		out.Health = "ejected"
	}
	if s.h.Role == "inbound" {
		out.Pod, out.Workload = s.h.Pod, s.h.Workload
		if t.TLS == nil {
			out.Reason = "its own application"
		}
	} else if p := s.Mesh.Peer(e.Address.Addr()); p != nil {
		out.Pod, out.Workload = p.Name, p.Workload
	}
	return out, out.Health == "healthy" || out.Health == "degraded"
}

// securityOf names what a transport socket speaks. With a certificate of its own the
// client is known to the server.
func securityOf(t *snapshot.ClientTLS) string {
	switch {
	case t == nil:
		return "plaintext"
	case t.Certificate != "" || t.Inline != nil:
		return "mTLS"
	}
	return "TLS"
}

// reasonOf says why an endpoint has its transport socket.
func reasonOf(c *snapshot.Cluster, t *snapshot.Transport) string {
	var pairs []string
	for k, v := range t.Match {
		pairs = append(pairs, k+"="+v)
	}
	slices.Sort(pairs)
	switch {
	case len(pairs) > 0:
		return fmt.Sprintf("the endpoint has %s (%s)", strings.Join(pairs, ", "), t.Name)
	case t.TLS != nil:
		return "the cluster's policy"
	case slices.ContainsFunc(c.Transports, func(o snapshot.Transport) bool { return o.TLS != nil }):
		return "the endpoint takes no mTLS (" + t.Name + ")"
	}
	return "the cluster has no TLS"
}

// onward follows the request to one endpoint.
func (s *stop) onward(c *snapshot.Cluster, e *snapshot.Endpoint, alpn *snapshot.ALPN) error {
	if s.h.Role == "inbound" {
		s.answers(s.peer)
		return nil
	}
	t := upstream.Transport(c, e.TransportMatch)
	next := connection{dst: e.Address, src: s.peer.Addr, tls: t.TLS, inner: s.conn.inner}
	next.identity, next.leaf = shown(t.TLS, s.peer.Identity)
	if s.http == nil && s.conn.tls != nil && !s.terminates {
		next.inner = s.conn.tls // a handshake that goes through
	}
	if t.TLS == nil && next.inner != nil {
		next.tls, next.inner = next.inner, nil
		next.identity, next.leaf = s.conn.identity, s.conn.leaf // whoever shook hands
		next.sni, next.alpn = next.tls.SNI, next.tls.ALPN
		return s.leave(e, next)
	}
	if t.TLS != nil {
		next.sni, next.alpn = t.TLS.SNI, t.TLS.ALPN
		switch {
		case alpn != nil && c.HTTP.HTTP2 && len(alpn.HTTP2) > 0:
			next.alpn = alpn.HTTP2
		case alpn != nil && !c.HTTP.HTTP2 && len(alpn.HTTP11) > 0:
			next.alpn = alpn.HTTP11
		}
		if t.TLS.AutoSNI {
			next.sni, _, _ = strings.Cut(s.walk.q.Authority, ":")
		}
	}
	return s.leave(e, next)
}

// leave follows a connection out of this proxy.
func (s *stop) leave(e *snapshot.Endpoint, next connection) error {
	if !e.Address.Addr().IsValid() || e.Hostname != "" {
		return nil // a name that is not resolved here
	}
	if s.h == s.way.Hops[0] {
		// Of several destinations all have to be.
		s.way.MutualTLS = securityOf(next.tls) == "mTLS" && (s.way.MutualTLS || len(s.way.Hops) == 1)
	}
	return s.arrive(next)
}

// changes says what a rule changes in messages.
func changes(config *snapshot.RouteConfig, vh *route.VirtualHost, rule *route.Rule) []string {
	out := []string{}
	ops := func(what string, list ...snapshot.HeaderOps) {
		for _, o := range list {
			for _, name := range o.Remove {
				out = append(out, what+": remove "+name)
			}
			for _, op := range o.Set {
				verb := "add"
				if op.Action == snapshot.OverwriteOrAdd || op.Action == snapshot.OverwriteIfExists {
					verb = "set"
				}
				out = append(out, fmt.Sprintf("%s: %s %s: %s", what, verb, op.Name, op.Value))
			}
		}
	}
	ops("request", rule.RequestHeaders, vh.RequestHeaders, config.RequestHeaders)
	ops("response", rule.ResponseHeaders, vh.ResponseHeaders, config.ResponseHeaders)
	f := rule.Forward
	if f == nil {
		return out
	}
	for _, c := range f.Clusters {
		at := ""
		if len(f.Clusters) > 1 {
			at = " to " + c.Name
		}
		ops("request"+at, c.RequestHeaders)
		ops("response"+at, c.ResponseHeaders)
		if c.HostRewrite != "" {
			out = append(out, "request"+at+": authority becomes "+c.HostRewrite)
		}
	}
	if f.PrefixRewrite != "" {
		out = append(out, "request: the matched path becomes "+f.PrefixRewrite)
	}
	if f.RegexRewrite != nil {
		out = append(out, fmt.Sprintf("request: %s in the path becomes %s", f.RegexRewrite.Pattern, f.RegexRewrite.Substitution))
	}
	if f.HostRewrite != "" {
		out = append(out, "request: authority becomes "+f.HostRewrite)
	}
	return out
}
