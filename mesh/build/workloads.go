package build

import (
	"fmt"
	"net/netip"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
	securitypb "istio.io/api/security/v1beta1"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// sidecars reads what limits the view of proxies.
func (b *builder) sidecars() {
	for _, o := range oldestFirst(b.view.Of("Sidecar")) {
		s, ok := o.Value.(*networkingv1.Sidecar)
		if !ok {
			continue
		}
		m := &model.SidecarScope{Name: o.Name, Namespace: o.Namespace, Created: o.Created, Source: sourceAt(o, "")}
		if w := s.Spec.GetWorkloadSelector(); w != nil && len(w.GetLabels()) > 0 {
			m.Selector = w.GetLabels()
		}
		for i, e := range s.Spec.GetEgress() {
			if m.Egress == nil {
				m.Egress = []model.EgressHost{}
			}
			b.egress(o, m, e, fmt.Sprintf("spec.egress[%d]", i))
		}
		m.InboundPool = pool(s.Spec.GetInboundConnectionPool())
		for i, l := range s.Spec.GetIngress() {
			m.Ingress = append(m.Ingress, b.ingress(o, l, fmt.Sprintf("spec.ingress[%d]", i)))
		}
		if p := s.Spec.GetOutboundTrafficPolicy(); p != nil {
			m.AllowAny = new(p.GetMode() == networkingpb.OutboundTrafficPolicy_ALLOW_ANY)
			if p.GetEgressProxy() != nil {
				m.EgressProxy = b.destination(o, p.GetEgressProxy(), "spec.outboundTrafficPolicy.egressProxy")
			}
		}
		b.parts.Sidecars = append(b.parts.Sidecars, m)
	}
}

// egress reads a listener for outbound requests, which without a port is for all the others.
func (b *builder) egress(o *config.Object, m *model.SidecarScope, l *networkingpb.IstioEgressListener, path string) {
	refuse := func(field, what string) {
		b.report(o, config.Error, CodeUnsupported, path+"."+field, what+" is not supported yet", "")
	}
	var hosts []model.EgressHost
	for _, h := range l.GetHosts() {
		ns, host, _ := strings.Cut(h, "/")
		if ns == "." {
			ns = o.Namespace
		}
		hosts = append(hosts, model.EgressHost{Namespace: ns, Host: strings.ToLower(host)})
	}
	own := l.GetCaptureMode() == networkingpb.CaptureMode_NONE
	switch {
	case strings.HasPrefix(l.GetBind(), "unix:"):
		refuse("bind", "a Unix socket as a listener")
	case l.GetPort() == nil && l.GetBind() != "":
		refuse("bind", "bind without a port")
	case l.GetPort() == nil && own:
		refuse("captureMode", "captureMode NONE without a port")
	case l.GetPort() == nil:
		m.Egress = append(m.Egress, hosts...)
		return
	}
	listener := model.EgressListener{Port: l.GetPort().GetNumber(), Protocol: declaredProtocol(l.GetPort().GetProtocol()),
		Bind: l.GetBind(), Open: own, Hosts: hosts}
	listener.Loopback = own && listener.Bind == ""
	switch strings.ToUpper(l.GetPort().GetProtocol()) {
	case "HTTP_PROXY", "UDP":
		refuse("port.protocol", "protocol "+l.GetPort().GetProtocol()+" for outbound requests")
	}
	m.Listeners = append(m.Listeners, listener)
}

// ingress reads a port of the workload. The address in defaultEndpoint is the loopback
// address, or any for the workload's own.
func (b *builder) ingress(o *config.Object, l *networkingpb.IstioIngressListener, path string) model.IngressListener {
	refuse := func(field, what string) {
		b.report(o, config.Error, CodeUnsupported, path+"."+field, what+" is not supported yet", "")
	}
	m := model.IngressListener{Port: l.GetPort().GetNumber(), Protocol: declaredProtocol(l.GetPort().GetProtocol()),
		Name: l.GetPort().GetName(), Bind: l.GetBind(), Open: l.GetCaptureMode() == networkingpb.CaptureMode_NONE, Pool: pool(l.GetConnectionPool())}
	switch endpoint := l.GetDefaultEndpoint(); {
	case strings.HasPrefix(endpoint, "unix:"):
		refuse("defaultEndpoint", "a Unix socket as an endpoint")
	case endpoint != "":
		at, err := netip.ParseAddrPort(endpoint)
		if err == nil { // else the validation has said so
			m.Target, m.Instance, m.IPv6 = uint32(at.Port()), at.Addr().IsUnspecified(), at.Addr().Is6()
		}
	}
	return m
}

// peerAuthentications reads what workloads accept.
func (b *builder) peerAuthentications() {
	for _, o := range oldestFirst(b.view.Of("PeerAuthentication")) {
		p, ok := o.Value.(*securityv1.PeerAuthentication)
		if !ok {
			continue
		}
		m := &model.PeerAuthentication{
			Name: o.Name, Namespace: o.Namespace, Mode: mtls(p.Spec.GetMtls().GetMode()), Created: o.Created, Source: sourceAt(o, ""),
		}
		if labels := p.Spec.GetSelector().GetMatchLabels(); len(labels) > 0 {
			m.Selector = labels
		}
		for port, t := range p.Spec.GetPortLevelMtls() {
			if m.Ports == nil {
				m.Ports = map[uint32]model.MTLS{}
			}
			m.Ports[port] = mtls(t.GetMode())
		}
		b.parts.Peers = append(b.parts.Peers, m)
	}
}

func mtls(m securitypb.PeerAuthentication_MutualTLS_Mode) model.MTLS {
	switch m {
	case securitypb.PeerAuthentication_MutualTLS_DISABLE:
		return model.Disable
	case securitypb.PeerAuthentication_MutualTLS_PERMISSIVE:
		return model.Permissive
	case securitypb.PeerAuthentication_MutualTLS_STRICT:
		return model.Strict
	default:
		return model.Unset
	}
}
