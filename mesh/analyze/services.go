package analyze

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

func sortedPorts(ports map[uint32]bool) []uint32 { return slices.Sorted(maps.Keys(ports)) }

// tlsModeLabel is on Pods with sidecars.
const tlsModeLabel = "security.istio.io/tlsMode"

// claim is a port of a service at one workload.
type claim struct {
	service *model.Service
	port    *model.Port
}

// serviceConflicts finds workloads in several Services that disagree about a port: a
// sidecar has one filter chain per port, so that one of the protocols holds for both.
func (a *analysis) serviceConflicts() {
	reported := map[string]bool{}
	workloads := slices.Clone(a.workloads)
	slices.SortStableFunc(workloads, func(v, w *model.Workload) int { // those with sidecars first: it is about them
		return -cmp.Compare(v.Labels[tlsModeLabel], w.Labels[tlsModeLabel])
	})
	for _, w := range workloads {
		numbers, targets := map[uint32]claim{}, map[uint32]claim{}
		for _, s := range a.mesh.Services {
			if !s.Kubernetes || s.Namespace != w.Namespace || len(s.Selector) == 0 || !model.Selects(s.Selector, w.Labels) {
				continue
			}
			for i, p := range s.Ports {
				a.conflict(reported, w, numbers, p.Number, claim{s, p}, i, CodeServiceProtocol, "port")
				if p.Target != 0 {
					a.conflict(reported, w, targets, p.Target, claim{s, p}, i, CodeServiceTarget, "targetPort")
				}
			}
		}
	}
}

// alike reports whether a sidecar makes the same of two protocols: TLS that it does not
// end is a stream of bytes to it, whatever is inside.
func alike(a, b model.Protocol) bool {
	opaque := []model.Protocol{model.TCP, model.TLS, model.HTTPS}
	return a == b || slices.Contains(opaque, a) && slices.Contains(opaque, b)
}

func (a *analysis) conflict(reported map[string]bool, w *model.Workload, seen map[uint32]claim, n uint32, c claim, i int, code, field string) {
	first, ok := seen[n]
	if !ok {
		seen[n] = c
		return
	}
	key := fmt.Sprint(code, c.service.Host, i)
	o := a.view.Get("Service", c.service.Namespace, c.service.Name)
	if alike(first.port.Protocol, c.port.Protocol) || first.service == c.service && code == CodeServiceProtocol || o == nil || reported[key] {
		return
	}
	if code == CodeServiceTarget && first.port.Number == c.port.Number {
		return // that is told of the port
	}
	reported[key] = true
	a.report(o, config.Warning, code, fmt.Sprintf("spec.ports[%d].%s", i, field),
		fmt.Sprintf("%s %d of workload %s is %s here and %s in Service %s: its sidecar can only have one of them", field, n, w.Workload, c.port.Protocol, first.port.Protocol, first.service.Name),
		"give both ports one protocol, by their names or appProtocol")
}

// portNames tells of ports whose protocol nobody declared. It is sniffed, which works
// unless the server speaks first.
func (a *analysis) portNames() {
	for _, s := range a.mesh.Services {
		o := a.view.Get("Service", s.Namespace, s.Name)
		if !s.Kubernetes || o == nil {
			continue
		}
		spec, ok := o.Value.(*corev1.Service)
		if !ok {
			continue
		}
		for i, p := range spec.Spec.Ports {
			port := s.Port(uint32(p.Port))
			switch {
			case port == nil:
				continue
			case spec.Spec.Type == corev1.ServiceTypeExternalName && (port.Protocol == model.Auto || port.Protocol == model.TCP):
				a.report(o, config.Warning, CodeExternalNamePort, fmt.Sprintf("spec.ports[%d]", i),
					fmt.Sprintf("port %d (%q) of another name for %s has no protocol by which its connections are told: there is no address, so they are told by the port alone",
						p.Port, p.Name, spec.Spec.ExternalName), `name it "http-…", "https-…", "tls-…", or set appProtocol`)
				continue
			case port.Protocol != model.Auto:
				continue
			}
			a.report(o, config.Info, CodePortName, fmt.Sprintf("spec.ports[%d]", i),
				fmt.Sprintf("the protocol of port %d (%q) is not declared, so it is sniffed", p.Port, p.Name), `name it "http-…", "grpc-…", "tcp-…", or set appProtocol`)
		}
	}
}

// serviceEntries finds entries for TCP that no connection can be told by, and hosts
// with two protocols on one port.
func (a *analysis) serviceEntries() {
	type port struct {
		host   string
		number uint32
	}
	type first struct {
		protocol, by string
		seen         []string // nil: everywhere
	}
	seen := map[port][]first{}
	each(a, "ServiceEntry", func(o *config.Object, e *networkingv1.ServiceEntry) {
		visible := visibleIn(e.Spec.GetExportTo(), o.Namespace)
		for i, p := range e.Spec.GetPorts() {
			protocol := strings.ToUpper(p.GetProtocol())
			at := fmt.Sprintf("spec.ports[%d]", i)
			if (protocol == "TCP" || protocol == "") && len(e.Spec.GetAddresses())+len(e.Status.GetAddresses()) == 0 && !a.allocated(o.Namespace, e.Spec.GetHosts()) {
				a.report(o, config.Warning, CodeEntryAddresses, at,
					fmt.Sprintf("port %d is TCP and the entry has no addresses: it takes the connections to any address on that port", p.GetNumber()),
					"add addresses, or a protocol by which the host can be told (HTTP, TLS), or have sidecars answer DNS (ISTIO_META_DNS_CAPTURE)")
			}
			for _, h := range e.Spec.GetHosts() {
				k := port{strings.ToLower(h), p.GetNumber()}
				if i := slices.IndexFunc(seen[k], func(f first) bool { return f.protocol != protocol && meet(f.seen, visible) }); i >= 0 {
					a.report(o, config.Warning, CodeEntryProtocol, at,
						fmt.Sprintf("port %d of %q is %s here and %s in ServiceEntry %s", p.GetNumber(), h, protocol, seen[k][i].protocol, seen[k][i].by), "")
				}
				seen[k] = append(seen[k], first{protocol, o.Namespace + "/" + o.Name, visible})
			}
		}
	})
}

// allocated tells whether the hosts of a ServiceEntry have addresses by which all sidecars
// tell them.
func (a *analysis) allocated(namespace string, hosts []string) bool {
	return a.answersDNS && !slices.ContainsFunc(hosts, func(h string) bool {
		s := a.mesh.Service(strings.ToLower(h), namespace)
		return s == nil || len(s.Allocated) == 0
	})
}

// visibleIn are the namespaces of an exportTo list; nil: all.
func visibleIn(exportTo []string, namespace string) []string {
	if len(exportTo) == 0 || slices.Contains(exportTo, "*") {
		return nil
	}
	list := []string{}
	for _, e := range exportTo {
		if e == "." {
			e = namespace
		}
		list = append(list, e)
	}
	return list
}

// meet reports whether there is a namespace that both lists have.
func meet(a, b []string) bool {
	return a == nil || b == nil || slices.ContainsFunc(a, func(n string) bool { return slices.Contains(b, n) })
}
