// Package model is the mesh as the control plane understands it: services, their
// endpoints, the rules that apply to them, all names resolved and all inheritance
// settled, or ready to be looked up. What comes in is built by mesh/build; what
// goes out is read by mesh/xds/translate and by whoever explains configuration.
//
// It imports the standard library only. Everything is immutable once New returned.
package model

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Source is where an element was written.
type Source struct {
	File string
	Line int
	// Config is the object's path as Istio's metadata has it:
	// /apis/networking.istio.io/v1/namespaces/default/virtual-service/reviews
	Config string
}

// String is "file:line", or "" where nobody wrote the element down.
func (s Source) String() string {
	switch {
	case s.File == "":
		return ""
	case s.Line == 0:
		return s.File
	default:
		return fmt.Sprintf("%s:%d", s.File, s.Line)
	}
}

// Settings are the mesh-wide ones, from MeshConfig.
type Settings struct {
	ClusterDomain string // "cluster.local"
	TrustDomain   string
	TrustAliases  []string
	RootNamespace string
	// AllowAny sends what no service matches to its original destination; without it, it is blocked.
	AllowAny bool
	// AnyByName has sidecars resolve the Host of HTTP requests that no service matches; what
	// is not HTTP is as AllowAny says.
	AnyByName bool
	AutoMTLS  bool
	Locality  *LocalityBalancing // nil: localities make no difference
	// Tracing is the mesh's own; nil: none. TracingDefault tells that it comes of a
	// default provider, not of the proxies' configuration.
	Tracing        *TraceSpec
	TracingDefault bool
	Sampling       float64 // percent, where nothing else is said
	ConnectTimeout time.Duration
	// DetectTimeout bounds protocol detection; 0 waits.
	DetectTimeout  time.Duration
	DNSRefresh     time.Duration
	OutboundPort   uint32
	InboundPort    uint32
	Retry          *Retry // nil: built-in default
	Keepalive      *Keepalive
	AccessLogs     []*AccessLog // of the default providers
	FallbackLog    *AccessLog   // of accessLogFile: where no provider is named for a workload; nil: none
	NoListenerLog  bool         // connections that no filter chain takes are in no log
	Normalization  Normalization
	UpgradeH2      bool
	OutboundPolicy *TrafficPolicy // defaults below every DestinationRule; nil: none
	MinTLS13       bool           // meshMTLS.minProtocolVersion is TLSV1_3
	Authorizers    map[string]*Authorizer
	Topology       GatewayTopology
}

// GatewayTopology is what is in front of gateways.
type GatewayTopology struct {
	TrustedProxies uint32 // entries of x-forwarded-for that they made
	// ForwardCert is what gateways do with x-forwarded-client-cert, as Envoy's enum numbers
	// it, and 1 more; 0: nothing is said.
	ForwardCert   uint8
	ProxyProtocol bool // they begin connections with its header
}

// Normalization of paths before they are matched.
type Normalization uint8

// The kinds of normalization, each including those before, NormalizeNone excepted.
const (
	NormalizeBase Normalization = iota
	NormalizeNone
	NormalizeMergeSlashes
	NormalizeDecodeAndMergeSlashes
)

// AccessLog is a log of every exchange.
type AccessLog struct {
	Name   string // of its provider
	Path   string
	Format string         // text; empty: Istio's default
	JSON   map[string]any // in place of Format: what JSON has, its strings being formats
	// EncodeJSON asks for Istio's default JSON format where JSON is empty.
	EncodeJSON bool
	// OmitEmpty leaves out what has no value.
	OmitEmpty bool
}

// Visibility is an exportTo list, resolved.
type Visibility struct {
	All        bool
	Namespaces []string // sorted
}

// To reports whether something with this visibility is seen from a namespace.
func (v Visibility) To(namespace string) bool {
	return v.All || slices.Contains(v.Namespaces, namespace)
}

// Node is one proxy, as it introduces itself.
type Node struct {
	Type      string // "sidecar", "router"
	IP        string
	IPs       []string // all of its addresses, by the metadata's INSTANCE_IPS; none: IP alone
	ID        string   // Pod's name
	Namespace string
	DNSDomain string // "default.svc.cluster.local"
	Labels    map[string]string
	// Workload, Account and Cluster are the metadata's WORKLOAD_NAME, SERVICE_ACCOUNT and CLUSTER_ID.
	Workload string
	Account  string
	Cluster  string
	MeshID   string
	Version  string // ISTIO_VERSION
	Locality Locality
	Host     string // the Kubernetes node that it runs on
	// AnswersDNS is the metadata's DNS_CAPTURE: the proxy answers its application's queries.
	AnswersDNS bool
	// Topology is what the proxy's own configuration says of what is in front of it; nil:
	// what the mesh's does.
	Topology *GatewayTopology
}

// The types of nodes.
const (
	Sidecar = "sidecar"
	Router  = "router"
)

// Parts is what a Mesh is made of; New sorts and indexes it.
type Parts struct {
	Settings Settings
	Services []*Service
	Virtual  []*VirtualService
	Policies []*DestinationRule
	Gateways []*Gateway
	Peers    []*PeerAuthentication
	// Authorizations and Authentications are sorted by age.
	Authorizations  []*AuthorizationPolicy
	Authentications []*RequestAuthentication
	Sidecars        []*SidecarScope
	// Telemetries are sorted by age.
	Telemetries []*Telemetry
	Secrets     []*Secret
	Workloads   []*Workload
	// EnvoyFilters are sorted by age.
	EnvoyFilters []*EnvoyFilter
}

// Mesh is everything, indexed.
type Mesh struct {
	Settings        Settings
	Services        []*Service        // by host, then namespace
	Virtual         []*VirtualService // oldest first
	Gateways        []*Gateway        // oldest first
	peers           []*PeerAuthentication
	authorizations  []*AuthorizationPolicy
	authentications []*RequestAuthentication
	sidecars        []*SidecarScope
	telemetries     []*Telemetry
	envoyFilters    []*EnvoyFilter
	policies        map[string]map[string][]*DestinationRule // namespace, host; oldest first
	wild            map[string][]string                      // namespace; wildcard hosts, most specific first
	byHost          map[string][]*Service
	byIP            map[string][]Instance
	secrets         map[string]*Secret
	pods            map[string]*Workload
}

// Workload is a Pod or WorkloadEntry.
type Workload struct {
	Name      string // of the Pod
	Workload  string // of its controller
	Namespace string
	Address   string
	Labels    map[string]string
	Account   string
	Locality  Locality
	Host      string // the Kubernetes node
	Source    Source
}

// Secret has the PEM blocks of a gateway's credential.
type Secret struct {
	Namespace, Name       string
	Chain, Key, Authority []byte
	Source                Source
}

// Instance is one endpoint of a service, as found by its address.
type Instance struct {
	Service  *Service
	Port     *Port
	Endpoint *Endpoint
}

// New indexes the parts.
func New(p Parts) *Mesh {
	m := &Mesh{
		Settings: p.Settings,
		Services: slices.SortedFunc(slices.Values(p.Services), func(a, b *Service) int {
			return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Namespace, b.Namespace))
		}),
		Virtual:        p.Virtual,
		Gateways:       p.Gateways,
		authorizations: p.Authorizations, authentications: p.Authentications,
		peers: p.Peers, sidecars: p.Sidecars, telemetries: p.Telemetries, envoyFilters: p.EnvoyFilters,
		policies: map[string]map[string][]*DestinationRule{},
		wild:     map[string][]string{},
		byHost:   map[string][]*Service{},
		byIP:     map[string][]Instance{},
		secrets:  map[string]*Secret{},
		pods:     map[string]*Workload{},
	}
	for _, s := range m.Services {
		m.byHost[s.Host] = append(m.byHost[s.Host], s)
		for _, port := range s.Ports {
			for _, e := range s.Endpoints.On(port) {
				m.byIP[e.Address] = append(m.byIP[e.Address], Instance{s, port, e})
			}
		}
	}
	for _, d := range p.Policies {
		if m.policies[d.Namespace] == nil {
			m.policies[d.Namespace] = map[string][]*DestinationRule{}
		}
		if IsWildcard(d.Host) && m.policies[d.Namespace][d.Host] == nil {
			m.wild[d.Namespace] = append(m.wild[d.Namespace], d.Host)
		}
		m.policies[d.Namespace][d.Host] = append(m.policies[d.Namespace][d.Host], d)
	}
	for _, list := range m.wild {
		slices.SortFunc(list, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	}
	for _, s := range p.Secrets {
		m.secrets[s.Namespace+"/"+s.Name] = s
	}
	for _, w := range p.Workloads {
		m.pods[w.Namespace+"/"+w.Name] = w
	}
	return m
}

// Service returns the service of a host that a namespace sees: its own one first.
func (m *Mesh) Service(host, namespace string) *Service {
	var found *Service
	for _, s := range m.byHost[host] {
		if s.Namespace == namespace {
			return s
		}
		if found == nil && s.Export.To(namespace) {
			found = s
		}
	}
	return found
}

// Hosts reports whether any namespace has a service of that name.
func (m *Mesh) Hosts(host string) bool { return len(m.byHost[host]) > 0 }

// Instances returns the endpoints at an address, sorted by service.
func (m *Mesh) Instances(ip string) []Instance { return m.byIP[ip] }

// Secret returns a gateway's credential, or nil.
func (m *Mesh) Secret(namespace, name string) *Secret { return m.secrets[namespace+"/"+name] }

// Workload returns the workload of a Pod, or nil.
func (m *Mesh) Workload(namespace, pod string) *Workload { return m.pods[namespace+"/"+pod] }

// Workloads returns all of them, sorted by namespace and name.
func (m *Mesh) Workloads() []*Workload {
	var list []*Workload
	for _, k := range slices.Sorted(maps.Keys(m.pods)) {
		list = append(list, m.pods[k])
	}
	return list
}

// Policy returns the DestinationRule that a client in a namespace, with labels, uses for
// a service. Istio looks in the client's namespace, then in the service's, then in
// the root namespace; within one, an exact host wins over wildcards, longer over shorter.
// Of the rules for that host one of the client's own namespace that selects it wins over
// those without a selector; where there are only others, the client has no rule.
func (m *Mesh) Policy(client string, labels map[string]string, s *Service) *DestinationRule {
	for i, ns := range []string{client, s.Namespace, m.Settings.RootNamespace} {
		if i > 0 && ns == client {
			continue
		}
		var general *DestinationRule
		found := false
		for _, d := range m.policiesIn(ns, s.Host) {
			if ns != client && !d.Export.To(client) {
				continue
			}
			found = true
			switch {
			case d.Selector == nil:
				general = d
			case ns == client && Selects(d.Selector, labels):
				return d
			}
		}
		if found {
			return general
		}
	}
	return nil
}

func (m *Mesh) policiesIn(namespace, host string) []*DestinationRule {
	if list := m.policies[namespace][host]; list != nil {
		return list
	}
	for _, wildcard := range m.wild[namespace] {
		if MatchesWildcard(wildcard, host) {
			return m.policies[namespace][wildcard]
		}
	}
	return nil
}

// PolicyLabels are those that a namespace's DestinationRules look at on clients, sorted.
func (m *Mesh) PolicyLabels(namespace string) []string {
	labels := map[string]bool{}
	for _, list := range m.policies[namespace] {
		for _, d := range list {
			for k := range d.Selector {
				labels[k] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(labels))
}

// Selects reports whether labels satisfy a selector; an empty one selects everything.
func Selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if have, ok := labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// Policies returns all DestinationRules, sorted by namespace and host.
func (m *Mesh) Policies() []*DestinationRule {
	var list []*DestinationRule
	for _, ns := range slices.Sorted(maps.Keys(m.policies)) {
		for _, host := range slices.Sorted(maps.Keys(m.policies[ns])) {
			list = append(list, m.policies[ns][host]...)
		}
	}
	return list
}

// Peers returns all PeerAuthentications, oldest first.
func (m *Mesh) Peers() []*PeerAuthentication { return m.peers }
