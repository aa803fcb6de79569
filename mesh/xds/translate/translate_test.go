package translate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/translate"
)

// The facts are what istiod 1.32 sent for this mesh.
func TestSampleHasWhatIstiodSends(t *testing.T) {
	set := translated(t, productpage, bookinfo(), rules, gateway)
	wantListeners := []string{"0.0.0.0_80", "0.0.0.0_9080", "10.96.1.1_443", "virtualInbound", "virtualOutbound"}
	if got := set.Names(resource.Listener); !slices.Equal(got, wantListeners) {
		t.Errorf("listeners %v, want %v", got, wantListeners)
	}
	if got := set.Names(resource.Route); !slices.Equal(got, []string{"80", "9080"}) {
		t.Errorf("routes %v", got)
	}
	want := []string{
		"BlackHoleCluster", "InboundPassthroughCluster", "PassthroughCluster", "inbound|9080||",
		"outbound|443||istio-ingressgateway.istio-system.svc.cluster.local", "outbound|80||istio-ingressgateway.istio-system.svc.cluster.local",
		"outbound|9080|v1|reviews.default.svc.cluster.local", "outbound|9080|v2|reviews.default.svc.cluster.local",
		"outbound|9080|v3|reviews.default.svc.cluster.local", "outbound|9080||details.default.svc.cluster.local",
		"outbound|9080||productpage.default.svc.cluster.local", "outbound|9080||ratings.default.svc.cluster.local",
		"outbound|9080||reviews.default.svc.cluster.local",
	}
	if got := set.Names(resource.Cluster); !slices.Equal(got, want) {
		t.Errorf("clusters %q, want %q", got, want)
	}
	h := host(t, set, "9080", "reviews.default.svc.cluster.local:9080")
	wantDomains := []string{"reviews.default.svc.cluster.local", "reviews.default.svc.cluster.local.", "reviews",
		"reviews.default.svc", "reviews.default", "10.96.0.12"}
	if !slices.Equal(h.Domains, wantDomains) {
		t.Errorf("domains %v, want %v", h.Domains, wantDomains)
	}
	other := host(t, set, "80", "istio-ingressgateway.istio-system.svc.cluster.local:80")
	if want := []string{"istio-ingressgateway.istio-system.svc.cluster.local", "istio-ingressgateway.istio-system.svc.cluster.local.",
		"istio-ingressgateway.istio-system", "istio-ingressgateway.istio-system.svc", "10.96.1.1"}; !slices.Equal(other.Domains, want) {
		t.Errorf("domains of another namespace %v, want %v", other.Domains, want)
	}
	golden(t, "subset-cluster", cluster(t, set, "outbound|9080|v1|reviews.default.svc.cluster.local"))
	golden(t, "endpoints", get[*endpointpb.ClusterLoadAssignment](t, set, resource.Endpoint, "outbound|9080||reviews.default.svc.cluster.local"))
	golden(t, "default-host", h)
	golden(t, "outbound-listener", listener(t, set, "0.0.0.0_9080"))
}

func TestEveryProxyGetsValidReferences(t *testing.T) {
	for _, n := range []model.Node{productpage, reviewsV1, ingress} {
		set := translated(t, n, bookinfo(), rules, gateway)
		for _, typ := range []resource.Type{resource.Cluster, resource.Listener} {
			for _, name := range set.Names(typ) {
				refs, err := set[typ][name].References(typ)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range refs {
					if set[r.Type][r.Name] == nil {
						t.Errorf("%s: %s refers to %s %s, which is not there", n.ID, name, r.Type, r.Name)
					}
				}
			}
		}
	}
}

// What is made here is what the data plane takes.
func TestTheDataPlaneAcceptsIt(t *testing.T) {
	for _, n := range []model.Node{productpage, reviewsV1, ingress} {
		if _, err := compile.Compile(translated(t, n, bookinfo(), rules, gateway)); err != nil {
			t.Errorf("%s: %v", n.ID, err)
		}
	}
}

func chains(l *listenerpb.Listener) []string {
	var list []string
	for _, c := range l.FilterChains {
		m := c.GetFilterChainMatch()
		kind := c.Filters[len(c.Filters)-1].Name
		list = append(list, fmt.Sprintf("%s %d %s %s %s tls=%v", c.Name, m.GetDestinationPort().GetValue(), m.GetTransportProtocol(),
			strings.Join(m.GetApplicationProtocols(), ","), kind[strings.LastIndexByte(kind, '.')+1:], c.TransportSocket != nil))
	}
	return list
}

func TestInboundChainsFollowPeerAuthentication(t *testing.T) {
	const policy = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: %s}\nspec:\n  mtls: {mode: %s}\n"
	const all = "istio,istio-peer-exchange,istio-http/1.0,istio-http/1.1,istio-h2"
	passthrough := []string{
		"virtualInbound-catchall-http 0 tls istio-http/1.0,istio-http/1.1,istio-h2 http_connection_manager tls=true",
		"virtualInbound-catchall-http 0 raw_buffer http/1.1,h2c http_connection_manager tls=false",
		"virtualInbound 0 tls istio-peer-exchange,istio tcp_proxy tls=true",
		"virtualInbound 0 raw_buffer  tcp_proxy tls=false",
		"virtualInbound 0 tls  tcp_proxy tls=false",
	}
	blackhole := "virtualInbound-blackhole 15006   tcp_proxy tls=false"
	for _, c := range []struct {
		name, policy string
		inspectors   string // and where they do not look
		want         []string
	}{
		{"permissive by default", "", "tls_inspector not 15006, http_inspector not 9080 15006", append([]string{blackhole,
			"0.0.0.0_9080 9080 tls " + all + " http_connection_manager tls=true",
			"0.0.0.0_9080 9080 raw_buffer  http_connection_manager tls=false",
			"0.0.0.0_9080 9080 tls  tcp_proxy tls=false"}, passthrough...)},
		{"strict", fmt.Sprintf(policy, "istio-system", "STRICT"), "tls_inspector not 15006", []string{blackhole,
			"0.0.0.0_9080 9080 tls  http_connection_manager tls=true",
			"virtualInbound-catchall-http 0 tls istio-http/1.0,istio-http/1.1,istio-h2 http_connection_manager tls=true",
			"virtualInbound 0 tls  tcp_proxy tls=true"}},
		{"disabled in the namespace", fmt.Sprintf(policy, "default", "DISABLE"), "http_inspector not 9080 15006", []string{blackhole,
			"0.0.0.0_9080 9080   http_connection_manager tls=false",
			"virtualInbound-catchall-http 0  http/1.1,h2c http_connection_manager tls=false",
			"virtualInbound 0   tcp_proxy tls=false"}},
		{"disabled but for a port", fmt.Sprintf(policy, "default", "DISABLE") + "---\n" + strings.Replace(fmt.Sprintf(policy, "default", "DISABLE"),
			"name: default", "name: reviews", 1) + "  selector: {matchLabels: {app: reviews}}\n  portLevelMtls: {9080: {mode: STRICT}}\n",
			"tls_inspector only 9080, http_inspector not 9080 15006", []string{blackhole,
				"0.0.0.0_9080 9080 tls  http_connection_manager tls=true",
				"virtualInbound-catchall-http 0  http/1.1,h2c http_connection_manager tls=false",
				"virtualInbound 0   tcp_proxy tls=false"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := listener(t, translated(t, reviewsV1, bookinfo(), c.policy), "virtualInbound")
			if got := chains(l); !slices.Equal(got, c.want) {
				t.Errorf("chains:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			if got := inspectorsOf(l); got != c.inspectors {
				t.Errorf("inspectors %q, want %q", got, c.inspectors)
			}
		})
	}
}

func inspectorsOf(l *listenerpb.Listener) string {
	var list []string
	for _, f := range l.ListenerFilters[1:] {
		text := strings.TrimPrefix(f.Name, "envoy.filters.listener.")
		p := f.FilterDisabled
		if not := p.GetNotMatch(); not != nil {
			text, p = text+" only", not
		} else if p != nil {
			text += " not"
		}
		for _, r := range append([]*listenerpb.ListenerFilterChainMatchPredicate{p}, p.GetOrMatch().GetRules()...) {
			if ports := r.GetDestinationPortRange(); ports != nil {
				text += fmt.Sprint(" ", ports.GetStart())
			}
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ")
}

func TestStrictChain(t *testing.T) {
	l := listener(t, translated(t, reviewsV1, bookinfo(),
		"apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: istio-system}\nspec: {mtls: {mode: STRICT}}\n"), "virtualInbound")
	golden(t, "strict-chain", l.FilterChains[1].FilterChainMatch, l.FilterChains[1].TransportSocket)
}

func TestFeatures(t *testing.T) {
	const head = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: reviews}\nspec:\n  hosts: [reviews]\n  http:\n"
	for name, http := range map[string]string{
		"jason": `  - match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - route: [{destination: {host: reviews, subset: v1}}]
  - route: [{destination: {host: reviews, subset: v3}}]
`,
		"weights": `  - route:
    - {destination: {host: reviews, subset: v1}, weight: 80, headers: {response: {set: {x-version: one}}}}
    - {destination: {host: reviews, subset: v2}, weight: 20}
    - {destination: {host: reviews, subset: v3}, weight: 0}
`,
		"fault": `  - fault:
      delay: {percentage: {value: 0.1}, fixedDelay: 5s}
      abort: {percentage: {value: 10}, httpStatus: 503}
    route: [{destination: {host: reviews, subset: v1}}]
`,
		"timeout-retries": `  - name: slow
    match: [{name: all, uri: {regex: "/reviews/[0-9]+"}, ignoreUriCase: true, withoutHeaders: {x-skip: {exact: "1"}}, queryParams: {q: {prefix: a}}}]
    timeout: 2s
    retries: {attempts: 3, perTryTimeout: 500ms, retryOn: "5xx,418"}
    rewrite: {uri: /v2, authority: other.example.com}
    route: [{destination: {host: reviews, subset: v1}}]
`,
		"mirror": `  - route: [{destination: {host: reviews, subset: v1}}]
    mirrors: [{destination: {host: reviews, subset: v2}, percentage: {value: 50}}]
    corsPolicy: {allowOrigins: [{exact: "https://example.com"}], allowMethods: [GET, POST], maxAge: 24h}
    headers: {request: {add: {x-a: b}, remove: [x-c]}}
`,
		"answers": `  - match: [{uri: {prefix: /old}}]
    redirect: {uri: /new, authority: example.com, redirectCode: 308}
  - directResponse: {status: 418, body: {string: teapot}}
`,
	} {
		t.Run(name, func(t *testing.T) {
			set := translated(t, productpage, bookinfo(), rules, head+http)
			golden(t, name, host(t, set, "9080", "reviews.default.svc.cluster.local:9080"))
		})
	}
}

func TestSubsetPolicyOverridesBlockByBlock(t *testing.T) {
	set := translated(t, productpage, bookinfo(), `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy:
    loadBalancer: {simple: ROUND_ROBIN}
    connectionPool: {tcp: {maxConnections: 7, connectTimeout: 30ms}, http: {http1MaxPendingRequests: 1, maxRequestsPerConnection: 1}}
  subsets:
  - name: v1
    labels: {version: v1}
    trafficPolicy:
      loadBalancer: {consistentHash: {httpHeaderName: x-user}}
      outlierDetection: {consecutive5xxErrors: 1, interval: 1s, baseEjectionTime: 3m, maxEjectionPercent: 100}
      tls: {mode: DISABLE}
`)
	v1 := cluster(t, set, "outbound|9080|v1|reviews.default.svc.cluster.local")
	golden(t, "subset-policy", v1)
	base := cluster(t, set, "outbound|9080||reviews.default.svc.cluster.local")
	if base.LbPolicy != clusterpb.Cluster_ROUND_ROBIN || base.OutlierDetection != nil {
		t.Errorf("the host's own cluster has %v and outlier detection %v", base.LbPolicy, base.OutlierDetection)
	}
}

func TestGatewayListensWhereItsServiceLeads(t *testing.T) {
	set := translated(t, ingress, bookinfo(), gateway)
	if got := set.Names(resource.Listener); !slices.Equal(got, []string{"0.0.0.0_8080"}) {
		t.Fatalf("listeners %v: port 80 of the Gateway is 8080 at the Pod", got)
	}
	if got := set[resource.Cluster]["PassthroughCluster"]; got != nil {
		t.Error("a gateway passes nothing through")
	}
	golden(t, "gateway", host(t, set, "http.8080", "*:80"))
}

func TestGatewayCredential(t *testing.T) {
	const secure = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: secure}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [shop.example.com]
    tls: {mode: MUTUAL, credentialName: shop}
---
apiVersion: v1
kind: Secret
metadata: {name: shop, namespace: istio-system}
stringData: {tls.crt: chain, tls.key: key, ca.crt: roots}
`
	set := translated(t, ingress, bookinfo(), secure)
	if got := set.Names(resource.Secret); !slices.Equal(got, []string{"kubernetes://shop", "kubernetes://shop-cacert"}) {
		t.Fatalf("secrets %v", got)
	}
	c := listener(t, set, "0.0.0.0_8443").FilterChains[0]
	var context tlspb.DownstreamTlsContext
	if err := c.TransportSocket.GetTypedConfig().UnmarshalTo(&context); err != nil {
		t.Fatal(err)
	}
	if !context.RequireClientCertificate.GetValue() || !slices.Equal(c.FilterChainMatch.ServerNames, []string{"shop.example.com"}) {
		t.Errorf("client certificate %v, server names %v", context.RequireClientCertificate, c.FilterChainMatch.ServerNames)
	}
}

func TestRegistryOnlyAndSidecarScope(t *testing.T) {
	set := translated(t, productpage, bookinfo(), `apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default}
spec:
  egress: [{hosts: ["./reviews.default.svc.cluster.local"]}]
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
`)
	if got := set[resource.Cluster]["outbound|9080||ratings.default.svc.cluster.local"]; got != nil {
		t.Error("ratings is not in the scope")
	}
	if h := host(t, set, "9080", "block_all"); h.Routes[0].GetDirectResponse().GetStatus() != 502 {
		t.Errorf("unknown hosts get %v", h.Routes[0])
	}
	var tcp strings.Builder
	for _, c := range listener(t, set, "virtualOutbound").FilterChains {
		tcp.WriteString(string(c.Filters[len(c.Filters)-1].GetTypedConfig().GetValue()))
	}
	if strings.Contains(tcp.String(), "PassthroughCluster") {
		t.Error("unknown addresses are passed through")
	}
}

func TestServiceEntries(t *testing.T) {
	set := translated(t, productpage, bookinfo(), `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api}
spec: {hosts: [api.example.com], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db}
spec: {hosts: [db.internal], addresses: [192.168.7.1], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 5432, name: tcp, protocol: TCP}], endpoints: [{address: 10.9.9.9}]}
`)
	dns := cluster(t, set, "outbound|80||api.example.com")
	if dns.GetType() != clusterpb.Cluster_STRICT_DNS || dns.TransportSocketMatches != nil || len(dns.LoadAssignment.Endpoints) != 1 {
		t.Errorf("cluster %v", dns)
	}
	if h := host(t, set, "80", "api.example.com:80"); !slices.Contains(h.Domains, "api.example.com") {
		t.Errorf("domains %v", h.Domains)
	}
	if l := listener(t, set, "0.0.0.0_443"); !slices.Equal(l.FilterChains[0].FilterChainMatch.ServerNames, []string{"api.example.com"}) {
		t.Errorf("listener %v", l)
	}
	listener(t, set, "192.168.7.1_5432")
}

func TestSourceLabelsAreRespectedAcrossSharedWork(t *testing.T) {
	tr := translate.New(meshOf(t, bookinfo(), rules, `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{sourceLabels: {app: productpage}}]
    route: [{destination: {host: reviews, subset: v3}}]
  - route: [{destination: {host: reviews, subset: v1}}]
`), nil)
	for node, want := range map[*model.Node]string{&productpage: "v3", &reviewsV1: "v1"} {
		set, err := tr.Proxy(*node)
		if err != nil {
			t.Fatal(err)
		}
		got := host(t, set, "9080", "reviews.default.svc.cluster.local:9080").Routes[0].GetRoute().GetCluster()
		if got != "outbound|9080|"+want+"|reviews.default.svc.cluster.local" {
			t.Errorf("%s is sent to %s", node.ID, got)
		}
	}
}

// A Pod more changes endpoints only: all else is the very same resource.
func TestEndpointsChangeAlone(t *testing.T) {
	before := translate.New(meshOf(t, bookinfo(), rules, gateway), nil)
	old, err := before.Proxy(productpage)
	if err != nil {
		t.Fatal(err)
	}
	more := pod("reviews-v1-b", "default", "10.1.0.9", "bookinfo-reviews", "app=reviews", "version=v1", "security.istio.io/tlsMode=istio")
	set, err := translate.New(meshOf(t, bookinfo(), rules, gateway, more), before).Proxy(productpage)
	if err != nil {
		t.Fatal(err)
	}
	changed := map[resource.Type][]string{}
	for _, typ := range resource.Types {
		if !slices.Equal(set.Names(typ), old.Names(typ)) {
			t.Errorf("%s: names differ", typ)
		}
		for _, name := range set.Names(typ) {
			if set[typ][name].Version != old[typ][name].Version {
				changed[typ] = append(changed[typ], name)
			}
		}
	}
	want := []string{"outbound|9080|v1|reviews.default.svc.cluster.local", "outbound|9080||reviews.default.svc.cluster.local"}
	if len(changed) != 1 || !slices.Equal(changed[resource.Endpoint], want) {
		t.Errorf("changed %v, want only %v", changed, want)
	}
	if set[resource.Route]["9080"] != old[resource.Route]["9080"] {
		t.Error("an equal route was made again")
	}
}

func TestOutboundManagerHasIstiosFilters(t *testing.T) {
	l := listener(t, translated(t, productpage, bookinfo()), "0.0.0.0_9080")
	var m hcmpb.HttpConnectionManager
	if err := l.FilterChains[0].Filters[0].GetTypedConfig().UnmarshalTo(&m); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range m.HttpFilters {
		got = append(got, f.Name)
	}
	want := []string{"istio.metadata_exchange", "envoy.filters.http.grpc_stats", "istio.alpn", "envoy.filters.http.fault", "envoy.filters.http.cors", "istio.stats", "envoy.filters.http.router"}
	if !slices.Equal(got, want) || m.AccessLog != nil {
		t.Errorf("filters %v, access log %v", got, m.AccessLog)
	}
}

func BenchmarkProxy(b *testing.B) {
	var yaml strings.Builder
	for i := range 1000 {
		name := fmt.Sprintf("s%d", i)
		yaml.WriteString(service(name, "default", fmt.Sprintf("10.96.%d.%d", i/250, i%250+1), "{name: http, port: 80}", "app: "+name))
		for j := range 5 {
			yaml.WriteString(pod(fmt.Sprintf("%s-%d", name, j), "default", fmt.Sprintf("10.%d.%d.%d", j+1, i/250, i%250+1), "sa", "app="+name))
		}
	}
	m := meshOf(b, yaml.String())
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				t := translate.New(m, nil)
				for i := range n {
					if _, err := t.Proxy(model.Node{Type: model.Sidecar, IP: fmt.Sprintf("10.1.0.%d", i+1), ID: fmt.Sprintf("s%d-0", i), Namespace: "default"}); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func TestWhatEnvoyWouldRefuseIsAnError(t *testing.T) {
	m := model.New(model.Parts{Settings: model.Settings{ConnectTimeout: time.Second, InboundPort: 15006, OutboundPort: 15001}, Virtual: []*model.VirtualService{{
		Name: "a", Namespace: "default", Hosts: []string{"a.example.com"}, Gateways: []string{model.MeshGateway}, Export: model.Visibility{All: true},
		HTTP: []*model.HTTPRule{{Routes: []*model.Destination{{Host: "a.example.com"}}, Fault: &model.Fault{AbortStatus: 7, AbortPercent: 1}}},
	}}, Services: []*model.Service{{Host: "a.example.com", Namespace: "default", Export: model.Visibility{All: true},
		Ports: []*model.Port{{Number: 80, Protocol: model.HTTP}}, Endpoints: &model.Endpoints{}}}})
	if _, err := translate.New(m, nil).Proxy(productpage); err == nil || !strings.Contains(err.Error(), "HttpStatus") {
		t.Errorf("error %v, want one that names HttpStatus", err)
	}
}
