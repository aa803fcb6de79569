// Package diff tells how the behaviour of a mesh changes between two configurations:
// it derives requests from what both of them say about requests, and compares the ways
// that each of them gives each request.
//
// In: objects, and explain's Ways. Out: Probes, Changes, and reports of them. It must
// not import worlds, xDS or build.
package diff

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"
	networkingk8sv1 "k8s.io/api/networking/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// Probe is a request that is asked about in both configurations, from every client.
type Probe struct {
	Ingress bool // it comes in through the gateway; else from workloads
	Method  string
	URL     string
	Headers map[string]string
	Token   *Token // nil: none
}

// key tells probes apart.
func (p Probe) key() string {
	var b strings.Builder
	fmt.Fprint(&b, p.Ingress, " ", p.Method, " ", p.URL)
	for _, k := range slices.Sorted(maps.Keys(p.Headers)) {
		fmt.Fprintf(&b, " %s: %s", k, p.Headers[k])
	}
	if p.Token != nil {
		fmt.Fprintf(&b, " %s", p.Token.key())
	}
	return b.String()
}

// limit is how many probes there may be: beyond it nobody reads the answer.
const limit = 5000

// Probes derives requests from the objects of all configurations: one for each port of
// each Service, and one for each match and each of its boundaries, of routes and of
// policies. The order is that of their text. An error says that there are too many.
func Probes(objects []*config.Object) ([]Probe, error) {
	d := &derivation{seen: map[string]bool{}, extras: []variant{{method: "GET", path: "/"}}, issuers: issuers(objects)}
	if len(d.issuers) > 0 {
		d.extras = append(d.extras, strangers()...)
	}
	for _, o := range objects {
		switch v := o.Value.(type) {
		case *securityv1.AuthorizationPolicy:
			d.policy(v)
		case *networkingv1.VirtualService:
			if len(v.Spec.GetHosts()) == 0 {
				d.extras = append(d.extras, variants(&v.Spec)...) // a delegate, of whatever host
			}
		}
	}
	for _, o := range objects {
		switch v := o.Value.(type) {
		case *corev1.Service:
			d.service(o, v)
		case *networkingv1.ServiceEntry:
			d.entry(v)
		}
	}
	for _, o := range objects {
		if v, ok := o.Value.(*networkingv1.VirtualService); ok {
			d.routes(o, &v.Spec, objects)
		}
		if i, ok := o.Value.(*networkingk8sv1.Ingress); ok {
			d.ingress(i)
		}
		if r := apiRouteOf(o); r != nil {
			d.apiRoutes(r, objects)
		}
	}
	if len(d.probes) > limit {
		return nil, fmt.Errorf("%d requests would have to be compared, more than %d: compare smaller configurations", len(d.probes), limit)
	}
	slices.SortFunc(d.probes, func(a, b Probe) int { return cmp.Compare(a.key(), b.key()) })
	return d.probes, nil
}

// variant is a request without its host.
type variant struct {
	method, path, authority string
	headers                 map[string]string
	claims                  []claim // of a token; nil: there is none
}

type derivation struct {
	probes []Probe
	seen   map[string]bool
	extras []variant // that every host is asked with
	bases  []target
	// issuers are the tokens that somebody looks at.
	issuers []Token
}

// target is a host and port that workloads call.
type target struct {
	host, namespace string
	port            uint32
}

func (t target) url() string { return fmt.Sprintf("http://%s:%d", t.host, t.port) }

func (d *derivation) add(ingress bool, base string, v variant) {
	p := Probe{Ingress: ingress, Method: v.method, URL: base + v.path, Headers: v.headers}
	if v.authority != "" {
		p.Headers = maps.Clone(v.headers)
		if p.Headers == nil {
			p.Headers = map[string]string{}
		}
		p.Headers["Host"] = v.authority
	}
	if v.claims == nil || len(d.issuers) == 0 {
		d.once(p)
		return
	}
	for _, issuer := range d.issuers {
		if p.Token = issuer.with(v.claims, d.issuers); p.Token != nil {
			d.once(p)
		}
	}
}

func (d *derivation) once(p Probe) {
	if k := p.key(); !d.seen[k] {
		d.seen[k] = true
		d.probes = append(d.probes, p)
	}
}

func (d *derivation) base(t target) {
	d.bases = append(d.bases, t)
	for _, v := range d.extras {
		d.add(false, t.url(), v)
	}
}

func (d *derivation) service(o *config.Object, s *corev1.Service) {
	for _, p := range s.Spec.Ports {
		if p.Protocol == "" || p.Protocol == corev1.ProtocolTCP {
			d.base(target{o.Name + "." + o.Namespace, o.Namespace, uint32(p.Port)})
		}
	}
}

func (d *derivation) entry(e *networkingv1.ServiceEntry) {
	for _, h := range e.Spec.GetHosts() {
		for _, p := range e.Spec.GetPorts() {
			if !strings.HasPrefix(h, "*") && strings.HasPrefix(strings.ToUpper(p.GetProtocol()), "HTTP") && !strings.EqualFold(p.GetProtocol(), "HTTPS") {
				d.base(target{h, "", p.GetNumber()})
			}
		}
	}
}

// policy makes variants of the operations of a policy, and of their neighbours.
func (d *derivation) policy(p *securityv1.AuthorizationPolicy) {
	for _, r := range p.Spec.GetRules() {
		claims := ruleClaims(r)
		if len(r.GetTo()) == 0 {
			d.extras = append(d.extras, claimVariants(variant{method: "GET", path: "/"}, claims)...)
		}
		for _, t := range r.GetTo() {
			methods := append(slices.Clone(t.GetOperation().GetMethods()), t.GetOperation().GetNotMethods()...)
			for _, method := range append(methods, "GET", "POST") {
				for _, path := range append(append([]string{"/"}, t.GetOperation().GetPaths()...), t.GetOperation().GetNotPaths()...) {
					if path = strings.ReplaceAll(strings.ReplaceAll(path, "*", "x"), "{x}", "x"); strings.HasPrefix(path, "/") {
						v := variant{method: method, path: path}
						d.extras = append(append(d.extras, v), claimVariants(v, claims)...)
					}
				}
			}
		}
		for _, w := range r.GetWhen() {
			if name, ok := strings.CutPrefix(w.GetKey(), "request.headers["); ok {
				for _, value := range append(slices.Clone(w.GetValues()), w.GetNotValues()...) {
					d.extras = append(d.extras, variant{method: "GET", path: "/", headers: map[string]string{strings.TrimSuffix(name, "]"): strings.Trim(value, "*")}})
				}
			}
		}
	}
}

// routes asks each of a VirtualService's hosts with its variants.
func (d *derivation) routes(o *config.Object, v *networkingpb.VirtualService, objects []*config.Object) {
	list := append(variants(v), d.extras...)
	for _, host := range v.GetHosts() {
		mesh := len(v.GetGateways()) == 0 || slices.Contains(v.GetGateways(), "mesh")
		for _, t := range d.bases {
			if mesh && named(host, o.Namespace, t) {
				for _, v := range list {
					d.add(false, t.url(), v)
				}
			}
		}
		for _, base := range entrances(o, v, host, objects) {
			for _, v := range list {
				d.add(true, base, v)
			}
		}
	}
}

// named reports whether a VirtualService's host is a target's.
func named(host, namespace string, t target) bool {
	if !strings.Contains(host, ".") {
		return t.namespace == namespace && t.host == host+"."+namespace
	}
	if suffix, ok := strings.CutPrefix(host, "*"); ok {
		return strings.HasSuffix(t.host, suffix) || strings.HasSuffix(t.host+".svc.cluster.local", suffix)
	}
	return host == t.host || host == t.host+".svc.cluster.local" || host == t.host+".svc"
}

// entrances are the URLs by which a host is called from outside.
func entrances(o *config.Object, v *networkingpb.VirtualService, host string, objects []*config.Object) []string {
	host = strings.Replace(host, "*.", "any.", 1)
	if host == "*" {
		host = "any.example"
	}
	var list []string
	for _, g := range objects {
		gateway, ok := g.Value.(*networkingv1.Gateway)
		if !ok || !slices.ContainsFunc(v.GetGateways(), func(n string) bool {
			return n == g.Namespace+"/"+g.Name || n == g.Name && g.Namespace == o.Namespace
		}) || gateway.Spec.GetSelector()["istio"] != "ingressgateway" {
			continue
		}
		for _, s := range gateway.Spec.GetServers() {
			switch s.GetPort().GetProtocol() {
			case "HTTP", "HTTP2", "GRPC":
				list = append(list, "http://"+host)
			case "HTTPS":
				list = append(list, "https://"+host)
			}
		}
	}
	return list
}
