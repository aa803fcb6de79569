package translate

import (
	"cmp"
	"math"
	"strconv"
	"strings"
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	matcherpb "github.com/envoyproxy/go-control-plane/envoy/config/common/matcher/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httppb "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typematcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

const (
	unlimited = math.MaxUint32
	// longest is the interval that istiod sends where hosts are never to be cleaned
	// up: one second below what Go's durations hold.
	longest = math.MaxInt64/int64(time.Second) - 1
	// bindAddress is where inbound connections to the application come from, so that
	// capture rules let them through; bindAddress6 its twin.
	bindAddress  = "127.0.0.6"
	bindAddress6 = "::6"
)

// clusters makes those of all services that the proxy sees, and the fixed ones.
func (p *proxy) clusters() error {
	for _, s := range p.seenOrCollecting() {
		d := p.scope.policies[s]
		key := "|cds|" + p.node.Type + "|" + p.id(s) + "|" + p.policyID(d) + "|" + strings.Join(s.Endpoints.Accounts, ",")
		if p.forwards {
			key += "|sni"
		}
		if inlineEndpoints(s, d) {
			key += "|" + p.id(s.Endpoints) + "|" + p.id(peersKey{}) + "|" + p.vicinity(s, d)
		}
		m, err := p.once(key, func() (made, error) { return finish(p.serviceClusters(s, d)) })
		if err := p.put(resource.Cluster, m, err); err != nil {
			return err
		}
	}
	if p.scope.anyByName {
		m, err := p.once("|cds|"+p.node.Type+"|by name", func() (made, error) { return finish([]*clusterpb.Cluster{p.anyByName()}) })
		if err := p.put(resource.Cluster, m, err); err != nil {
			return err
		}
	}
	m, err := p.once("|cds|"+p.node.Type+"|fixed", func() (made, error) {
		if p.scope.router {
			return finish([]*clusterpb.Cluster{p.blackHole()})
		}
		inbound := p.passthrough(names.InboundPassthrough)
		inbound.AltStatName = "PassthroughCluster;"
		inbound.UpstreamBindConfig = p.families.bindSource()
		return finish([]*clusterpb.Cluster{p.blackHole(), p.passthrough(names.Passthrough), inbound})
	})
	return p.put(resource.Cluster, m, err)
}

// seenOrCollecting are the services of the proxy's scope, and those that collect its
// spans.
func (p *proxy) seenOrCollecting() []*model.Service {
	list := p.scope.services
	for _, s := range p.mesh.Collectors() {
		if p.scope.byHost[s.Host] == nil {
			list = append(list[:len(list):len(list)], s)
		}
	}
	return list
}

func (p *proxy) policyID(d *model.DestinationRule) string {
	if d == nil {
		return ""
	}
	return p.id(d)
}

// inlineEndpoints tells clusters that depend on single endpoints, not only on their
// service accounts.
func inlineEndpoints(s *model.Service, d *model.DestinationRule) bool {
	return s.Resolution != model.ByEndpoints || s.Headless || d != nil && passesThrough(d)
}

func passesThrough(d *model.DestinationRule) bool {
	is := func(t *model.TrafficPolicy) bool {
		if t == nil {
			return false
		}
		if t.Balancer != nil && t.Balancer.Algorithm == model.Passthrough {
			return true
		}
		for _, own := range t.Ports {
			if own.Balancer != nil && own.Balancer.Algorithm == model.Passthrough {
				return true
			}
		}
		return false
	}
	if is(d.Policy) {
		return true
	}
	for _, s := range d.Subsets {
		if is(s.Policy) {
			return true
		}
	}
	return false
}

// policyFor settles what holds for one port of a service or subset: the mesh's
// defaults, below the rule's policy (or its settings for the port, which replace
// it), below the subset's.
func (t *Translator) policyFor(d *model.DestinationRule, subset *model.Subset, port uint32) *model.TrafficPolicy {
	var policy *model.TrafficPolicy
	if d != nil {
		policy = d.Policy.For(port)
	}
	if subset != nil && subset.Policy != nil {
		if own := subset.Policy.Ports[port]; own != nil {
			policy = own
		} else {
			policy = subset.Policy.Over(policy)
		}
	}
	policy = policy.Over(t.mesh.Settings.OutboundPolicy)
	if policy == nil {
		policy = &model.TrafficPolicy{}
	}
	return policy
}

// serviceClusters makes a service's clusters: per port one, and one per subset.
func (p *proxy) serviceClusters(s *model.Service, d *model.DestinationRule) []*clusterpb.Cluster {
	var list []*clusterpb.Cluster
	for _, port := range s.Ports {
		list = append(list, p.portClusters(s, port, d, nil)...)
		if d == nil || s.Resolution == model.ByName { // which has no endpoints with labels
			continue
		}
		for _, subset := range d.Subsets {
			list = append(list, p.portClusters(s, port, d, subset)...)
		}
	}
	return list
}

// portClusters is a cluster, and the one of its server name where the proxy has these, too.
func (p *proxy) portClusters(s *model.Service, port *model.Port, d *model.DestinationRule, subset *model.Subset) []*clusterpb.Cluster {
	list := []*clusterpb.Cluster{p.outboundCluster(s, port, d, subset, false)}
	if p.forwards {
		list = append(list, p.outboundCluster(s, port, d, subset, true))
	}
	return list
}

// outboundCluster makes a cluster. One by its server name passes on TLS that it does not end.
func (p *proxy) outboundCluster(s *model.Service, port *model.Port, d *model.DestinationRule, subset *model.Subset, forwarded bool) *clusterpb.Cluster {
	subsetName := ""
	source := s.Source
	source.Config = "" // only policies are named in the metadata
	more := map[string]*structpb.Value{"services": servicesValue(s)}
	if d != nil {
		source = d.Source
	}
	if subset != nil {
		subsetName = subset.Name
		more["subset"] = structpb.NewStringValue(subset.Name)
		if d.Source.File == subset.Source.File {
			source.Line = cmp.Or(subset.Source.Line, source.Line)
		}
	}
	name := names.Outbound(port.Number, subsetName, s.Host)
	if forwarded {
		name = names.SNI(port.Number, subsetName, s.Host)
	}
	c := &clusterpb.Cluster{
		Name: name, AltStatName: name + ";",
		ConnectTimeout: durationpb.New(p.mesh.Settings.ConnectTimeout),
		LbPolicy:       clusterpb.Cluster_LEAST_REQUEST,
		CommonLbConfig: &clusterpb.Cluster_CommonLbConfig{HealthyPanicThreshold: &typepb.Percent{}},
		Metadata:       provenance(source, more),
	}
	policy := p.policyFor(d, subset, port.Number)
	p.discovery(c, s, port, subset, policy)
	p.balance(c, policy)
	p.weighByLocality(c, s, policy)
	p.limits(c, policy.Pool, policy.Budget)
	detectOutliers(c, policy.Outlier)
	if forwarded {
		return c
	}
	options := p.httpOptions(port, policy)
	p.transport(c, s, port, subsetName, p.tlsOf(d, policy.TLS), options)
	proxyProtocol(c, policy.ProxyProtocol)
	if options.set {
		c.TypedExtensionProtocolOptions = options.pack()
	}
	return c
}

// discovery sets how the cluster's endpoints are found.
func (p *proxy) discovery(c *clusterpb.Cluster, s *model.Service, port *model.Port, subset *model.Subset, policy *model.TrafficPolicy) {
	kind := clusterpb.Cluster_EDS
	switch s.Resolution {
	case model.ByName:
		p.byName(c, s)
		return
	case model.ByDNS:
		kind = clusterpb.Cluster_STRICT_DNS
	case model.ByDNSRoundRobin:
		kind = clusterpb.Cluster_LOGICAL_DNS
	case model.ByClient:
		kind = clusterpb.Cluster_ORIGINAL_DST
	default:
		if s.Headless && !p.scope.router || policy.Balancer != nil && policy.Balancer.Algorithm == model.Passthrough {
			kind = clusterpb.Cluster_ORIGINAL_DST
		}
	}
	c.ClusterDiscoveryType = &clusterpb.Cluster_Type{Type: kind}
	switch kind {
	case clusterpb.Cluster_EDS:
		c.EdsClusterConfig = &clusterpb.Cluster_EdsClusterConfig{EdsConfig: adsSource(), ServiceName: c.Name}
	case clusterpb.Cluster_STRICT_DNS, clusterpb.Cluster_LOGICAL_DNS:
		c.DnsLookupFamily = p.families.lookup()
		//lint:ignore SA1019 as istiod sends it
		c.DnsRefreshRate = durationpb.New(p.mesh.Settings.DNSRefresh)
		//lint:ignore SA1019 as istiod sends it
		c.RespectDnsTtl = true
		c.LoadAssignment = p.assignment(c.Name, s, port, subset, policy) // names, or a mix of names and addresses
	case clusterpb.Cluster_ORIGINAL_DST:
		c.LbPolicy = clusterpb.Cluster_CLUSTER_PROVIDED
	}
}

// balance sets the load balancer.
func (p *proxy) balance(c *clusterpb.Cluster, policy *model.TrafficPolicy) {
	b := policy.Balancer
	if c.LbPolicy == clusterpb.Cluster_CLUSTER_PROVIDED || b == nil {
		return
	}
	switch b.Algorithm {
	case model.RoundRobin:
		c.LbPolicy = clusterpb.Cluster_ROUND_ROBIN
	case model.Random:
		c.LbPolicy = clusterpb.Cluster_RANDOM
	case model.RingHash:
		c.LbPolicy = clusterpb.Cluster_RING_HASH
		c.LbConfig = &clusterpb.Cluster_RingHashLbConfig_{RingHashLbConfig: &clusterpb.Cluster_RingHashLbConfig{
			MinimumRingSize: wrapperspb.UInt64(cmp.Or(b.RingMin, 1024))}}
	case model.Maglev:
		c.LbPolicy = clusterpb.Cluster_MAGLEV
		c.LbConfig = &clusterpb.Cluster_MaglevLbConfig_{MaglevLbConfig: &clusterpb.Cluster_MaglevLbConfig{
			TableSize: wrapperspb.UInt64(cmp.Or(b.TableSize, 65537))}}
	}
	if w := b.Warmup; w != nil {
		slow := &clusterpb.Cluster_SlowStartConfig{
			SlowStartWindow:  durationpb.New(w.Duration),
			Aggression:       &corepb.RuntimeDouble{DefaultValue: w.Aggression, RuntimeKey: "windtunnel.aggression"},
			MinWeightPercent: &typepb.Percent{Value: w.MinimumPercent},
		}
		switch c.LbPolicy {
		case clusterpb.Cluster_LEAST_REQUEST:
			c.LbConfig = &clusterpb.Cluster_LeastRequestLbConfig_{LeastRequestLbConfig: &clusterpb.Cluster_LeastRequestLbConfig{SlowStartConfig: slow}}
		case clusterpb.Cluster_ROUND_ROBIN:
			c.LbConfig = &clusterpb.Cluster_RoundRobinLbConfig_{RoundRobinLbConfig: &clusterpb.Cluster_RoundRobinLbConfig{SlowStartConfig: slow}}
		}
	}
}

// limits sets circuit breakers and timeouts. Istio's limits are off unless set, and
// zero is not set.
func (p *proxy) limits(c *clusterpb.Cluster, pool *model.Pool, budget *model.RetryBudget) {
	if pool == nil {
		pool = &model.Pool{}
	}
	t := &clusterpb.CircuitBreakers_Thresholds{
		MaxConnections:     wrapperspb.UInt32(cmp.Or(pool.MaxConnections, unlimited)),
		MaxPendingRequests: wrapperspb.UInt32(cmp.Or(pool.MaxPending, unlimited)),
		MaxRequests:        wrapperspb.UInt32(cmp.Or(pool.MaxRequests, unlimited)),
		MaxRetries:         wrapperspb.UInt32(cmp.Or(pool.MaxRetries, unlimited)),
	}
	if budget != nil {
		t.MaxRetries = nil
		t.RetryBudget = &clusterpb.CircuitBreakers_Thresholds_RetryBudget{
			BudgetPercent: &typepb.Percent{Value: budget.Percent}, MinRetryConcurrency: wrapperspb.UInt32(budget.MinConcurrency)}
	}
	c.CircuitBreakers = &clusterpb.CircuitBreakers{Thresholds: []*clusterpb.CircuitBreakers_Thresholds{t}}
	if pool.ConnectTimeout > 0 {
		c.ConnectTimeout = durationpb.New(pool.ConnectTimeout)
	}
	k := pool.Keepalive
	if k == nil {
		k = p.mesh.Settings.Keepalive
	}
	if k != nil {
		c.UpstreamConnectionOptions = &clusterpb.UpstreamConnectionOptions{TcpKeepalive: tcpKeepalive(k)}
	}
}

func tcpKeepalive(k *model.Keepalive) *corepb.TcpKeepalive {
	m := &corepb.TcpKeepalive{}
	if k.Probes > 0 {
		m.KeepaliveProbes = wrapperspb.UInt32(k.Probes)
	}
	if k.Time > 0 {
		m.KeepaliveTime = wrapperspb.UInt32(uint32(k.Time / time.Second))
	}
	if k.Interval > 0 {
		m.KeepaliveInterval = wrapperspb.UInt32(uint32(k.Interval / time.Second))
	}
	return m
}

// detectOutliers sets passive health checks. Success rates never eject in Istio, and
// what is counted is enforced.
func detectOutliers(c *clusterpb.Cluster, o *model.Outlier) {
	if o == nil {
		return
	}
	d := &clusterpb.OutlierDetection{EnforcingSuccessRate: wrapperspb.UInt32(0), SplitExternalLocalOriginErrors: o.SplitLocal}
	if o.Interval > 0 {
		d.Interval = durationpb.New(o.Interval)
	}
	if o.BaseEjection > 0 {
		d.BaseEjectionTime = durationpb.New(o.BaseEjection)
	}
	if o.MaxEjectionPercent > 0 {
		d.MaxEjectionPercent = wrapperspb.UInt32(o.MaxEjectionPercent)
	}
	enforced := func(n uint32) *wrapperspb.UInt32Value {
		if n > 0 {
			return wrapperspb.UInt32(100)
		}
		return wrapperspb.UInt32(0)
	}
	if v := o.Consecutive5xx; v != nil {
		d.Consecutive_5Xx, d.EnforcingConsecutive_5Xx = wrapperspb.UInt32(*v), enforced(*v)
	}
	if v := o.ConsecutiveGateway; v != nil {
		d.ConsecutiveGatewayFailure, d.EnforcingConsecutiveGatewayFailure = wrapperspb.UInt32(*v), enforced(*v)
	}
	if o.SplitLocal {
		if v := o.ConsecutiveLocal; v != nil {
			d.ConsecutiveLocalOriginFailure, d.EnforcingConsecutiveLocalOriginFailure = wrapperspb.UInt32(*v), enforced(*v)
		}
		d.EnforcingLocalOriginSuccessRate = wrapperspb.UInt32(0)
	}
	c.OutlierDetection = d
	c.CommonLbConfig.HealthyPanicThreshold = &typepb.Percent{Value: float64(o.MinHealthPercent)}
}

// protocolOptions gathers HttpProtocolOptions, which need one of three protocols.
type protocolOptions struct {
	httppb.HttpProtocolOptions
	set bool
}

func (o *protocolOptions) common() *corepb.HttpProtocolOptions {
	if o.CommonHttpProtocolOptions == nil {
		o.CommonHttpProtocolOptions = &corepb.HttpProtocolOptions{}
	}
	o.set = true
	return o.CommonHttpProtocolOptions
}

func (o *protocolOptions) pack() map[string]*anypb.Any {
	if o.UpstreamProtocolOptions == nil {
		o.UpstreamProtocolOptions = explicitHTTP1()
	}
	return map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": toAny(&o.HttpProtocolOptions)}
}

func explicitHTTP1() *httppb.HttpProtocolOptions_ExplicitHttpConfig_ {
	return &httppb.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &httppb.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &httppb.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{HttpProtocolOptions: &corepb.Http1ProtocolOptions{}}}}
}

func useDownstream() *httppb.HttpProtocolOptions_UseDownstreamProtocolConfig {
	return &httppb.HttpProtocolOptions_UseDownstreamProtocolConfig{UseDownstreamProtocolConfig: &httppb.HttpProtocolOptions_UseDownstreamHttpConfig{
		HttpProtocolOptions: &corepb.Http1ProtocolOptions{}, Http2ProtocolOptions: &corepb.Http2ProtocolOptions{}}}
}

// httpOptions sets the upstream's protocol, and the pool's per-connection limits.
func (p *proxy) httpOptions(port *model.Port, policy *model.TrafficPolicy) *protocolOptions {
	o := &protocolOptions{}
	pool := policy.Pool
	if pool == nil {
		pool = &model.Pool{}
	}
	upgrade := pool.Upgrade == model.UpgradeAlways || pool.Upgrade == model.UpgradeDefault && p.mesh.Settings.UpgradeH2
	switch {
	case pool.UseClientProtocol || port.Protocol == model.Auto:
		o.UpstreamProtocolOptions, o.set = useDownstream(), true
	case port.Protocol.IsHTTP2() || upgrade && port.Protocol == model.HTTP:
		h2 := &corepb.Http2ProtocolOptions{}
		if pool.MaxStreams > 0 {
			h2.MaxConcurrentStreams = wrapperspb.UInt32(pool.MaxStreams)
		}
		o.set = true
		o.UpstreamProtocolOptions = &httppb.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &httppb.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &httppb.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: h2}}}
	}
	if pool.MaxRequestsPerConn > 0 {
		o.common().MaxRequestsPerConnection = wrapperspb.UInt32(pool.MaxRequestsPerConn)
	}
	if pool.HTTPIdle != nil {
		o.common().IdleTimeout = durationpb.New(*pool.HTTPIdle)
	}
	if policy.Outlier != nil && len(policy.Outlier.ErrorStatuses) > 0 {
		o.set = true
		o.OutlierDetection = &httppb.HttpProtocolOptions_OutlierDetection{ErrorMatcher: statusMatcher(policy.Outlier.ErrorStatuses)}
	}
	if pool.MaxConnectionDuration > 0 {
		o.common().MaxConnectionDuration = durationpb.New(pool.MaxConnectionDuration)
	}
	return o
}

// statusMatcher matches responses with one of the statuses.
func statusMatcher(statuses []uint32) *matcherpb.MatchPredicate {
	var rules []*matcherpb.MatchPredicate
	for _, s := range statuses {
		exact := &typematcherpb.StringMatcher{MatchPattern: &typematcherpb.StringMatcher_Exact{Exact: strconv.FormatUint(uint64(s), 10)}}
		rules = append(rules, &matcherpb.MatchPredicate{Rule: &matcherpb.MatchPredicate_HttpResponseHeadersMatch{
			HttpResponseHeadersMatch: &matcherpb.HttpHeadersMatch{Headers: []*routepb.HeaderMatcher{{
				Name: ":status", HeaderMatchSpecifier: &routepb.HeaderMatcher_StringMatch{StringMatch: exact}}}}}})
	}
	if len(rules) == 1 { // a set needs two
		return rules[0]
	}
	return &matcherpb.MatchPredicate{Rule: &matcherpb.MatchPredicate_OrMatch{OrMatch: &matcherpb.MatchPredicate_MatchSet{Rules: rules}}}
}

// transport sets how the cluster secures connections: as the policy says, else mTLS
// where an endpoint's sidecar terminates it.
func (p *proxy) transport(c *clusterpb.Cluster, s *model.Service, port *model.Port, subset string, tls *model.ClientTLS, o *protocolOptions) {
	sni := names.SNI(port.Number, subset, s.Host)
	switch {
	case tls == nil && (s.External || s.Resolution == model.ByName || !p.mesh.Settings.AutoMTLS):
	case tls == nil && c.GetType() == clusterpb.Cluster_ORIGINAL_DST:
		// There is no metadata on such endpoints to match on: all of them, or none.
		if allMTLS(s.Endpoints.On(port)) {
			c.TransportSocket = p.clientMTLS(s, port, sni, nil)
		}
	case tls == nil:
		c.TransportSocketMatches = []*clusterpb.Cluster_TransportSocketMatch{
			{Name: "tlsMode-istio", Match: stringsStruct(map[string]string{"tlsMode": "istio"}), TransportSocket: p.clientMTLS(s, port, sni, nil)},
			{Name: "tlsMode-disabled", Match: &structpb.Struct{}, TransportSocket: plaintext()},
		}
	case tls.Mode == model.TLSIstio:
		c.TransportSocket = p.clientMTLS(s, port, cmp.Or(tls.SNI, sni), tls.SubjectAltNames)
	case tls.Mode == model.TLSMutual && tls.Credential == "" && tls.Certificate == "":
		// Istio has no certificate to show then, and leaves the connection in plain text.
	case tls.Mode == model.TLSSimple || tls.Mode == model.TLSMutual:
		var alpn []string
		if port.Protocol.IsHTTP2() {
			alpn = []string{"h2"}
		}
		c.TransportSocket = clientTLS(tls, s.SubjectAltNames, alpn)
		if tls.SNI == "" {
			o.set = true
			o.UpstreamHttpProtocolOptions = &corepb.UpstreamHttpProtocolOptions{
				AutoSni: true, AutoSanValidation: (len(tls.SubjectAltNames) == 0 || s.Resolution == model.ByName) && !tls.InsecureSkipVerify}
		}
		if tls.SNI != "" || tls.InsecureSkipVerify {
			p.trustsAnySNI(c, s)
		}
	}
}

// tlsOf is a policy's TLS as this kind of proxy takes it.
func (p *proxy) tlsOf(d *model.DestinationRule, tls *model.ClientTLS) *model.ClientTLS {
	if tls == nil || tls.Credential == "" || p.scope.router || d != nil && d.Selector != nil {
		return tls
	}
	plain := *tls
	plain.Credential = ""
	return &plain
}

// clientSecrets sends the Secrets with which clusters originate TLS. One that is not
// there fails the connections of its clusters, until it comes.
func (p *proxy) clientSecrets() error {
	sent := map[string]bool{}
	for _, s := range p.scope.services {
		d := p.scope.policies[s]
		if d == nil {
			continue
		}
		for _, port := range s.Ports {
			for _, subset := range append([]*model.Subset{nil}, d.Subsets...) {
				tls := p.tlsOf(d, p.policyFor(d, subset, port.Number).TLS)
				if tls == nil || tls.Credential == "" || sent[tls.Credential] {
					continue
				}
				sent[tls.Credential] = true
				m, err := finish(p.credentialSecrets(tls.Credential))
				if err := p.put(resource.Secret, m, err); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (p *proxy) credentialSecrets(name string) []*tlspb.Secret {
	var list []*tlspb.Secret
	if s := p.certificateSecret(p.vault(), name); s != nil {
		list = append(list, s)
	}
	if s := p.rootsSecret(p.vault(), name); s != nil {
		list = append(list, s)
	}
	return list
}

func allMTLS(list []*model.Endpoint) bool {
	for _, e := range list {
		if e.TLSMode != "istio" {
			return false
		}
	}
	return len(list) > 0
}

func (p *proxy) blackHole() *clusterpb.Cluster {
	return &clusterpb.Cluster{
		Name: names.BlackHole, AltStatName: names.BlackHole + ";", ConnectTimeout: durationpb.New(p.mesh.Settings.ConnectTimeout),
		ClusterDiscoveryType: &clusterpb.Cluster_Type{Type: clusterpb.Cluster_STATIC},
	}
}

// passthrough forwards to where the connection was going.
func (p *proxy) passthrough(name string) *clusterpb.Cluster {
	c := &clusterpb.Cluster{
		Name: name, AltStatName: name + ";", ConnectTimeout: durationpb.New(p.mesh.Settings.ConnectTimeout),
		ClusterDiscoveryType: &clusterpb.Cluster_Type{Type: clusterpb.Cluster_ORIGINAL_DST},
		LbPolicy:             clusterpb.Cluster_CLUSTER_PROVIDED,
	}
	p.limits(c, nil, nil)
	o := &protocolOptions{}
	o.UpstreamProtocolOptions = useDownstream()
	o.common().IdleTimeout = durationpb.New(5 * time.Minute)
	c.TypedExtensionProtocolOptions = o.pack()
	return c
}

// inboundCluster leads to the application.
func (p *proxy) inboundCluster(in *inboundPort) *clusterpb.Cluster {
	pool, d := p.inboundPolicy(in)
	first := in.service()
	source := model.Source{File: first.Source.File, Line: first.Source.Line}
	if d != nil && pool != nil {
		source = d.Source
	}
	c := &clusterpb.Cluster{
		Name: names.Inbound(in.target), AltStatName: names.Inbound(in.target) + ";",
		ConnectTimeout:       durationpb.New(p.mesh.Settings.ConnectTimeout),
		ClusterDiscoveryType: &clusterpb.Cluster_Type{Type: clusterpb.Cluster_ORIGINAL_DST},
		LbPolicy:             clusterpb.Cluster_CLUSTER_PROVIDED,
		CleanupInterval:      &durationpb.Duration{Seconds: longest},
		UpstreamBindConfig:   p.families.bindSource(), CommonLbConfig: &clusterpb.Cluster_CommonLbConfig{},
		Metadata: provenance(source, map[string]*structpb.Value{"services": servicesValue(in.services...)}),
	}
	if in.ingress != nil && in.ingress.Target != 0 {
		p.fixedEndpoint(c, in.ingress)
	}
	p.limits(c, pool, nil)
	o := inboundOptions(pool)
	switch {
	case in.protocol == model.Auto, pool != nil && pool.UseClientProtocol:
		o.UpstreamProtocolOptions, o.set = useDownstream(), true
	case in.protocol.IsHTTP2():
		h2 := &corepb.Http2ProtocolOptions{}
		if pool != nil && pool.MaxStreams > 0 {
			h2.MaxConcurrentStreams = wrapperspb.UInt32(pool.MaxStreams)
		}
		o.UpstreamProtocolOptions, o.set = &httppb.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &httppb.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &httppb.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: h2}}}, true
	}
	if o.set {
		c.TypedExtensionProtocolOptions = o.pack()
	}
	return c
}

// fixedEndpoint sends all requests to where the Sidecar says that the application listens.
func (p *proxy) fixedEndpoint(c *clusterpb.Cluster, l *model.IngressListener) {
	at := p.families.loopback(l.IPv6)
	if l.Instance {
		at = p.node.IP
	} else {
		c.UpstreamBindConfig = nil // nothing redirects what stays at home
	}
	c.ClusterDiscoveryType = &clusterpb.Cluster_Type{Type: clusterpb.Cluster_STATIC}
	c.LbPolicy, c.CleanupInterval = clusterpb.Cluster_ROUND_ROBIN, nil
	c.LoadAssignment = &endpointpb.ClusterLoadAssignment{ClusterName: c.Name, Endpoints: []*endpointpb.LocalityLbEndpoints{{
		LbEndpoints: []*endpointpb.LbEndpoint{{HostIdentifier: &endpointpb.LbEndpoint_Endpoint{Endpoint: &endpointpb.Endpoint{Address: address(at, l.Target)}}}}}}}
}

// inboundOptions are a pool's limits of single connections.
func inboundOptions(pool *model.Pool) *protocolOptions {
	o := &protocolOptions{}
	if pool == nil {
		return o
	}
	if pool.MaxRequestsPerConn > 0 {
		o.common().MaxRequestsPerConnection = wrapperspb.UInt32(pool.MaxRequestsPerConn)
	}
	if pool.HTTPIdle != nil {
		o.common().IdleTimeout = durationpb.New(*pool.HTTPIdle)
	}
	if pool.MaxConnectionDuration > 0 {
		o.common().MaxConnectionDuration = durationpb.New(pool.MaxConnectionDuration)
	}
	return o
}
