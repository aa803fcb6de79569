package translate

import (
	"cmp"
	"math"
	"strings"
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

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
