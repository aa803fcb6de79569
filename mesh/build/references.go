package build

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// references checks that what objects name is there.
func (b *builder) references() {
	for _, v := range b.parts.Virtual {
		for _, r := range v.HTTP {
			for _, d := range r.Routes {
				b.checkDestination(d)
			}
			for _, m := range r.Mirrors {
				b.checkDestination(m.Destination)
			}
		}
		for _, r := range v.TLS {
			for _, d := range r.Routes {
				b.checkDestination(d)
			}
		}
		for _, r := range v.TCP {
			for _, d := range r.Routes {
				b.checkDestination(d)
			}
		}
		b.checkGatewayHosts(v)
	}
	for _, s := range b.parts.Sidecars {
		if s.EgressProxy != nil {
			b.checkDestination(s.EgressProxy)
		}
	}
	for _, d := range b.parts.Policies {
		b.checkPolicy(d)
	}
}

func (b *builder) checkDestination(d *model.Destination) {
	at := b.origin.paths[d]
	services := b.matching(d.Host)
	if len(services) == 0 {
		b.report(at.object, config.Warning, CodeUnknownHost, at.path+".host",
			fmt.Sprintf("no service has the host %q: requests would be answered with 503", d.Host), suggestHost(d.Host, b.visible))
		return
	}
	s := services[0]
	switch {
	case d.Port != 0 && s.Port(d.Port) == nil:
		b.report(at.object, config.Warning, CodeUnknownPort, at.path+".port.number",
			fmt.Sprintf("service %q has no port %d: it has %s", s.Host, d.Port, portList(s)), "")
	case d.Port == 0 && len(s.Ports) > 1:
		// Istio's analysis calls it an error, and istiod takes it.
		b.report(at.object, config.Warning, CodePortRequired, at.path,
			fmt.Sprintf("service %q has several ports (%s): requests go to the one whose number they were sent to, and are answered with 503 where it has none such", s.Host, portList(s)),
			"write port.number below the destination")
	}
	if d.Subset == "" {
		return
	}
	for _, p := range b.parts.Policies {
		if model.MatchesWildcard(p.Host, d.Host) && p.Subset(d.Subset) != nil {
			return
		}
	}
	b.report(at.object, config.Warning, CodeUnknownSubset, at.path+".subset",
		fmt.Sprintf("no DestinationRule defines the subset %q of %q: requests would be answered with 503", d.Subset, d.Host),
		"add the subset to a DestinationRule for the host")
}

// matching returns the services of a host, or below a wildcard one that covers it.
func (b *builder) matching(host string) []*model.Service {
	if list := b.visible[host]; len(list) > 0 {
		return list
	}
	for _, h := range slices.Sorted(maps.Keys(b.visible)) {
		if model.IsWildcard(h) && model.MatchesWildcard(h, host) {
			return b.visible[h]
		}
	}
	return nil
}

func portList(s *model.Service) string {
	var list []string
	for _, p := range s.Ports {
		list = append(list, fmt.Sprint(p.Number))
	}
	return strings.Join(list, ", ")
}

// suggestHost finds a service whose short name is the same, or nearly so.
func suggestHost(host string, known map[string][]*model.Service) string {
	want, _, _ := strings.Cut(host, ".")
	for _, h := range slices.Sorted(maps.Keys(known)) {
		short, _, _ := strings.Cut(h, ".")
		if short == want || near(short, want) {
			return fmt.Sprintf("did you mean %q?", h)
		}
	}
	return ""
}

// near reports whether one letter was left out, added or exchanged.
func near(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 || len(a) < 3 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) == len(b) {
		return i == len(a) || a[i+1:] == b[i+1:] || i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
	}
	return a[i:] == b[i+1:]
}

func (b *builder) checkPolicy(d *model.DestinationRule) {
	o := b.origin.policies[d]
	var services []*model.Service
	for _, h := range slices.Sorted(maps.Keys(b.visible)) {
		if model.Overlaps(d.Host, h) {
			services = append(services, b.visible[h]...)
		}
	}
	if len(services) == 0 {
		b.report(o, config.Warning, CodePolicyHost, "spec.host",
			fmt.Sprintf("no service has the host %q: the rule has no effect", d.Host), suggestHost(d.Host, b.visible))
		return
	}
	for i, s := range d.Subsets {
		if len(s.Labels) > 0 && !anyEndpoint(services, s.Labels) && hasEndpoints(services) {
			severity, text := config.Info, fmt.Sprintf("no endpoint of %q has the labels of subset %q", d.Host, s.Name)
			if b.routed(d.Host, s.Name) {
				severity, text = config.Warning, text+": requests that are routed to it are answered with 503"
			}
			b.report(o, severity, CodeEmptySubset, fmt.Sprintf("spec.subsets[%d]", i), text, "")
		}
	}
}

// routed reports whether a route leads to a subset.
func (b *builder) routed(host, subset string) bool {
	for d := range b.origin.paths {
		if d.Subset == subset && model.MatchesWildcard(host, d.Host) {
			return true
		}
	}
	return false
}

func anyEndpoint(services []*model.Service, labels map[string]string) bool {
	for _, s := range services {
		for _, list := range s.Endpoints.ByPort {
			for _, e := range list {
				if e.Carries(labels) {
					return true
				}
			}
		}
	}
	return false
}

func hasEndpoints(services []*model.Service) bool { return anyEndpoint(services, nil) }

// checkGatewayHosts reports hosts that none of a VirtualService's gateways serves.
func (b *builder) checkGatewayHosts(v *model.VirtualService) {
	for i, h := range v.Hosts {
		known, served := false, v.Bound(model.MeshGateway)
		for _, g := range b.parts.Gateways {
			if !v.Bound(g.Ref()) {
				continue
			}
			known = true
			for _, s := range g.Servers {
				if _, ok := s.Admits(v.Namespace, h); ok {
					served = true
				}
			}
		}
		if known && !served {
			b.report(b.origin.virtual[v], config.Warning, CodeGatewayHost, fmt.Sprintf("spec.hosts[%d]", i),
				fmt.Sprintf("none of the gateways serves the host %q", h), "add it to the Gateway's hosts")
		}
	}
	if len(v.Gateways) > 1 {
		b.checkIdleGateways(v)
	}
}

// checkIdleGateways reports gateways that serve none of a VirtualService's hosts, beside
// others that do.
func (b *builder) checkIdleGateways(v *model.VirtualService) {
	for i, ref := range v.Gateways {
		at := slices.IndexFunc(b.parts.Gateways, func(g *model.Gateway) bool { return g.Ref() == ref })
		if at < 0 {
			continue
		}
		serves := slices.ContainsFunc(b.parts.Gateways[at].Servers, func(s *model.Server) bool {
			return slices.ContainsFunc(v.Hosts, func(h string) bool {
				_, ok := s.Admits(v.Namespace, h)
				return ok
			})
		})
		if !serves {
			b.report(b.origin.virtual[v], config.Warning, CodeGatewayHost, fmt.Sprintf("spec.gateways[%d]", i),
				fmt.Sprintf("gateway %q serves none of the hosts: the rules have no effect there", ref), "add a host to the Gateway's hosts, or leave the gateway out")
		}
	}
}

// selectors reports objects that select workloads, and match none. Where there are
// no Pods at all (files on a disk) nothing can be said.
func (b *builder) selectors() {
	if len(b.parts.Workloads) == 0 {
		return
	}
	for _, g := range b.parts.Gateways {
		if !b.anyWorkload("", g.Selector) {
			b.noWorkload(b.origin.gateways[g.Ref()], "spec.selector", "", g.Selector)
		}
	}
	for _, o := range b.view.Of("Sidecar") {
		if s, ok := o.Value.(*networkingv1.Sidecar); ok {
			if labels := s.Spec.GetWorkloadSelector().GetLabels(); len(labels) > 0 && !b.anyWorkload(o.Namespace, labels) {
				b.noWorkload(o, "spec.workloadSelector", o.Namespace, labels)
			}
		}
	}
	for _, d := range b.parts.Policies {
		if d.Selector != nil && !b.anyWorkload(d.Namespace, d.Selector) {
			b.noWorkload(b.origin.policies[d], "spec.workloadSelector", d.Namespace, d.Selector)
		}
	}
	for _, p := range b.parts.Peers {
		if p.Selector != nil && !b.anyWorkload(p.Namespace, p.Selector) {
			if o := b.view.Get("PeerAuthentication", p.Namespace, p.Name); o != nil {
				b.noWorkload(o, "spec.selector", p.Namespace, p.Selector)
			}
		}
	}
	b.authorizationSelectors()
	b.proxyConfigSelectors()
}

func (b *builder) noWorkload(o *config.Object, path, namespace string, labels map[string]string) {
	where := ""
	if namespace != "" {
		where = " in namespace " + namespace
	}
	var words []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		words = append(words, k+"="+labels[k])
	}
	b.report(o, config.Warning, CodeNoWorkload, path, fmt.Sprintf("no Pod%s has the labels %s", where, strings.Join(words, ", ")), "")
}

func (b *builder) anyWorkload(namespace string, labels map[string]string) bool {
	for _, w := range b.parts.Workloads {
		if (namespace == "" || w.Namespace == namespace) && model.Selects(labels, w.Labels) {
			return true
		}
	}
	return false
}
