package build

import (
	"fmt"
	"net"
	"strconv"

	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// destinationRules reads policies. Those of one namespace, host and selector are merged: the
// oldest one's policy holds, subsets that it does not have are added.
func (b *builder) destinationRules() {
	type key struct{ namespace, host, selector string }
	first := map[key]*model.DestinationRule{}
	for _, o := range oldestFirst(b.view.Of("DestinationRule")) {
		dr, ok := o.Value.(*networkingv1.DestinationRule)
		if !ok {
			continue
		}
		d := b.destinationRule(o, &dr.Spec)
		k := key{d.Namespace, d.Host, fmt.Sprint(d.Selector)}
		older := first[k]
		if older == nil {
			first[k] = d
			b.parts.Policies = append(b.parts.Policies, d)
			b.origin.policies[d] = o
			continue
		}
		b.mergeRule(o, older, d)
	}
}

func (b *builder) mergeRule(o *config.Object, older, d *model.DestinationRule) {
	for i, s := range d.Subsets {
		if older.Subset(s.Name) != nil {
			b.report(o, config.Warning, CodeMergedPolicy, fmt.Sprintf("spec.subsets[%d]", i),
				fmt.Sprintf("subset %q is defined by DestinationRule %s/%s already, which is older and holds", s.Name, older.Namespace, older.Name), "")
			continue
		}
		older.Subsets = append(older.Subsets, s)
	}
	switch {
	case d.Policy == nil:
	case older.Policy == nil:
		older.Policy = d.Policy
	default:
		b.report(o, config.Warning, CodeMergedPolicy, "spec.trafficPolicy",
			fmt.Sprintf("this policy is ignored: DestinationRule %s/%s for the same host is older, and the first policy holds", older.Namespace, older.Name),
			"merge both into one DestinationRule")
	}
}

func (b *builder) destinationRule(o *config.Object, spec *networkingpb.DestinationRule) *model.DestinationRule {
	d := &model.DestinationRule{
		Name: o.Name, Namespace: o.Namespace, Host: b.resolve(spec.GetHost(), o.Namespace),
		Export:   visibility(spec.GetExportTo(), b.options.MeshConfig.GetDefaultDestinationRuleExportTo(), o.Namespace),
		Selector: spec.GetWorkloadSelector().GetMatchLabels(),
		Policy:   trafficPolicy(spec.GetTrafficPolicy()),
		Created:  o.Created, Source: sourceAt(o, ""),
	}
	for i, s := range spec.GetSubsets() {
		d.Subsets = append(d.Subsets, &model.Subset{
			Name: s.GetName(), Labels: s.GetLabels(), Policy: trafficPolicy(s.GetTrafficPolicy()),
			Source: sourceAt(o, fmt.Sprintf("spec.subsets[%d]", i)),
		})
	}
	return d
}

func trafficPolicy(p *networkingpb.TrafficPolicy) *model.TrafficPolicy {
	if p == nil {
		return nil
	}
	m := &model.TrafficPolicy{
		Balancer: balancer(p.GetLoadBalancer()), Pool: pool(p.GetConnectionPool()),
		Outlier: outlier(p.GetOutlierDetection()), TLS: clientTLS(p.GetTls()),
	}
	if t := p.GetTunnel(); t != nil {
		m.Tunnel = &model.Tunnel{Post: t.GetProtocol() == "POST", Target: net.JoinHostPort(t.GetTargetHost(), strconv.Itoa(int(t.GetTargetPort())))}
	}
	if v := p.GetProxyProtocol(); v != nil {
		m.ProxyProtocol = uint8(v.GetVersion()) + 1
	}
	if r := p.GetRetryBudget(); r != nil {
		m.Budget = &model.RetryBudget{Percent: 20, MinConcurrency: 3}
		if r.GetPercent() != nil {
			m.Budget.Percent = r.GetPercent().GetValue()
		}
		if r.GetMinRetryConcurrency() != 0 {
			m.Budget.MinConcurrency = r.GetMinRetryConcurrency()
		}
	}
	for _, l := range p.GetPortLevelSettings() {
		if m.Ports == nil {
			m.Ports = map[uint32]*model.TrafficPolicy{}
		}
		m.Ports[l.GetPort().GetNumber()] = &model.TrafficPolicy{
			Balancer: balancer(l.GetLoadBalancer()), Pool: pool(l.GetConnectionPool()),
			Outlier: outlier(l.GetOutlierDetection()), TLS: clientTLS(l.GetTls()), Budget: m.Budget, ProxyProtocol: m.ProxyProtocol,
		}
	}
	return m
}

func balancer(l *networkingpb.LoadBalancerSettings) *model.Balancer {
	if l == nil {
		return nil
	}
	m := &model.Balancer{}
	switch l.GetSimple() {
	case networkingpb.LoadBalancerSettings_ROUND_ROBIN:
		m.Algorithm = model.RoundRobin
	case networkingpb.LoadBalancerSettings_RANDOM:
		m.Algorithm = model.Random
	case networkingpb.LoadBalancerSettings_PASSTHROUGH:
		m.Algorithm = model.Passthrough
	}
	if h := l.GetConsistentHash(); h != nil {
		m.Algorithm, m.Hash = model.RingHash, hashKey(h)
		//lint:ignore SA1019 deprecated, and still written
		m.RingMin = h.GetMinimumRingSize()
		if r := h.GetRingHash(); r != nil {
			m.RingMin = r.GetMinimumRingSize()
		}
		if t := h.GetMaglev(); t != nil {
			m.Algorithm, m.TableSize = model.Maglev, t.GetTableSize()
		}
	}
	if w := l.GetWarmup(); w != nil {
		m.Warmup = &model.Warmup{Duration: w.GetDuration().AsDuration(), MinimumPercent: 10, Aggression: 1}
		if w.GetMinimumPercent() != nil {
			m.Warmup.MinimumPercent = w.GetMinimumPercent().GetValue()
		}
		if w.GetAggression() != nil {
			m.Warmup.Aggression = w.GetAggression().GetValue()
		}
	} else if d := l.GetWarmupDurationSecs(); d != nil {
		m.Warmup = &model.Warmup{Duration: d.AsDuration(), MinimumPercent: 10, Aggression: 1}
	}
	if s := l.GetLocalityLbSetting(); s != nil {
		if m.LocalityOff = s.GetEnabled() != nil && !s.GetEnabled().GetValue(); !m.LocalityOff {
			m.Locality = locality(s)
		}
	}
	return m
}

func hashKey(h *networkingpb.LoadBalancerSettings_ConsistentHashLB) *model.HashKey {
	switch k := h.GetHashKey().(type) {
	case *networkingpb.LoadBalancerSettings_ConsistentHashLB_HttpHeaderName:
		return &model.HashKey{Header: k.HttpHeaderName}
	case *networkingpb.LoadBalancerSettings_ConsistentHashLB_UseSourceIp:
		if k.UseSourceIp {
			return &model.HashKey{SourceIP: true}
		}
	case *networkingpb.LoadBalancerSettings_ConsistentHashLB_HttpQueryParameterName:
		return &model.HashKey{Query: k.HttpQueryParameterName}
	case *networkingpb.LoadBalancerSettings_ConsistentHashLB_HttpCookie:
		c := &model.HashCookie{Name: k.HttpCookie.GetName(), Path: k.HttpCookie.GetPath()}
		if k.HttpCookie.GetTtl() != nil {
			ttl := k.HttpCookie.GetTtl().AsDuration()
			c.TTL = &ttl
		}
		for _, a := range k.HttpCookie.GetAttributes() {
			c.Attributes = append(c.Attributes, model.HeaderOp{Name: a.GetName(), Value: a.GetValue()})
		}
		return &model.HashKey{Cookie: c}
	}
	return nil
}

func pool(p *networkingpb.ConnectionPoolSettings) *model.Pool {
	if p == nil {
		return nil
	}
	t, h := p.GetTcp(), p.GetHttp()
	m := &model.Pool{
		MaxConnections: uint32(t.GetMaxConnections()), ConnectTimeout: t.GetConnectTimeout().AsDuration(),
		Keepalive: keepalive(t.GetTcpKeepalive()), MaxConnectionDuration: t.GetMaxConnectionDuration().AsDuration(),
		MaxPending: uint32(h.GetHttp1MaxPendingRequests()), MaxRequests: uint32(h.GetHttp2MaxRequests()),
		MaxRequestsPerConn: uint32(h.GetMaxRequestsPerConnection()), MaxRetries: uint32(h.GetMaxRetries()),
		UseClientProtocol: h.GetUseClientProtocol(), MaxStreams: uint32(h.GetMaxConcurrentStreams()),
	}
	if d := t.GetIdleTimeout(); d != nil {
		v := d.AsDuration()
		m.TCPIdle = &v
	}
	if d := h.GetIdleTimeout(); d != nil {
		v := d.AsDuration()
		m.HTTPIdle = &v
	}
	switch h.GetH2UpgradePolicy() {
	case networkingpb.ConnectionPoolSettings_HTTPSettings_DO_NOT_UPGRADE:
		m.Upgrade = model.UpgradeNever
	case networkingpb.ConnectionPoolSettings_HTTPSettings_UPGRADE:
		m.Upgrade = model.UpgradeAlways
	}
	return m
}

func keepalive(k *networkingpb.ConnectionPoolSettings_TCPSettings_TcpKeepalive) *model.Keepalive {
	if k == nil {
		return nil
	}
	return &model.Keepalive{Probes: k.GetProbes(), Time: k.GetTime().AsDuration(), Interval: k.GetInterval().AsDuration()}
}

func outlier(d *networkingpb.OutlierDetection) *model.Outlier {
	if d == nil {
		return nil
	}
	m := &model.Outlier{
		Interval: d.GetInterval().AsDuration(), BaseEjection: d.GetBaseEjectionTime().AsDuration(),
		MaxEjectionPercent: uint32(d.GetMaxEjectionPercent()), MinHealthPercent: uint32(d.GetMinHealthPercent()),
		SplitLocal: d.GetSplitExternalLocalOriginErrors(), ErrorStatuses: d.GetOutlierDetectionHttpErrorCodes(),
	}
	if v := d.GetConsecutive_5XxErrors(); v != nil {
		m.Consecutive5xx = new(v.GetValue())
	}
	if v := d.GetConsecutiveGatewayErrors(); v != nil {
		m.ConsecutiveGateway = new(v.GetValue())
	}
	if v := d.GetConsecutiveLocalOriginFailures(); v != nil {
		m.ConsecutiveLocal = new(v.GetValue())
	}
	//lint:ignore SA1019 deprecated, and still written
	if n := d.GetConsecutiveErrors(); n > 0 && m.ConsecutiveGateway == nil {
		m.ConsecutiveGateway = new(uint32(n))
	}
	return m
}

func clientTLS(t *networkingpb.ClientTLSSettings) *model.ClientTLS {
	if t == nil {
		return nil
	}
	return &model.ClientTLS{
		Mode: map[networkingpb.ClientTLSSettings_TLSmode]model.TLSMode{
			networkingpb.ClientTLSSettings_DISABLE: model.TLSDisable, networkingpb.ClientTLSSettings_SIMPLE: model.TLSSimple,
			networkingpb.ClientTLSSettings_MUTUAL: model.TLSMutual, networkingpb.ClientTLSSettings_ISTIO_MUTUAL: model.TLSIstio,
		}[t.GetMode()],
		Certificate: t.GetClientCertificate(), Key: t.GetPrivateKey(), CA: t.GetCaCertificates(),
		Credential:      credentialName(t.GetCredentialName()),
		SubjectAltNames: t.GetSubjectAltNames(), SNI: t.GetSni(), InsecureSkipVerify: t.GetInsecureSkipVerify().GetValue(),
	}
}
