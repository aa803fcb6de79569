// Package explain tells the way of one request through the mesh without sending it.
//
// In: the snapshots that proxies run (compiled from xDS), capture rules, and what DNS
// and kube-proxy would say. Out: a Way, plain data that marshals to JSON. Every match
// is made by the data plane's own code (listen, manager, route, filter, router,
// upstream): nothing here decides. It must not import worlds, nor build or translate.
package explain

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/nametable"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// Request is one request as its application sends it.
type Request struct {
	From    string // what the client is called in the question
	Method  string // empty: GET
	URL     string // http:// or https://HOST[:PORT]PATH; the path goes out as it is written
	Headers map[string]string
}

// Peer is one end of connections: a Pod, or a client outside of the cluster.
type Peer struct {
	Name      string
	Workload  string
	Addr      netip.Addr
	UID       int            // of its application
	Gateway   bool           // its proxy is a gateway: connections reach it as they are
	Identity  string         // the name in its proxy's certificate: a SPIFFE id
	Capture   *capture.Rules // nil: nothing is redirected
	Snapshot  *snapshot.Proxy
	Names     *nametable.Table                                   // answers its application's DNS queries first; nil: nothing does
	IsEjected func(cluster string, endpoint netip.AddrPort) bool // nil: nothing is ejected
}

// Mesh answers what snapshots do not say.
type Mesh interface {
	// Resolve is the cluster's DNS as a peer sees it.
	Resolve(from *Peer, name string) ([]netip.Addr, error)
	// ServiceAddress is kube-proxy: the endpoint behind a Service's address.
	ServiceAddress(dst netip.AddrPort) (endpoint netip.AddrPort, ok bool, err error)
	// Peer is who has an address; nil: nobody that is known.
	Peer(addr netip.Addr) *Peer
}

// Options of Explain.
type Options struct {
	Mesh   Mesh
	Client *Peer
	// Entry, where valid, is dialled whatever the URL's host is (a load balancer).
	Entry   netip.Addr
	Request Request
	// PolicySource is file:line of an authorization rule by its name in RBAC, or of the
	// rule of an issuer (kind "authentication"). nil: nobody knows.
	PolicySource func(kind, name string) string
	// FilterSource is file:line of what added an HTTP filter to a peer's proxy, SettingSource
	// of a setting (tls, connectionPool, outlierDetection) for a peer's cluster; "" where the
	// mesh does so by itself. nil: nobody knows.
	FilterSource  func(p *Peer, filter string) string
	SettingSource func(p *Peer, cluster, setting string) string
}

// walk is the work on one way.
type walk struct {
	Options
	way *Way
	q   *message.Request // as it is at the point that is reached
}

// Explain follows a request. An error is a question that cannot be answered (a URL
// that is none, a configuration that the data plane refuses); that a request fails is
// part of the answer.
func Explain(o Options) (*Way, error) {
	q, host, port, err := newRequest(o.Request)
	if err != nil {
		return nil, err
	}
	w := &walk{Options: o, q: q, way: &Way{
		From: o.Request.From, Client: o.Client.Name, Method: q.Method, Authority: q.Authority, Path: q.Path, Flags: []string{},
		Clusters: []string{}, Workloads: []string{}, Hops: []*Hop{},
	}}
	w.way.Scheme, _, _ = strings.Cut(o.Request.URL, ":")
	w.way.Address.Host, w.way.Address.Port = host, port
	addr := o.Entry
	if !addr.IsValid() {
		addrs, err := w.resolve(host)
		if err != nil {
			w.way.Error = err.Error()
			return w.way, nil
		}
		addr = addrs[0]
	}
	w.way.Address.IP = addr.String()
	return w.way, w.connect(w.dialled(netip.AddrPortFrom(addr, port), host))
}

// dialled is the application's own connection; of an https URL it begins with a handshake.
func (w *walk) dialled(dst netip.AddrPort, host string) connection {
	c := connection{dst: dst, src: w.Client.Addr}
	if strings.HasPrefix(w.Request.URL, "https://") {
		c.alpn = []string{"http/1.1"}
		if _, err := netip.ParseAddr(host); err != nil {
			c.sni = host
		}
		c.tls = &snapshot.ClientTLS{SNI: c.sni, ALPN: c.alpn}
	}
	return c
}

func (w *walk) resolve(host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	if w.Client.Names != nil {
		if addrs := w.Client.Names.Resolve(host); len(addrs) > 0 {
			return addrs, nil
		}
	}
	addrs, err := w.Mesh.Resolve(w.Client, host)
	if err == nil && len(addrs) == 0 {
		err = fmt.Errorf("%s has no address", host)
	}
	return addrs, err
}

// newRequest is the request as the client's socket sees it.
func newRequest(r Request) (q *message.Request, host string, port uint16, err error) {
	rest, ok := strings.CutPrefix(r.URL, "http://")
	defaultPort := uint16(80)
	if !ok {
		rest, ok = strings.CutPrefix(r.URL, "https://")
		defaultPort = 443
	}
	authority, path := rest, "/"
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, path = rest[:i], rest[i:]
		if path[0] == '?' {
			path = "/" + path
		}
	}
	if !ok || authority == "" {
		return nil, "", 0, fmt.Errorf("expected a URL like http://reviews:9080/reviews/0, found %q", r.URL)
	}
	host, port = strings.Trim(authority, "[]"), defaultPort
	if h, p, err := net.SplitHostPort(authority); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 || h == "" {
			return nil, "", 0, fmt.Errorf("expected HOST:PORT with a port from 1 to 65535, found %q", authority)
		}
		host, port = h, uint16(n)
	}
	q = &message.Request{Method: r.Method, Authority: authority, Path: path, Stream: &message.Stream{}}
	if q.Method == "" {
		q.Method = "GET"
	}
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		if lower := strings.ToLower(name); lower == "host" {
			q.Authority = r.Headers[name]
		} else {
			q.Header.Add(lower, r.Headers[name])
		}
	}
	return q, host, port, nil
}

// connect follows the client's connection to the first proxy, or to the server.
func (w *walk) connect(first connection) error {
	c, dst := w.Client, first.dst
	if c.Capture != nil {
		v := c.Capture.Output(capture.Packet{UID: c.UID, GID: c.UID, Source: netip.AddrPortFrom(c.Addr, 0), Destination: dst,
			Loopback: dst.Addr().IsLoopback() || dst.Addr() == c.Addr})
		if v.Redirect != 0 && c.Snapshot != nil {
			h := w.hop(c, "outbound")
			h.Capture = v.Rule
			return w.through(h, c, v.Redirect, first)
		}
		w.way.Address.Captured = "no: " + orText(v.Rule, "no rule matches")
	}
	if (dst.Addr().IsLoopback() || dst.Addr() == c.Addr) && c.Snapshot != nil && listensAt(c.Snapshot, dst) {
		return w.through(w.hop(c, "outbound"), c, dst.Port(), first)
	}
	endpoint, ok, err := w.Mesh.ServiceAddress(dst)
	if err != nil {
		w.way.Error = err.Error()
		return nil
	}
	if ok {
		w.way.Address.Endpoint = endpoint.String()
		first.dst = endpoint
	}
	return w.arrive(first)
}

// arrive follows a connection that comes to a Pod from outside of it.
func (w *walk) arrive(c connection) error {
	p := w.Mesh.Peer(c.dst.Addr())
	if p == nil {
		return nil
	}
	if p.Gateway {
		h := w.hop(p, "gateway")
		return w.through(h, p, c.dst.Port(), c)
	}
	if p.Capture != nil && p.Snapshot != nil {
		v := p.Capture.Prerouting(capture.Packet{Source: netip.AddrPortFrom(c.src, 0), Destination: c.dst})
		if v.Redirect != 0 {
			h := w.hop(p, "inbound")
			h.Capture = v.Rule
			return w.through(h, p, v.Redirect, c)
		}
		if listensAt(p.Snapshot, c.dst) {
			return w.through(w.hop(p, "inbound"), p, c.dst.Port(), c)
		}
	}
	w.answers(p)
	return nil
}

// hop adds a proxy to the way.
func (w *walk) hop(p *Peer, role string) *Hop {
	h := &Hop{Role: role, Pod: p.Name, Workload: p.Workload, Flags: []string{},
		Chains: []Chain{}, Policies: []Policy{}, RateLimits: []RateLimit{}, Routes: []Rule{}, Clusters: []Cluster{}, Mirrors: []Mirror{}, Changes: []string{}}
	w.way.Hops = append(w.way.Hops, h)
	return h
}

// answers notes a workload whose application gets the request.
func (w *walk) answers(p *Peer) {
	if !slices.Contains(w.way.Workloads, p.Workload) {
		w.way.Workloads = append(w.way.Workloads, p.Workload)
	}
}

func orText(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
