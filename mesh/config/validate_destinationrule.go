package config

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"
	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

func validateDestinationRule(c *checker) {
	r := &c.o.Value.(*networkingv1.DestinationRule).Spec
	c.host("spec.host", r.Host, true)
	c.exportTo(r.ExportTo)
	c.selector("spec.workloadSelector.matchLabels", r.GetWorkloadSelector().GetMatchLabels())
	c.trafficPolicy("spec.trafficPolicy", r.TrafficPolicy)
	seen := make(map[string]bool)
	for i, s := range r.Subsets {
		at := index("spec.subsets", i)
		if c.named(join(at, "name"), s.Name, validation.IsDNS1123Label) && seen[s.Name] {
			c.errorf(CodeRepeated, join(at, "name"), "", "subset %q stands twice", s.Name)
		}
		seen[s.Name] = true
		c.labels(join(at, "labels"), s.Labels)
		c.trafficPolicy(join(at, "trafficPolicy"), s.TrafficPolicy)
	}
}

func (c *checker) trafficPolicy(path string, p *networkingpb.TrafficPolicy) {
	if p == nil {
		return
	}
	if proto.Equal(p, &networkingpb.TrafficPolicy{}) {
		c.errorf(CodeMissing, path, "", "a traffic policy needs at least one setting")
	}
	c.policyParts(path, p.LoadBalancer, p.ConnectionPool, p.OutlierDetection, p.Tls)
	seen := make(map[uint32]bool)
	for i, s := range p.PortLevelSettings {
		at := index(join(path, "portLevelSettings"), i)
		if s.Port == nil {
			c.errorf(CodeRequired, at, "", "port is required")
			continue
		}
		c.port(join(at, "port.number"), s.Port.Number)
		if seen[s.Port.Number] {
			c.errorf(CodeRepeated, join(at, "port.number"), "", "port %d stands twice", s.Port.Number)
		}
		seen[s.Port.Number] = true
		c.policyParts(at, s.LoadBalancer, s.ConnectionPool, s.OutlierDetection, s.Tls)
	}
	if t := p.Tunnel; t != nil {
		at := join(path, "tunnel")
		if t.Protocol != "" && t.Protocol != "CONNECT" && t.Protocol != "POST" {
			c.errorf(CodeEnum, join(at, "protocol"), "", "%q is not allowed; expected CONNECT or POST", clip(t.Protocol))
		}
		c.host(join(at, "targetHost"), t.TargetHost, false)
		c.port(join(at, "targetPort"), t.TargetPort)
		if p.ProxyProtocol != nil {
			c.errorf(CodeExclusive, join(path, "proxyProtocol"), "", "tunnel and proxyProtocol exclude each other")
		}
	}
	if b := p.RetryBudget; b != nil {
		c.between(join(path, "retryBudget.percent"), b.GetPercent().GetValue(), 0, 100)
	}
}

func (c *checker) policyParts(path string, lb *networkingpb.LoadBalancerSettings, pool *networkingpb.ConnectionPoolSettings,
	outlier *networkingpb.OutlierDetection, tls *networkingpb.ClientTLSSettings) {
	c.loadBalancer(join(path, "loadBalancer"), lb)
	c.connectionPool(join(path, "connectionPool"), pool)
	c.outlierDetection(join(path, "outlierDetection"), outlier)
	c.clientTLS(join(path, "tls"), tls)
}

func (c *checker) loadBalancer(path string, lb *networkingpb.LoadBalancerSettings) {
	if lb == nil {
		return
	}
	if h := lb.GetConsistentHash(); h != nil {
		c.consistentHash(join(path, "consistentHash"), h)
	}
	if w := lb.Warmup; w != nil {
		at := join(path, "warmup")
		c.atLeastMillisecond(join(at, "duration"), "", w.Duration)
		if w.MinimumPercent != nil {
			c.between(join(at, "minimumPercent"), w.MinimumPercent.Value, 0, 100)
		}
		if w.Aggression != nil && w.Aggression.Value < 1 {
			c.errorf(CodeValue, join(at, "aggression"), "", "%v is too low; expected 1 or more", w.Aggression.Value)
		}
		switch lb.GetSimple() {
		case networkingpb.LoadBalancerSettings_UNSPECIFIED, networkingpb.LoadBalancerSettings_ROUND_ROBIN, networkingpb.LoadBalancerSettings_LEAST_REQUEST:
		default:
			c.errorf(CodeExclusive, at, "", "warmup works with ROUND_ROBIN and LEAST_REQUEST, not with %s", lb.GetSimple())
		}
	}
	c.locality(join(path, "localityLbSetting"), lb.LocalityLbSetting)
}

func (c *checker) consistentHash(path string, h *networkingpb.LoadBalancerSettings_ConsistentHashLB) {
	switch key := h.HashKey.(type) {
	case nil:
		c.errorf(CodeMissing, path, "", "one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName is required")
	case *networkingpb.LoadBalancerSettings_ConsistentHashLB_HttpHeaderName:
		c.header(join(path, "httpHeaderName"), key.HttpHeaderName)
	case *networkingpb.LoadBalancerSettings_ConsistentHashLB_HttpCookie:
		if key.HttpCookie.GetName() == "" {
			c.errorf(CodeRequired, join(path, "httpCookie"), "", "a name is required")
		}
	}
	if m := h.GetMaglev(); m != nil && m.TableSize != 0 && (m.TableSize > 5000011 || !prime(m.TableSize)) {
		c.errorf(CodeValue, join(path, "maglev.tableSize"), "the default is 65537", "%d is not a prime number up to 5000011", m.TableSize)
	}
}

func prime(n uint64) bool {
	for f := uint64(2); f*f <= n; f++ {
		if n%f == 0 {
			return false
		}
	}
	return n > 1
}

func (c *checker) locality(path string, l *networkingpb.LocalityLoadBalancerSetting) {
	if l == nil {
		return
	}
	if len(l.Distribute) > 0 && (len(l.Failover) > 0 || len(l.FailoverPriority) > 0) {
		c.errorf(CodeExclusive, join(path, "distribute"), "", "distribute excludes failover and failoverPriority")
	}
	for i, d := range l.Distribute {
		at := index(join(path, "distribute"), i)
		var sum uint64
		for _, to := range slices.Sorted(maps.Keys(d.To)) {
			if d.To[to] == 0 {
				c.errorf(CodeWeight, join(join(at, "to"), to), "", "a weight of 0 is not allowed")
			}
			sum += uint64(d.To[to])
		}
		if sum != 100 {
			c.errorf(CodeWeight, join(at, "to"), "", "the weights sum to %d; expected 100", sum)
		}
	}
	for i, f := range l.Failover {
		if f.From == f.To {
			c.errorf(CodeValue, index(join(path, "failover"), i), "", "from and to are the same: %q", clip(f.From))
		}
	}
}

func (c *checker) connectionPool(path string, p *networkingpb.ConnectionPoolSettings) {
	if p == nil {
		return
	}
	if p.Tcp == nil && p.Http == nil {
		c.errorf(CodeMissing, path, "", "one of tcp and http is required")
	}
	if t := p.Tcp; t != nil {
		at := join(path, "tcp")
		c.notNegative(join(at, "maxConnections"), t.MaxConnections)
		c.atLeastMillisecond(join(at, "connectTimeout"), "", t.ConnectTimeout)
		c.atLeastMillisecond(join(at, "maxConnectionDuration"), "", t.MaxConnectionDuration)
		c.atLeastMillisecond(join(at, "tcpKeepalive.time"), "", t.GetTcpKeepalive().GetTime())
		c.atLeastMillisecond(join(at, "tcpKeepalive.interval"), "", t.GetTcpKeepalive().GetInterval())
		if d := t.IdleTimeout; d != nil && d.AsDuration() < 0 {
			c.errorf(CodeValue, join(at, "idleTimeout"), "", "%s is negative", d.AsDuration())
		}
	}
	if h := p.Http; h != nil {
		at := join(path, "http")
		c.notNegative(join(at, "http1MaxPendingRequests"), h.Http1MaxPendingRequests)
		c.notNegative(join(at, "http2MaxRequests"), h.Http2MaxRequests)
		c.notNegative(join(at, "maxRequestsPerConnection"), h.MaxRequestsPerConnection)
		c.notNegative(join(at, "maxRetries"), h.MaxRetries)
		c.notNegative(join(at, "maxConcurrentStreams"), h.MaxConcurrentStreams)
		c.atLeastMillisecond(join(at, "idleTimeout"), "", h.IdleTimeout)
		c.atLeastMillisecond(join(at, "http2KeepAlive.interval"), "", h.GetHttp2KeepAlive().GetInterval())
		c.atLeastMillisecond(join(at, "http2KeepAlive.timeout"), "", h.GetHttp2KeepAlive().GetTimeout())
		if h.UseClientProtocol && h.H2UpgradePolicy == networkingpb.ConnectionPoolSettings_HTTPSettings_UPGRADE {
			c.errorf(CodeExclusive, join(at, "useClientProtocol"), "", "useClientProtocol excludes h2UpgradePolicy: UPGRADE")
		}
	}
}

func (c *checker) outlierDetection(path string, o *networkingpb.OutlierDetection) {
	if o == nil {
		return
	}
	c.atLeastMillisecond(join(path, "interval"), "", o.Interval)
	c.atLeastMillisecond(join(path, "baseEjectionTime"), "", o.BaseEjectionTime)
	c.between(join(path, "maxEjectionPercent"), float64(o.MaxEjectionPercent), 0, 100)
	c.between(join(path, "minHealthPercent"), float64(o.MinHealthPercent), 0, 100)
	for i, code := range o.OutlierDetectionHttpErrorCodes {
		c.between(index(join(path, "outlierDetectionHttpErrorCodes"), i), float64(code), 100, 599)
	}
	if !o.SplitExternalLocalOriginErrors && o.GetConsecutiveLocalOriginFailures().GetValue() > 0 {
		c.errorf(CodeExclusive, join(path, "consecutiveLocalOriginFailures"), "set splitExternalLocalOriginErrors: true",
			"consecutiveLocalOriginFailures needs splitExternalLocalOriginErrors")
	}
}

func (c *checker) clientTLS(path string, t *networkingpb.ClientTLSSettings) {
	if t == nil {
		return
	}
	if t.InsecureSkipVerify.GetValue() && t.Mode != networkingpb.ClientTLSSettings_SIMPLE && t.Mode != networkingpb.ClientTLSSettings_MUTUAL {
		c.errorf(CodeTLS, join(path, "insecureSkipVerify"), "", "insecureSkipVerify is for SIMPLE and MUTUAL")
	}
	files := []struct{ name, value string }{
		{"clientCertificate", t.ClientCertificate}, {"privateKey", t.PrivateKey},
		{"caCertificates", t.CaCertificates}, {"credentialName", t.CredentialName},
	}
	switch t.Mode {
	case networkingpb.ClientTLSSettings_ISTIO_MUTUAL, networkingpb.ClientTLSSettings_DISABLE:
		for _, f := range files {
			if f.value != "" {
				c.errorf(CodeTLS, join(path, f.name), "", "%s is not for mode %s", f.name, t.Mode)
			}
		}
	case networkingpb.ClientTLSSettings_MUTUAL:
		if t.CredentialName != "" {
			for _, f := range files[:3] {
				if f.value != "" {
					c.errorf(CodeTLS, join(path, f.name), "", "%s and credentialName exclude each other", f.name)
				}
			}
			return
		}
		for _, f := range files[:2] {
			if f.value == "" {
				c.errorf(CodeTLS, path, "", "mode MUTUAL needs %s, or a credentialName", f.name)
			}
		}
	}
}
