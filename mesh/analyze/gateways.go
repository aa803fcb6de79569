package analyze

import (
	"fmt"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// gatewayConflicts finds servers of two Gateways for the same Pods that claim one host
// on one port. Of two with TLS the proxy can take one only; of two without it the
// routes are laid together, which Istio's analysis calls a conflict, too.
func (a *analysis) gatewayConflicts() {
	for i, g := range a.mesh.Gateways {
		for _, other := range a.mesh.Gateways[:i] {
			if !subset(g.Selector, other.Selector) && !subset(other.Selector, g.Selector) {
				continue
			}
			for n, s := range g.Servers {
				for m, t := range other.Servers {
					a.serverConflict(g, other, n, s, m, t)
				}
			}
		}
	}
}

func (a *analysis) serverConflict(g, other *model.Gateway, n int, s *model.Server, m int, t *model.Server) {
	host := commonHost(s, t)
	if s.Port != t.Port || s.Bind != t.Bind || host == "" {
		return
	}
	o := a.view.Get("Gateway", g.Namespace, g.Name)
	if o == nil {
		return
	}
	a.report(o, config.Error, CodeGatewayConflict, fmt.Sprintf("spec.servers[%d]", n),
		fmt.Sprintf("port %d serves %q for the same Pods already, by Gateway %s (servers[%d], line %d of %s)", s.Port, host, other.Ref(), m, t.Source.Line, t.Source.File),
		"put the hosts into one Gateway, or on two ports")
}

// commonHost is a host that both servers claim; "" where there is none.
func commonHost(s, t *model.Server) string {
	for _, h := range s.Hosts {
		for _, k := range t.Hosts {
			if h.Namespace != "*" && k.Namespace != "*" && h.Namespace != k.Namespace {
				continue
			}
			// A wildcard beside a name below it is no conflict: the longer host wins.
			if h.Host == k.Host {
				return h.Host
			}
		}
	}
	return ""
}

// gatewayPorts finds servers on ports that no Service of the gateway's Pods leads to.
func (a *analysis) gatewayPorts() {
	each(a, "Gateway", func(o *config.Object, g *networkingv1.Gateway) {
		pods, ports := a.portsOf(g.Spec.GetSelector())
		if pods == 0 || len(ports) == 0 {
			return
		}
		for i, s := range g.Spec.GetServers() {
			if n := s.GetPort().GetNumber(); !ports[n] {
				a.report(o, config.Warning, CodeGatewayPort, fmt.Sprintf("spec.servers[%d].port.number", i),
					fmt.Sprintf("no Service of the gateway's Pods has the port %d: %s", n, portWords(ports)), "nobody can come in there")
			}
		}
	})
}

// portsOf counts the Pods that a selector matches, and collects the ports that Services
// have for them. A Gateway names the Service's port, or the one that it leads to.
func (a *analysis) portsOf(selector map[string]string) (pods int, ports map[uint32]bool) {
	ports = map[uint32]bool{}
	for _, w := range a.workloads {
		if !model.Selects(selector, w.Labels) {
			continue
		}
		pods++
		for _, s := range a.mesh.Services {
			if s.Kubernetes && s.Namespace == w.Namespace && len(s.Selector) > 0 && model.Selects(s.Selector, w.Labels) {
				for _, p := range s.Ports {
					ports[p.Number] = true
					if p.Target != 0 {
						ports[p.Target] = true
					}
				}
			}
		}
	}
	return pods, ports
}

func portWords(ports map[uint32]bool) string {
	var words []string
	for _, n := range sortedPorts(ports) {
		words = append(words, fmt.Sprint(n))
	}
	return "there are " + strings.Join(words, ", ")
}
