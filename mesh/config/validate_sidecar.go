package config

import (
	"net/netip"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

func validateSidecar(c *checker) {
	s := &c.o.Value.(*networkingv1.Sidecar).Spec
	c.selector("spec.workloadSelector.labels", s.GetWorkloadSelector().GetLabels())
	ports := make(map[uint32]bool)
	for i, l := range s.Ingress {
		at := index("spec.ingress", i)
		c.sidecarIngress(at, l)
		if n := l.GetPort().GetNumber(); ports[n] {
			c.errorf(CodeRepeated, join(at, "port.number"), "", "port %d stands twice", n)
		} else {
			ports[n] = true
		}
	}
	if len(s.Ingress) > 0 && len(s.GetWorkloadSelector().GetLabels()) == 0 {
		c.warnf(CodeSelector, "spec.ingress", "add a workloadSelector", "without a workloadSelector these listeners are for every workload of the namespace")
	}
	catchAll := false
	clear(ports)
	for i, l := range s.Egress {
		at := index("spec.egress", i)
		c.sidecarEgress(at, l)
		number := l.GetPort().GetNumber()
		switch {
		case l.Port == nil && catchAll:
			c.errorf(CodeRepeated, at, "", "only one egress listener may have no port, and another has none")
		case l.Port == nil:
			if catchAll = true; i < len(s.Egress)-1 && s.Egress[i+1].GetPort() != nil {
				c.errorf(CodeExclusive, at, "move it to the end", "the egress listener without a port must be the last one")
			}
		case number != 0 && ports[number]:
			c.errorf(CodeRepeated, join(at, "port.number"), "", "port %d stands twice", number)
		default:
			ports[number] = true
		}
	}
	c.connectionPool("spec.inboundConnectionPool", s.InboundConnectionPool)
	if p := s.OutboundTrafficPolicy; p.GetEgressProxy() != nil {
		at := "spec.outboundTrafficPolicy.egressProxy"
		if p.Mode != networkingpb.OutboundTrafficPolicy_ALLOW_ANY {
			c.errorf(CodeExclusive, at, "set mode: ALLOW_ANY", "an egress proxy is for mode ALLOW_ANY")
		}
		if p.EgressProxy.Port == nil {
			c.errorf(CodeMissing, at, "", "port is required")
		}
		c.destination(at, p.EgressProxy)
	}
}

func (c *checker) sidecarIngress(path string, l *networkingpb.IstioIngressListener) {
	if p := l.Port; p != nil {
		c.port(join(path, "port.number"), p.Number)
		c.protocol(join(path, "port.protocol"), p.Protocol, serviceProtocols)
	}
	c.bind(path, l.Bind, false)
	if e := l.DefaultEndpoint; e != "" {
		c.defaultEndpoint(join(path, "defaultEndpoint"), e)
	}
	c.connectionPool(join(path, "connectionPool"), l.ConnectionPool)
}

// defaultEndpoint checks where an ingress listener passes requests on to: the workload
// itself, by one of its addresses or a socket.
func (c *checker) defaultEndpoint(path, endpoint string) {
	if socket, ok := strings.CutPrefix(endpoint, "unix://"); ok {
		if !strings.HasPrefix(socket, "/") && !strings.HasPrefix(socket, "@") {
			c.errorf(CodeAddress, path, "", "%q is not the path of a socket", clip(endpoint))
		}
		return
	}
	address := endpoint
	if strings.HasPrefix(endpoint, ":") {
		address = "127.0.0.1" + endpoint
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil || ap.Port() == 0 || !ap.Addr().IsLoopback() && !ap.Addr().IsUnspecified() {
		c.errorf(CodeAddress, path, "", "%q is not allowed; expected 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT or unix:///PATH", clip(endpoint))
	}
}

func (c *checker) bind(path, bind string, unix bool) {
	if bind == "" {
		return
	}
	if unix && strings.HasPrefix(bind, "unix://") {
		return
	}
	if _, err := netip.ParseAddr(bind); err != nil {
		c.errorf(CodeAddress, join(path, "bind"), "", "%q is not an IP address", clip(bind))
	}
}

func (c *checker) sidecarEgress(path string, l *networkingpb.IstioEgressListener) {
	if p := l.Port; p != nil {
		// With a socket the number is 0.
		if p.Number != 0 || !strings.HasPrefix(l.Bind, "unix://") {
			c.port(join(path, "port.number"), p.Number)
		}
		c.protocol(join(path, "port.protocol"), p.Protocol, serviceProtocols)
	}
	c.bind(path, l.Bind, true)
	if len(l.Hosts) == 0 {
		c.errorf(CodeMissing, path, "", "hosts is required")
	}
	for i, h := range l.Hosts {
		at := index(join(path, "hosts"), i)
		namespace, host, ok := strings.Cut(h, "/")
		if !ok {
			c.errorf(CodeHost, at, `write "./`+h+`" for the Sidecar's namespace, "*/`+h+`" for all`, "%q has no namespace; expected NAMESPACE/HOST", clip(h))
			continue
		}
		switch namespace {
		case "*", ".", "~":
		case "":
			c.errorf(CodeHost, at, `write ".`+h+`" for the Sidecar's namespace, "*`+h+`" for all`, "%q has no namespace in front of the slash; expected NAMESPACE/HOST", clip(h))
		default:
			c.named(at, strings.TrimPrefix(namespace, "~"), validation.IsDNS1123Label)
		}
		c.host(at, host, true)
	}
	c.repeated(join(path, "hosts"), l.Hosts, "host")
}
