package compile_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// A sidecar's resources in small, in the shapes that istiod uses.
const (
	cluster = `{"name":"outbound|9080|v1|reviews","altStatName":"outbound|9080|v1|reviews;","type":"EDS",
	 "edsClusterConfig":{"edsConfig":{"ads":{},"resourceApiVersion":"V3"},"serviceName":"outbound|9080|v1|reviews"},
	 "connectTimeout":"10s","lbPolicy":"LEAST_REQUEST","commonLbConfig":{"healthyPanicThreshold":{}},"outlierDetection":{"consecutive5xx":2},
	 "circuitBreakers":{"thresholds":[{"maxConnections":1}]},
	 "metadata":{"filterMetadata":{"istio":{"config":"/apis/x","services":[{"host":"reviews.default.svc"}]},"windtunnel":{"source":"dr.yaml:7"}}},
	 "transportSocketMatches":[{"name":"tlsMode-istio","match":{"tlsMode":"istio"},"transportSocket":{"name":"envoy.transport_sockets.tls","typedConfig":{
	   "@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext","sni":"outbound_.9080_.v1_.reviews",
	   "commonTlsContext":{"alpnProtocols":["istio"],"tlsCertificateSdsSecretConfigs":[{"name":"default","sdsConfig":{"apiConfigSource":{"apiType":"GRPC"}}}],
	   "combinedValidationContext":{"defaultValidationContext":{"matchSubjectAltNames":[{"exact":"spiffe://cluster.local/ns/default/sa/reviews"}]},
	   "validationContextSdsSecretConfig":{"name":"ROOTCA","sdsConfig":{"apiConfigSource":{"apiType":"GRPC"}}}}}}}},
	  {"name":"tlsMode-disabled","match":{},"transportSocket":{"name":"envoy.transport_sockets.raw_buffer","typedConfig":{
	   "@type":"type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}}}],
	 "filters":[{"name":"istio.metadata_exchange","typedConfig":{"@type":"type.googleapis.com/udpa.type.v1.TypedStruct",
	   "typeUrl":"type.googleapis.com/envoy.tcp.metadataexchange.config.MetadataExchange","value":{"protocol":"istio-peer-exchange"}}}]}`
	endpoints = `{"clusterName":"outbound|9080|v1|reviews","endpoints":[{"locality":{},"loadBalancingWeight":1,"lbEndpoints":[{
	 "endpoint":{"address":{"socketAddress":{"address":"10.1.0.3","portValue":9080}}},"healthStatus":"HEALTHY","loadBalancingWeight":1,
	 "metadata":{"filterMetadata":{"envoy.transport_socket_match":{"tlsMode":"istio"},"istio":{"workload":"reviews-v1;default;reviews;v1;Kubernetes"}}}}]}]}`
	routes = `{"name":"9080","validateClusters":false,"ignorePortInHostMatching":true,"virtualHosts":[{"name":"reviews:9080","domains":["reviews","10.96.0.1"],
	 "includeRequestAttemptCount":true,"routes":[
	 {"match":{"safeRegex":{"regex":"/a|/b"},"caseSensitive":true,"headers":[{"name":"End-User","stringMatch":{"exact":"jason"}}]},
	  "route":{"cluster":"outbound|9080|v1|reviews","timeout":"0s","maxGrpcTimeout":"0s","retryPolicy":{"retryOn":"connect-failure,unavailable","numRetries":2,
	   "retryHostPredicate":[{"name":"p","typedConfig":{"@type":"type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"}}],
	   "hostSelectionRetryMaxAttempts":"5"}},
	  "typedPerFilterConfig":{"envoy.filters.http.fault":{"@type":"type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
	   "delay":{"fixedDelay":"7s","percentage":{"numerator":250000,"denominator":"MILLION"}}}}},
	 {"match":{"prefix":"/"},"route":{"cluster":"outbound|9080|v1|reviews"}}]}]}`
	listener = `{"name":"0.0.0.0_9080","address":{"socketAddress":{"address":"0.0.0.0","portValue":9080}},"bindToPort":false,"trafficDirection":"OUTBOUND",
	 "listenerFilters":[{"name":"http_inspector","typedConfig":{"@type":"type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"},
	   "filterDisabled":{"destinationPortRange":{"start":15006,"end":15007}}}],
	 "listenerFiltersTimeout":"0s","continueOnListenerFiltersTimeout":true,
	 "filterChains":[{"filterChainMatch":{"transportProtocol":"raw_buffer","applicationProtocols":["http/1.1","h2c"]},"transportSocketConnectTimeout":"15s","filters":[
	  {"name":"hcm","typedConfig":{"@type":"type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
	   "statPrefix":"outbound_0.0.0.0_9080;","rds":{"configSource":{"ads":{},"resourceApiVersion":"V3"},"routeConfigName":"9080"},
	   "streamIdleTimeout":"0s","normalizePath":true,"pathWithEscapedSlashesAction":"KEEP_UNCHANGED","upgradeConfigs":[{"upgradeType":"websocket"}],"httpFilters":[
	   {"name":"mx","typedConfig":{"@type":"type.googleapis.com/udpa.type.v1.TypedStruct","typeUrl":"type.googleapis.com/io.istio.http.peer_metadata.Config","value":{"upstream_discovery":[]}}},
	   {"name":"istio.alpn","typedConfig":{"@type":"type.googleapis.com/istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
	    "alpnOverride":[{"upstreamProtocol":"HTTP11","alpnOverride":["istio-http/1.1","istio"]}]}},
	   {"name":"envoy.filters.http.fault","typedConfig":{"@type":"type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"}},
	   {"name":"envoy.filters.http.router","typedConfig":{"@type":"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}}]}],
	 "defaultFilterChain":{"filterChainMatch":{},"name":"PassthroughFilterChain","filters":[{"name":"tcp","typedConfig":{
	  "@type":"type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy","statPrefix":"PassthroughCluster","cluster":"PassthroughCluster"}}]}}`
)

func put(t *testing.T, set resource.Set, typ resource.Type, text string) {
	t.Helper()
	m := resource.NewMessage(typ)
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	r, err := resource.New(resource.NameOf(m), m)
	if err != nil {
		t.Fatal(err)
	}
	set.Put(typ, r)
}

func sidecar(t *testing.T) resource.Set {
	t.Helper()
	set := resource.Set{}
	put(t, set, resource.Cluster, cluster)
	put(t, set, resource.Endpoint, endpoints)
	put(t, set, resource.Route, routes)
	put(t, set, resource.Listener, listener)
	return set
}

func TestSidecar(t *testing.T) {
	p, err := compile.Compile(sidecar(t))
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string, ok bool) {
		t.Helper()
		if !ok {
			t.Errorf("%s is wrong", name)
		}
	}
	c := p.Clusters["outbound|9080|v1|reviews"]
	check("discovery", c.Discovery == snapshot.EDS && c.Balancer == snapshot.LeastRequest && c.ChoiceCount == 2 && c.ConnectTimeout == 10*time.Second)
	check("panic threshold", c.PanicThreshold == 0)
	check("breakers", c.Breaker[0].MaxConnections == 1 && c.Breaker[0].MaxPending == 1024 && c.Breaker[1].MaxRetries == 3)
	check("outlier", c.Outlier.Consecutive5xx == 2 && c.Outlier.Interval == 10*time.Second && c.Outlier.BaseEjection == 30*time.Second && c.Outlier.MaxEjectionPercent == 10)
	check("idle timeout", c.HTTP.IdleTimeout == time.Hour)
	check("provenance", c.Service == "reviews.default.svc" && c.Source == "dr.yaml:7")
	e := c.Endpoints[0].Endpoints[0]
	check("endpoint", e.Address.String() == "10.1.0.3:9080" && e.TransportMatch["tlsMode"] == "istio" && strings.HasPrefix(e.Workload, "reviews-v1;"))
	tls := c.Transports[0].TLS
	check("tls", tls.Certificate == "default" && tls.ValidationContext == "ROOTCA" && !tls.InsecureSkipVerify && len(tls.MatchSANs) == 1)
	check("plaintext", c.Transports[1].TLS == nil && len(c.Transports[1].Match) == 0)

	first, second := p.Routes["9080"].VirtualHosts[0].Routes[0], p.Routes["9080"].VirtualHosts[0].Routes[1]
	check("regex", first.Match.Regex.MatchString("/b") && !first.Match.Regex.MatchString("/ab") && !first.Match.Regex.MatchString("/a/b"))
	check("header", first.Match.Headers[0].Name == "end-user" && *first.Match.Headers[0].Value.Exact == "jason")
	check("timeouts", first.Forward.Timeout == 0 && second.Forward.Timeout == 15*time.Second && *first.Forward.MaxGRPCTimeout == 0)
	r := first.Forward.Retry
	check("retries", r.Attempts == 2 && r.PreviousHosts && r.HostAttempts == 5 && r.BackOffBase == 25*time.Millisecond && r.BackOffMax == 250*time.Millisecond && len(r.On) == 2)
	f, ok := first.PerFilter["envoy.filters.http.fault"].(snapshot.Fault)
	check("fault", ok && f.Delay == 7*time.Second && f.DelayPercent == 25 && f.AbortGRPC == -1)

	l := p.Listeners[0]
	check("listener", !l.BindToPort && !l.Inbound && l.InspectTimeout == 0 && l.HTTPInspector.DisabledPorts[0].Start == 15006)
	m := l.Chains[0].HTTP
	check("manager", m.RouteConfig == "9080" && m.StreamIdleTimeout == 0 && m.IdleTimeout == time.Hour && m.NormalizePath && m.GenerateRequestID && m.MaxRequestHeaderBytes == 60<<10)
	check("filters", len(m.Filters) == 4 && m.Filters[3].FilterName() == "envoy.filters.http.router" && m.Filters[0] == snapshot.PeerMetadata{})
	check("default chain", l.Default.TCP.Clusters[0].Name == "PassthroughCluster" && l.Default.TCP.IdleTimeout == time.Hour)
}

// What two proxies have in common is compiled once; what differs, or depends on files, is each one's own.
func TestProxiesShareWhatIsEqual(t *testing.T) {
	shared := compile.NewShared()
	proxy := func(endpoints string, more ...string) *snapshot.Proxy {
		set := sidecar(t)
		put(t, set, resource.Endpoint, endpoints)
		for _, text := range more {
			put(t, set, resource.Cluster, text)
		}
		shared.Set(set)
		c := compile.NewCompiler()
		c.Shared = shared
		c.ReadFile = func(string) ([]byte, error) { return []byte{}, nil }
		p, err := c.Compile(set)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	const reviews, filed = "outbound|9080|v1|reviews", "filed"
	inFile := `{"name":"filed","type":"STATIC","connectTimeout":"1s","transportSocket":{"name":"envoy.transport_sockets.tls","typedConfig":{
	 "@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
	 "commonTlsContext":{"validationContext":{"trustedCa":{"filename":"/ca.pem"}}}}}}`
	first, second := proxy(endpoints, inFile), proxy(endpoints, inFile)
	if first.Listeners[0] != second.Listeners[0] || first.Routes["9080"] != second.Routes["9080"] || first.Clusters[reviews] != second.Clusters[reviews] {
		t.Error("what is equal was compiled twice")
	}
	if first.Clusters[filed] == second.Clusters[filed] {
		t.Error("a cluster is shared whose certificate each proxy reads from its own file")
	}
	third := proxy(strings.Replace(endpoints, "10.1.0.3", "10.1.0.4", 1))
	if third.Clusters[reviews] == first.Clusters[reviews] || third.Clusters[reviews].Endpoints[0].Endpoints[0].Address.String() != "10.1.0.4:9080" {
		t.Error("a cluster has another proxy's endpoints")
	}
	if third.Listeners[0] != first.Listeners[0] {
		t.Error("a listener that is equal was compiled again")
	}
}

func TestUnchangedResourcesKeepTheirPointers(t *testing.T) {
	c := compile.NewCompiler()
	before, err := c.Compile(sidecar(t))
	if err != nil {
		t.Fatal(err)
	}
	const name = "outbound|9080|v1|reviews"
	set := sidecar(t)
	put(t, set, resource.Endpoint, strings.Replace(endpoints, "10.1.0.3", "10.1.0.4", 1))
	after, err := c.Compile(set)
	if err != nil {
		t.Fatal(err)
	}
	if before.Listeners[0] != after.Listeners[0] || before.Routes["9080"] != after.Routes["9080"] {
		t.Error("what did not change was compiled again")
	}
	if before.Clusters[name] == after.Clusters[name] || after.Clusters[name].Endpoints[0].Endpoints[0].Address.String() != "10.1.0.4:9080" {
		t.Error("the cluster has its old endpoints")
	}
	if before.Version == after.Version {
		t.Error("the version is the same")
	}
	// After an error the set in force is still remembered.
	bad := sidecar(t)
	put(t, bad, resource.Route, strings.Replace(routes, `"reviews","10.96.0.1"`, `"reviews","REVIEWS"`, 1))
	if _, err := c.Compile(bad); err == nil {
		t.Fatal("two equal domains were accepted")
	}
	again, err := c.Compile(set)
	if err != nil || again.Clusters[name] != after.Clusters[name] || again.Routes["9080"] != after.Routes["9080"] {
		t.Errorf("an error forgets what is in force: %v", err)
	}
}

func TestProblems(t *testing.T) {
	for name, tt := range map[string]struct {
		typ       resource.Type
		text      string
		old, into string
		want      []string
	}{
		"cluster, all at once": {resource.Cluster, cluster, `"connectTimeout":"10s"`, `"connectTimeout":"10s","healthChecks":[],"lbSubsetConfig":{},"closeConnectionsOnHostHealthFailure":true`,
			[]string{`cluster "outbound|9080|v1|reviews": lbSubsetConfig: not supported`, `cluster "outbound|9080|v1|reviews": closeConnectionsOnHostHealthFailure: not supported`}},
		"nested": {resource.Listener, listener, `"normalizePath":true`, `"normalizePath":true,"via":"x","commonHttpProtocolOptions":{"headersWithUnderscoresAction":"DROP_HEADER"}`,
			[]string{`listener "0.0.0.0_9080": filterChains[0].filters[0].typedConfig.commonHttpProtocolOptions.headersWithUnderscoresAction: not supported`,
				`listener "0.0.0.0_9080": filterChains[0].filters[0].typedConfig.via: not supported`}},
		"filter": {resource.Listener, listener, `type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"`, `type.googleapis.com/envoy.config.route.v3.RouteMatch"`,
			[]string{`filterChains[0].filters[0].typedConfig.httpFilters[2].typedConfig: `}},
		"typed struct": {resource.Listener, listener, "io.istio.http.peer_metadata.Config", "wasm.Plugin", []string{`httpFilters[0].typedConfig: wasm.Plugin: not supported`}},
		"no router":    {resource.Listener, listener, "envoy.extensions.filters.http.router.v3.Router", "envoy.extensions.filters.http.cors.v3.Cors", []string{"httpFilters: the router has to be there once, and last"}},
		"regex":        {resource.Route, routes, "/a|/b", "/a(", []string{"virtualHosts[0].routes[0].match.safeRegex.regex: error parsing regexp"}},
		"address":      {resource.Endpoint, endpoints, "10.1.0.3", "reviews", []string{`cluster "outbound|9080|v1|reviews": endpoints.endpoints[0].lbEndpoints[0].endpoint.address.socketAddress.address: "reviews" is not an IP address`}},
		"subsets": {resource.Route, routes, `"timeout":"0s"`, `"timeout":"0s","metadataMatch":{"filterMetadata":{"envoy.lb":{"version":"v1"}}}`,
			[]string{`virtualHosts[0].routes[0].route.metadataMatch: not supported`}},
		"settings of HTTP/2": {resource.Listener, listener, `"normalizePath":true`, `"normalizePath":true,"http2ProtocolOptions":{"hpackTableSize":100,"connectionKeepalive":{"timeout":"1s","connectionIdleInterval":"2s"}}`,
			[]string{`typedConfig.http2ProtocolOptions.hpackTableSize: not supported`, `http2ProtocolOptions.connectionKeepalive.connectionIdleInterval: not supported`}},
		"back-off of DNS": {resource.Cluster, cluster, `"connectTimeout":"10s"`, `"connectTimeout":"10s","dnsFailureRefreshRate":{"baseInterval":"9s","maxInterval":"2s"}`,
			[]string{`dnsFailureRefreshRate: maxInterval (2s) is below baseInterval (9s)`}},
		"validation": {resource.Route, routes, `"domains":["reviews","10.96.0.1"]`, `"domains":[]`, []string{`route configuration "9080": `, "Domains"}},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(tt.text, tt.old) {
				t.Fatalf("the sample has no %s", tt.old)
			}
			set := sidecar(t)
			put(t, set, tt.typ, strings.Replace(tt.text, tt.old, tt.into, 1))
			_, err := compile.Compile(set)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got  %v\nwant %s", err, want)
				}
			}
			var p *compile.Problem
			if !errors.As(err, &p) || p.Name == "" {
				t.Errorf("no Problem in %v", err)
			}
		})
	}
}

// What changes behaviour has its place in the snapshot.
func TestProtocolOptions(t *testing.T) {
	set := sidecar(t)
	options := `"http2ProtocolOptions":{"maxConcurrentStreams":7,"initialStreamWindowSize":70000,"initialConnectionWindowSize":80000,"connectionKeepalive":{"interval":"10s","timeout":"2s"}}`
	put(t, set, resource.Listener, strings.Replace(listener, `"normalizePath":true`, `"normalizePath":true,"delayedCloseTimeout":"3s",`+options, 1))
	put(t, set, resource.Cluster, strings.Replace(cluster, `"connectTimeout":"10s"`, `"connectTimeout":"10s","dnsLookupFamily":"V4_PREFERRED","dnsFailureRefreshRate":{"baseInterval":"1s"},`+options, 1))
	put(t, set, resource.Route, strings.Replace(routes, `"timeout":"0s"`, `"timeout":"0s","idleTimeout":"0s","maxStreamDuration":{"maxStreamDuration":"0s"}`, 1))
	p, err := compile.Compile(set)
	if err != nil {
		t.Fatal(err)
	}
	want := snapshot.HTTP2Options{MaxConcurrentStreams: 7, StreamWindow: 70000, ConnectionWindow: 80000, Keepalive: 10 * time.Second, KeepaliveTimeout: 2 * time.Second, KeepaliveJitter: 15}
	h := p.Listeners[0].Chains[0].HTTP
	if h.HTTP2 != want || h.DelayedClose == nil || *h.DelayedClose != 3*time.Second {
		t.Errorf("the manager has %+v, %v", h.HTTP2, h.DelayedClose)
	}
	c := p.Clusters["outbound|9080|v1|reviews"]
	if c.HTTP.Settings != want || c.HTTP.MaxConcurrentStreams != 7 || !c.HTTP.HTTP2 || c.DNSFamily != snapshot.DNSPreferV4 || c.DNSFailureBase != time.Second || c.DNSFailureMax != 10*time.Second {
		t.Errorf("the cluster has %+v", c)
	}
	f := p.Routes["9080"].VirtualHosts[0].Routes[0].Forward
	if f.IdleTimeout == nil || !f.OwnStreamDuration {
		t.Errorf("the route has %+v", f)
	}
}

func TestMissingEndpointsAreNone(t *testing.T) {
	set := sidecar(t)
	delete(set, resource.Endpoint)
	p, err := compile.Compile(set)
	if err != nil || len(p.Clusters["outbound|9080|v1|reviews"].Endpoints) != 0 {
		t.Errorf("%v", err)
	}
}

// TestOptionalFilter: a filter that is not known may be left out if it says so.
func TestOptionalFilter(t *testing.T) {
	set := sidecar(t)
	unknown := regexp.MustCompile(`\{"name":"mx",`).ReplaceAllString(listener, `{"name":"mx","isOptional":true,`)
	put(t, set, resource.Listener, strings.Replace(unknown, "io.istio.http.peer_metadata.Config", "wasm.Plugin", 1))
	p, err := compile.Compile(set)
	if err != nil || len(p.Listeners[0].Chains[0].HTTP.Filters) != 3 {
		t.Errorf("%v", err)
	}
}

func TestHealthChecks(t *testing.T) {
	const common = `"healthChecks":[{"timeout":"1s","interval":"5s","unhealthyThreshold":3,"healthyThreshold":2,"unhealthyInterval":"7s",`
	compiled := func(text string) (*snapshot.Cluster, error) {
		set := resource.Set{}
		put(t, set, resource.Cluster, `{"name":"web","type":"STATIC","connectTimeout":"1s",`+text+`}`)
		p, err := compile.Compile(set)
		if err != nil {
			return nil, err
		}
		return p.Clusters["web"], nil
	}
	c, err := compiled(common + `"httpHealthCheck":{"path":"/ok","expectedStatuses":[{"start":"200","end":"300"}]}}]`)
	if err != nil {
		t.Fatal(err)
	}
	h := c.HealthCheck
	if h.Interval != 5*time.Second || h.NoTraffic != time.Minute || h.NoTrafficHealthy != time.Minute || h.UnhealthyEdge != 7*time.Second ||
		h.HealthyEdge != 5*time.Second || !h.Reuse || h.HTTP.Method != "GET" || h.HTTP.Expected[0] != (snapshot.StatusRange{From: 200, To: 300}) {
		t.Errorf("health check is %+v %+v", h, h.HTTP)
	}
	if c, err = compiled(common + `"tcpHealthCheck":{"send":{"text":"50494e47"},"receive":[{"text":"504f4e47"}]}}]`); err != nil || string(c.HealthCheck.TCP.Send) != "PING" || string(c.HealthCheck.TCP.Receive[0]) != "PONG" {
		t.Errorf("%v", err)
	}
	for _, wrong := range []string{
		common + `"tcpHealthCheck":{"send":{"text":"xy"}}}]`,
		common + `"httpHealthCheck":{"path":"/ok","serviceNameMatcher":{"exact":"a"}}}]`,
		`"healthChecks":[{"timeout":"1s","interval":"5s","tcpHealthCheck":{}}]`,
	} {
		if _, err := compiled(wrong); err == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
}
