package build

import (
	"fmt"
	"net/netip"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
	securitypb "istio.io/api/security/v1beta1"
	telemetrypb "istio.io/api/telemetry/v1alpha1"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	telemetryv1 "istio.io/client-go/pkg/apis/telemetry/v1"

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
		for _, e := range s.Spec.GetEgress() {
			if m.Egress == nil {
				m.Egress = []model.EgressHost{}
			}
			for _, h := range e.GetHosts() {
				ns, host, _ := strings.Cut(h, "/")
				if ns == "." {
					ns = o.Namespace
				}
				m.Egress = append(m.Egress, model.EgressHost{Namespace: ns, Host: strings.ToLower(host)})
			}
		}
		m.InboundPool = pool(s.Spec.GetInboundConnectionPool())
		for i, l := range s.Spec.GetIngress() {
			m.Ingress = append(m.Ingress, b.ingress(o, l, fmt.Sprintf("spec.ingress[%d]", i)))
		}
		if p := s.Spec.GetOutboundTrafficPolicy(); p != nil {
			m.AllowAny = new(p.GetMode() == networkingpb.OutboundTrafficPolicy_ALLOW_ANY)
		}
		b.parts.Sidecars = append(b.parts.Sidecars, m)
	}
}

// ingress reads a port of the workload. The address in defaultEndpoint is the loopback
// address, or any for the workload's own.
func (b *builder) ingress(o *config.Object, l *networkingpb.IstioIngressListener, path string) model.IngressListener {
	refuse := func(field, what string) {
		b.report(o, config.Error, CodeUnsupported, path+"."+field, what+" is not supported yet", "")
	}
	m := model.IngressListener{Port: l.GetPort().GetNumber(), Protocol: declaredProtocol(l.GetPort().GetProtocol()),
		Name: l.GetPort().GetName(), Pool: pool(l.GetConnectionPool())}
	if l.GetCaptureMode() == networkingpb.CaptureMode_NONE {
		refuse("captureMode", "captureMode NONE")
	}
	switch endpoint := l.GetDefaultEndpoint(); {
	case strings.HasPrefix(endpoint, "unix:"):
		refuse("defaultEndpoint", "a Unix socket as an endpoint")
	case endpoint != "":
		at, err := netip.ParseAddrPort(endpoint)
		if err == nil { // else the validation has said so
			m.Target, m.Instance = uint32(at.Port()), at.Addr().IsUnspecified()
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

// telemetries reads access logging; what else Telemetry can say is refused.
func (b *builder) telemetries() {
	for _, o := range oldestFirst(b.view.Of("Telemetry")) {
		t, ok := o.Value.(*telemetryv1.Telemetry)
		if !ok {
			continue
		}
		r := &model.LogRule{Name: o.Name, Namespace: o.Namespace, Created: o.Created, Source: sourceAt(o, "")}
		for i, l := range t.Spec.GetAccessLogging() {
			b.logging(o, r, l, fmt.Sprintf("spec.accessLogging[%d]", i))
		}
		for _, selector := range b.targeted(o, t.Spec.GetSelector().GetMatchLabels(), t.Spec.GetTargetRef(), t.Spec.GetTargetRefs()) {
			own := *r
			own.Selector = selector
			b.parts.Logs = append(b.parts.Logs, &own)
		}
	}
}

func (b *builder) logging(o *config.Object, r *model.LogRule, l *telemetrypb.AccessLogging, path string) {
	var log *model.AccessLog
	if !l.GetDisabled().GetValue() {
		name := "envoy"
		if providers := l.GetProviders(); len(providers) > 0 {
			name = providers[0].GetName()
			if len(providers) > 1 {
				b.report(o, config.Error, CodeUnsupported, path+".providers[1]", "a second access log provider is not supported yet", "")
			}
		} else if defaults := b.options.MeshConfig.GetDefaultProviders().GetAccessLogging(); len(defaults) > 0 {
			name = defaults[0]
		}
		if log = fileProvider(b.options.MeshConfig, name); log == nil {
			b.report(o, config.Error, CodeUnsupported, path+".providers[0]",
				fmt.Sprintf("access log provider %q is not an envoyFileAccessLog; others are not supported yet", name), `the provider "envoy" always exists`)
			return
		}
	}
	mode := l.GetMatch().GetMode()
	if mode != telemetrypb.WorkloadMode_SERVER {
		r.Client, r.HasClient = log, true
	}
	if mode != telemetrypb.WorkloadMode_CLIENT {
		r.Server, r.HasServer = log, true
	}
}
