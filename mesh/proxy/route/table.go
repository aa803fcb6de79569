// Package route finds the route of a request.
//
// In: a snapshot.RouteConfig and requests. Out: the virtual host, the rule, the
// weighted cluster. It keeps no state: every draw is made from a key that the
// caller brings. It must not import anything that does I/O.
package route

import (
	"slices"
	"strconv"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// Table is a route configuration compiled for matching. It does not change.
type Table struct {
	Config *snapshot.RouteConfig

	exact  map[string]*VirtualHost
	suffix wildcards // "*.example.com", keyed by ".example.com"
	prefix wildcards // "example.*", keyed by "example."
	any    *VirtualHost
	all    []*VirtualHost
}

// VirtualHost is a virtual host with its rules in matching order.
type VirtualHost struct {
	*snapshot.VirtualHost
	Rules []*Rule
}

// Rule is one route of a virtual host.
type Rule struct {
	*snapshot.Route
	// total is the sum of the cluster weights.
	total uint64
	// salt keeps the draws of one rule apart from those of all others.
	salt seed.Seed
}

// wildcards are the domains of one kind, longest first.
type wildcards struct {
	hosts   map[string]*VirtualHost
	lengths []int
}

func (w *wildcards) add(key string, vh *VirtualHost) {
	if w.hosts == nil {
		w.hosts = map[string]*VirtualHost{}
	}
	if _, taken := w.hosts[key]; taken {
		return
	}
	w.hosts[key] = vh
	if !slices.Contains(w.lengths, len(key)) {
		w.lengths = append(w.lengths, len(key))
		slices.SortFunc(w.lengths, func(a, b int) int { return b - a })
	}
}

// Compile makes the table of a configuration. Where two virtual hosts claim one
// domain (which xDS compilers refuse), the first has it.
func Compile(c *snapshot.RouteConfig) *Table {
	t := &Table{Config: c, exact: map[string]*VirtualHost{}}
	for _, host := range c.VirtualHosts {
		vh := &VirtualHost{VirtualHost: host}
		for i, r := range host.Routes {
			vh.Rules = append(vh.Rules, newRule(r, c.Name+"/"+host.Name+"/"+strconv.Itoa(i)))
		}
		t.all = append(t.all, vh)
		for _, domain := range host.Domains {
			t.add(strings.ToLower(domain), vh)
		}
	}
	return t
}

// VirtualHosts are all virtual hosts in the order of the configuration.
func (t *Table) VirtualHosts() []*VirtualHost { return t.all }

func newRule(r *snapshot.Route, label string) *Rule {
	rule := &Rule{Route: r, salt: seed.Seed{}.Sub(label)}
	if r.Forward != nil {
		for i := range r.Forward.Clusters {
			rule.total += uint64(r.Forward.Clusters[i].Weight)
		}
	}
	return rule
}

func (t *Table) add(domain string, vh *VirtualHost) {
	switch {
	case domain == "*":
		if t.any == nil {
			t.any = vh
		}
	case strings.HasPrefix(domain, "*"):
		t.suffix.add(domain[1:], vh)
	case strings.HasSuffix(domain, "*"):
		t.prefix.add(domain[:len(domain)-1], vh)
	default:
		if _, taken := t.exact[domain]; !taken {
			t.exact[domain] = vh
		}
	}
}

// VirtualHost returns the virtual host of an authority, or nil. The search is
// Envoy's: the exact name, the longest suffix wildcard, the longest prefix
// wildcard, the catch-all. A wildcard stands for at least one character. Case is
// ignored, and the port too where the configuration says so.
func (t *Table) VirtualHost(authority string) *VirtualHost {
	host := lower(authority)
	if t.Config.IgnorePort {
		host = withoutPort(host)
	}
	if vh, ok := t.exact[host]; ok {
		return vh
	}
	for _, n := range t.suffix.lengths {
		if n < len(host) {
			if vh, ok := t.suffix.hosts[host[len(host)-n:]]; ok {
				return vh
			}
		}
	}
	for _, n := range t.prefix.lengths {
		if n < len(host) {
			if vh, ok := t.prefix.hosts[host[:n]]; ok {
				return vh
			}
		}
	}
	return t.any
}

// lower lower-cases ASCII, without an allocation where there is nothing to do.
func lower(s string) string {
	for i := range len(s) {
		if c := s[i]; c >= 'A' && c <= 'Z' {
			return strings.ToLower(s)
		}
	}
	return s
}

// withoutPort cuts ":80" off "host:80" and "[::1]:80".
func withoutPort(host string) string {
	colon := strings.LastIndexByte(host, ':')
	if colon < 0 || strings.LastIndexByte(host, ']') > colon {
		return host
	}
	for _, c := range host[colon+1:] {
		if c < '0' || c > '9' {
			return host
		}
	}
	return host[:colon]
}

// Match returns the virtual host of a request and the first of its rules that
// matches. Either may be nil. key is the request's draw (see Key), known what filters have
// found out.
func (t *Table) Match(r *message.Request, key uint64, known Metadata) (*VirtualHost, *Rule) {
	vh := t.VirtualHost(r.Authority)
	if vh == nil {
		return nil, nil
	}
	path, query := SplitPath(r.Path)
	for _, rule := range vh.Rules {
		if matchesPath(&rule.Route.Match, r, path) && rule.matches(r, query, key, known) {
			return vh, rule
		}
	}
	return vh, nil
}

// Key is the number that all draws about a request are made from. It depends on
// the request's id and its start, so that it is the same however goroutines
// interleave, and differs between calls that an application makes with one
// propagated x-request-id. Requests without an id are told apart by their connection.
func Key(s seed.Seed, r *message.Request) uint64 {
	id := s.Uint64(r.Header.Get("x-request-id"))
	if r.Stream == nil {
		return id
	}
	key := s.At(id ^ uint64(r.Stream.Start.UnixNano()))
	if r.Stream.Conn != nil && !r.Header.Has("x-request-id") {
		key = s.At(key ^ r.Stream.Conn.ID)
	}
	return key
}

// Draw is the draw in [0, 2^64) that belongs to this rule, the request's key and
// a purpose: 0 is the weighted cluster, 1 the runtime fraction, others are the caller's.
func (r *Rule) Draw(key uint64, purpose uint64) uint64 {
	return r.salt.At(key + purpose*0x9e3779b97f4a7c15)
}

// Draws that a rule makes.
const (
	drawCluster  = 0
	drawFraction = 1
)

// Percent tells whether a draw falls below a percentage in [0, 100].
func Percent(draw uint64, percent float64) bool {
	return float64(draw>>11)/(1<<53)*100 < percent
}

// Cluster returns the weighted destination of a request, or nil where the rule
// names none (it forwards by header, or weights sum to nothing).
func (r *Rule) Cluster(key uint64) *snapshot.WeightedCluster {
	clusters := r.Forward.Clusters
	if len(clusters) == 1 {
		return &clusters[0]
	}
	if r.total == 0 {
		return nil
	}
	n := r.Draw(key, drawCluster) % r.total
	for i := range clusters {
		w := uint64(clusters[i].Weight)
		if n < w {
			return &clusters[i]
		}
		n -= w
	}
	return nil
}
