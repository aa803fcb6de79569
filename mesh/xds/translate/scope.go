package translate

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// scope is what the proxies of one namespace see, or those that one Sidecar selects.
type scope struct {
	namespace string
	router    bool
	sidecar   *model.SidecarScope
	allowAny  bool
	anyByName bool             // HTTP that nothing matches goes where its Host leads
	services  []*model.Service // one per host, by host
	byHost    map[string]*model.Service
	policies  map[*model.Service]*model.DestinationRule
	virtual   []*model.VirtualService // for sidecars; oldest first
	exact     map[string]*model.VirtualService
	wild      []*model.VirtualService // with wildcard hosts
	// attached are those of the Gateway API; the namespace's own come first.
	attached map[string][]*model.VirtualService
	// labels are those that routes look at on the client.
	labels []string
	// views are what single ports know, and the last one what all the others do; nil: the
	// scope is for all.
	views []view
	// key stands for all of the above, endpoints excepted.
	key string
}

func (t *Translator) scopeOf(n model.Node) *scope {
	s := &scope{namespace: n.Namespace, router: n.Type == model.Router, allowAny: t.mesh.Settings.AllowAny,
		anyByName: t.mesh.Settings.AnyByName && n.Type != model.Router}
	name := ""
	if !s.router {
		if s.sidecar = t.mesh.Scope(n.Namespace, n.Labels); s.sidecar != nil {
			name = s.sidecar.Namespace + "/" + s.sidecar.Name
		}
	}
	id := n.Type + "|" + n.Namespace + "|" + name
	for _, k := range t.mesh.PolicyLabels(n.Namespace) {
		v, ok := n.Labels[k]
		id += fmt.Sprintf("|%q=%q,%v", k, v, ok)
	}
	if known := t.scopes[id]; known != nil {
		return known
	}
	if s.sidecar != nil && s.sidecar.AllowAny != nil {
		s.allowAny, s.anyByName = *s.sidecar.AllowAny, false
	}
	t.seeServices(s, n.Labels, s.imported)
	t.seeRoutes(s)
	t.seeListeners(s, n.Labels)
	t.nameScope(s)
	t.scopes[id] = s
	return s
}

// seeServices picks one service per host: Kubernetes' own before a ServiceEntry's, the
// namespace's before exported ones, the older before the newer. Those that are imported
// may have fewer ports then.
func (t *Translator) seeServices(s *scope, labels map[string]string, imported func(*Translator, *model.Service) *model.Service) {
	s.byHost = map[string]*model.Service{}
	s.policies = map[*model.Service]*model.DestinationRule{}
	for _, service := range t.mesh.Services {
		if service.Namespace != s.namespace && !service.Export.To(s.namespace) {
			continue
		}
		if service = imported(t, service); service == nil {
			continue
		}
		if have := s.byHost[service.Host]; have != nil && !precedes(service, have, s.namespace) {
			continue
		}
		s.byHost[service.Host] = service
	}
	for _, host := range slices.Sorted(maps.Keys(s.byHost)) {
		service := s.byHost[host]
		s.services = append(s.services, service)
		if d := t.mesh.Policy(s.namespace, labels, service); d != nil {
			s.policies[service] = d
		}
	}
}

// precedes tells whether a service takes the place of an older one of its host.
func precedes(s, older *model.Service, namespace string) bool {
	if s.Kubernetes != older.Kubernetes {
		return s.Kubernetes
	}
	return s.Namespace == namespace && older.Namespace != namespace
}

func (t *Translator) seeRoutes(s *scope) {
	s.exact = map[string]*model.VirtualService{}
	s.attached = map[string][]*model.VirtualService{}
	labels := map[string]bool{}
	for _, v := range t.mesh.Virtual {
		if v.Namespace != s.namespace && !v.Export.To(s.namespace) || s.router {
			continue
		}
		if !boundAnywhere(v, model.MeshGateway) || !imports(s.sidecar, v) {
			continue
		}
		s.virtual = append(s.virtual, v)
		if v.GatewayAPI {
			s.attach(v)
			continue
		}
		wild := false
		for _, h := range v.Hosts {
			if model.IsWildcard(h) {
				wild = true
			} else if s.exact[h] == nil {
				s.exact[h] = v
			}
		}
		if wild {
			s.wild = append(s.wild, v)
		}
		collectLabels(v, labels)
	}
	s.labels = slices.Sorted(maps.Keys(labels))
}

// boundAnywhere also looks at the gateways that single matches name.
func boundAnywhere(v *model.VirtualService, gateway string) bool {
	if v.Bound(gateway) {
		return true
	}
	for _, r := range v.HTTP {
		for _, m := range r.Matches {
			if slices.Contains(m.Gateways, gateway) {
				return true
			}
		}
	}
	for _, m := range connectionMatches(v) {
		if slices.Contains(m.Gateways, gateway) {
			return true
		}
	}
	return false
}

// connectionMatches are all matches of tls and tcp rules.
func connectionMatches(v *model.VirtualService) []*model.ConnectionMatch {
	var list []*model.ConnectionMatch
	for _, r := range v.TLS {
		for _, m := range r.Matches {
			list = append(list, &m.ConnectionMatch)
		}
	}
	for _, r := range v.TCP {
		list = append(list, r.Matches...)
	}
	return list
}

func imports(s *model.SidecarScope, v *model.VirtualService) bool {
	for _, h := range v.Hosts {
		if s.Imports(v.Namespace, h) {
			return true
		}
	}
	return false
}

func collectLabels(v *model.VirtualService, labels map[string]bool) {
	for _, r := range v.HTTP {
		for _, m := range r.Matches {
			for k := range m.SourceLabels {
				labels[k] = true
			}
		}
	}
	for _, m := range connectionMatches(v) {
		for k := range m.SourceLabels {
			labels[k] = true
		}
	}
}

// nameScope hashes the numbers of everything that the scope has.
func (t *Translator) nameScope(s *scope) {
	h := sha256.New()
	fmt.Fprintf(h, "%s %v %v %v %s\n", s.namespace, s.router, s.allowAny, s.anyByName, s.unknown())
	for _, service := range s.services {
		fmt.Fprint(h, t.id(service))
		if d := s.policies[service]; d != nil {
			fmt.Fprint(h, "+"+t.id(d))
		}
		if service.Headless { // its listeners are made of its endpoints
			fmt.Fprint(h, "@"+t.id(service.Endpoints))
		}
		fmt.Fprint(h, "\n")
	}
	for _, v := range s.virtual {
		fmt.Fprint(h, "v"+t.id(v))
	}
	if s.views != nil {
		fmt.Fprintf(h, "listeners %v %v", s.sidecar.Listeners, s.sidecar.Egress)
	}
	s.key = hex.EncodeToString(h.Sum(nil)[:12])
}

// virtualFor returns the VirtualService that routes a host for sidecars: an exact
// host's oldest, else the one with the most specific wildcard.
func (s *scope) virtualFor(host string) *model.VirtualService {
	if v := s.exact[host]; v != nil {
		return v
	}
	var best *model.VirtualService
	length := 0
	for _, v := range s.wild {
		for _, h := range v.Hosts {
			if model.IsWildcard(h) && model.MatchesWildcard(h, host) && len(h) > length {
				best, length = v, len(h)
			}
		}
	}
	return best
}

// clientLabels are those of the proxy's labels that routes look at.
func (p *proxy) clientLabels() string {
	var b strings.Builder
	for _, k := range p.scope.labels {
		fmt.Fprintf(&b, "%q=%q,", k, p.node.Labels[k])
	}
	return b.String()
}
