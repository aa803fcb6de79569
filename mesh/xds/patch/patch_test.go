package patch

import (
	"slices"
	"strings"
	"testing"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

const inboundListener = `{"name":"virtualInbound","trafficDirection":"INBOUND","address":{"socketAddress":{"address":"0.0.0.0","portValue":15006}},
 "listenerFilters":[{"name":"tls"},{"name":"http"}],
 "filterChains":[{"name":"0.0.0.0_9080","filterChainMatch":{"destinationPort":9080},"filters":[{"name":"rbac"},{"name":"hcm","typedConfig":{
  "@type":"type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager","statPrefix":"in",
  "httpFilters":[{"name":"fault"},{"name":"cors"},{"name":"router"}],
  "routeConfig":{"name":"inbound|9080||","virtualHosts":[{"name":"inbound|http|9080","domains":["*"],"routes":[
   {"name":"a","match":{"prefix":"/a"},"redirect":{}},{"name":"default","match":{"prefix":"/"},"route":{"cluster":"c","timeout":"5.5s"}}]}]}}}]},
 {"name":"tcp","filterChainMatch":{"destinationPort":9090},"filters":[{"name":"tcp_proxy"}]}]}`

func parsed[M proto.Message](t *testing.T, text string, m M) M {
	t.Helper()
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	return m
}

func set(t *testing.T, n model.Node, patches ...*model.EnvoyPatch) *Set {
	t.Helper()
	f := &model.EnvoyFilter{Patches: patches}
	if problems := Check(f); len(problems) > 0 {
		t.Fatal(problems)
	}
	return New([]*model.EnvoyFilter{f}, n)
}

// state is the names of what is in a listener, in order.
func state(t *testing.T, l *listenerpb.Listener) string {
	var out []string
	for _, f := range l.GetListenerFilters() {
		out = append(out, f.GetName())
	}
	for _, c := range l.GetFilterChains() {
		out = append(out, "|", c.GetName()+":")
		for _, f := range c.GetFilters() {
			out = append(out, f.GetName())
			m := &hcmpb.HttpConnectionManager{}
			if f.GetTypedConfig().UnmarshalTo(m) != nil {
				continue
			}
			for _, h := range m.GetHttpFilters() {
				out = append(out, "-"+h.GetName())
			}
			for _, h := range m.GetRouteConfig().GetVirtualHosts() {
				out = append(out, "@"+h.GetName())
				for _, r := range h.GetRoutes() {
					out = append(out, "/"+r.GetName())
				}
			}
		}
	}
	return strings.Join(out, " ")
}

func TestPatchesOfListeners(t *testing.T) {
	const hosts = " @inbound|http|9080 /a /default"
	const rest = " | tcp: tcp_proxy"
	hcm := &model.ListenerMatch{Chain: &model.ChainMatch{Filter: "hcm"}}
	sub := func(name string) *model.ListenerMatch {
		return &model.ListenerMatch{Chain: &model.ChainMatch{Filter: "hcm", HTTPFilter: name}}
	}
	value := []byte(`{"name":"x"}`)
	route := []byte(`{"name":"x","match":{"prefix":"/x"},"redirect":{}}`)
	for name, c := range map[string]struct {
		patch model.EnvoyPatch
		want  string
	}{
		"before, unnamed": {model.EnvoyPatch{Target: "HTTP_FILTER", Operation: "INSERT_BEFORE", Listener: hcm, Value: value},
			"tls http | 0.0.0.0_9080: rbac hcm -x -fault -cors -router" + hosts + rest},
		"before the router": {model.EnvoyPatch{Target: "HTTP_FILTER", Operation: "INSERT_BEFORE", Listener: sub("router"), Value: value},
			"tls http | 0.0.0.0_9080: rbac hcm -fault -cors -x -router" + hosts + rest},
		"after": {model.EnvoyPatch{Target: "HTTP_FILTER", Operation: "INSERT_AFTER", Listener: sub("fault"), Value: value},
			"tls http | 0.0.0.0_9080: rbac hcm -fault -x -cors -router" + hosts + rest},
		"after nobody": {model.EnvoyPatch{Target: "HTTP_FILTER", Operation: "INSERT_AFTER", Listener: sub("lua"), Value: value},
			"tls http | 0.0.0.0_9080: rbac hcm -fault -cors -router" + hosts + rest},
		"first": {model.EnvoyPatch{Target: "HTTP_FILTER", Operation: "INSERT_FIRST", Value: value},
			"tls http | 0.0.0.0_9080: rbac hcm -x -fault -cors -router" + hosts + rest},
		"remove": {model.EnvoyPatch{Target: "HTTP_FILTER", Operation: "REMOVE", Listener: sub("cors")},
			"tls http | 0.0.0.0_9080: rbac hcm -fault -router" + hosts + rest},
		"replace": {model.EnvoyPatch{Target: "HTTP_FILTER", Operation: "REPLACE", Listener: sub("cors"), Value: value},
			"tls http | 0.0.0.0_9080: rbac hcm -fault -x -router" + hosts + rest},
		"another port": {model.EnvoyPatch{Target: "HTTP_FILTER", Operation: "INSERT_FIRST", Listener: &model.ListenerMatch{Port: 9090}, Value: value},
			"tls http | 0.0.0.0_9080: rbac hcm -fault -cors -router" + hosts + rest},
		"another context": {model.EnvoyPatch{Target: "HTTP_FILTER", Context: "SIDECAR_OUTBOUND", Operation: "INSERT_FIRST", Value: value},
			"tls http | 0.0.0.0_9080: rbac hcm -fault -cors -router" + hosts + rest},
		"another version": {model.EnvoyPatch{Target: "HTTP_FILTER", Version: `^1\.9.*`, Operation: "INSERT_FIRST", Value: value},
			"tls http | 0.0.0.0_9080: rbac hcm -fault -cors -router" + hosts + rest},
		"network filter": {model.EnvoyPatch{Target: "NETWORK_FILTER", Operation: "INSERT_BEFORE", Listener: &model.ListenerMatch{Chain: &model.ChainMatch{Filter: "tcp_proxy"}}, Value: value},
			"tls http | 0.0.0.0_9080: rbac hcm -fault -cors -router" + hosts + " | tcp: x tcp_proxy"},
		"listener filter": {model.EnvoyPatch{Target: "LISTENER_FILTER", Operation: "REMOVE", Listener: &model.ListenerMatch{ListenerFilter: "http"}},
			"tls | 0.0.0.0_9080: rbac hcm -fault -cors -router" + hosts + rest},
		"filter chain": {model.EnvoyPatch{Target: "FILTER_CHAIN", Operation: "REMOVE", Listener: &model.ListenerMatch{Chain: &model.ChainMatch{Port: 9090}}},
			"tls http | 0.0.0.0_9080: rbac hcm -fault -cors -router" + hosts},
		"route": {model.EnvoyPatch{Target: "HTTP_ROUTE", Context: "SIDECAR_INBOUND", Operation: "INSERT_AFTER", Value: route,
			Route: &model.RouteTableMatch{Port: 9080, HasHost: true, Host: "inbound|http|9080", HasRoute: true, Action: "REDIRECT"}},
			"tls http | 0.0.0.0_9080: rbac hcm -fault -cors -router @inbound|http|9080 /a /x /default" + rest},
		"route removed": {model.EnvoyPatch{Target: "HTTP_ROUTE", Operation: "REMOVE", Route: &model.RouteTableMatch{HasHost: true, HasRoute: true, Route: "default"}},
			"tls http | 0.0.0.0_9080: rbac hcm -fault -cors -router @inbound|http|9080 /a" + rest},
		"virtual host": {model.EnvoyPatch{Target: "VIRTUAL_HOST", Operation: "ADD", Value: []byte(`{"name":"x","domains":["x"]}`)},
			"tls http | 0.0.0.0_9080: rbac hcm -fault -cors -router" + hosts + " @x" + rest},
	} {
		l := parsed(t, inboundListener, new(listenerpb.Listener))
		s := set(t, model.Node{Type: model.Sidecar, Version: "1.24.0"}, &c.patch)
		if !s.Listener(l) {
			t.Errorf("%s: the listener is removed", name)
		}
		if got := state(t, l); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestMergingReplacesValuesAndAddsToLists(t *testing.T) {
	r := parsed(t, `{"name":"http.8080","virtualHosts":[{"name":"a:80","domains":["a"],"routes":[
	 {"match":{"prefix":"/"},"route":{"cluster":"c","timeout":"5.5s"},"typedPerFilterConfig":{"keep":{"@type":"type.googleapis.com/google.protobuf.Empty"}}}]}]}`, new(routepb.RouteConfiguration))
	s := set(t, model.Node{Type: model.Router},
		&model.EnvoyPatch{Target: "VIRTUAL_HOST", Context: "GATEWAY", Operation: "MERGE", Route: &model.RouteTableMatch{Port: 80, HasHost: true, Host: "a:80"},
			Value: []byte(`{"rate_limits":[{"actions":[{"request_headers":{"header_name":":path","descriptor_key":"PATH"}}]}],"domains":["b"]}`)},
		&model.EnvoyPatch{Target: "HTTP_ROUTE", Context: "GATEWAY", Operation: "MERGE", Route: &model.RouteTableMatch{HasHost: true, HasRoute: true, Action: "ROUTE"},
			Value: []byte(`{"route":{"timeout":"7s"},"typed_per_filter_config":{"x":{"@type":"type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit","stat_prefix":"p"}}}`)})
	s.Ports = func(uint32) []uint32 { return []uint32{80} }
	s.Routes(r)
	h := r.GetVirtualHosts()[0]
	route := h.GetRoutes()[0]
	if got := route.GetRoute(); got.GetTimeout().AsDuration().Seconds() != 7 || got.GetCluster() != "c" || len(route.GetTypedPerFilterConfig()) != 2 {
		t.Errorf("route %v", route)
	}
	if len(h.GetRateLimits()) != 1 || !slices.Equal(h.GetDomains(), []string{"a", "b"}) {
		t.Errorf("virtual host %v", h)
	}
}

func TestPatchesOfClusters(t *testing.T) {
	s := set(t, model.Node{Type: model.Sidecar},
		&model.EnvoyPatch{Target: "CLUSTER", Context: "SIDECAR_OUTBOUND", Operation: "MERGE", Cluster: &model.ClusterMatch{Service: "reviews.default.svc.cluster.local", Port: 9080},
			Value: []byte(`{"connect_timeout":"3s"}`)},
		&model.EnvoyPatch{Target: "CLUSTER", Operation: "REMOVE", Cluster: &model.ClusterMatch{Name: "BlackHoleCluster"}},
		&model.EnvoyPatch{Target: "CLUSTER", Operation: "ADD", Value: []byte(`{"name":"mine"}`)})
	for name, want := range map[string]float64{"outbound|9080|v1|reviews.default.svc.cluster.local": 3, "outbound|9081||reviews.default.svc.cluster.local": 0, "inbound|9080||": 0} {
		c := &clusterpb.Cluster{Name: name}
		if !s.Cluster(c) || c.GetConnectTimeout().AsDuration().Seconds() != want {
			t.Errorf("%s: %v", name, c)
		}
	}
	if s.Cluster(&clusterpb.Cluster{Name: "BlackHoleCluster"}) {
		t.Error("a removed cluster stays")
	}
	if list := s.Clusters(); len(list) != 1 || list[0].GetName() != "mine" {
		t.Errorf("added %v", list)
	}
}

func TestProblemsHavePlaces(t *testing.T) {
	const limit = `"@type":"type.googleapis.com/udpa.type.v1.TypedStruct","type_url":"type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"`
	for value, want := range map[string]string{
		`{"name":"x","config":{}}`:                                                 `p.patch.value.config: envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter has no field "config"`,
		`{"name":"x","typed_config":{` + limit + `,"value":{"stat":1}}}`:           `p.patch.value.typed_config.value.stat: envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit has no field "stat"`,
		`{"name":"x","typed_config":{"@type":"type.googleapis.com/no.such.Type"}}`: `p.patch.value.typed_config.@type: the type "type.googleapis.com/no.such.Type" is not supported`,
		`{"name":"x","disabled":"maybe"}`:                                          `p.patch.value: invalid value for bool field disabled: "maybe"`,
	} {
		problems := Check(&model.EnvoyFilter{Patches: []*model.EnvoyPatch{{Target: "HTTP_FILTER", Operation: "INSERT_FIRST", Path: "p", Value: []byte(value)}}})
		if len(problems) != 1 || problems[0].Path+": "+problems[0].Text != want {
			t.Errorf("%s: %v", value, problems)
		}
	}
}

// Fields are told in protojson's names; people write Envoy's.
func TestValuesKnowHowFieldsAreWritten(t *testing.T) {
	f := &model.EnvoyFilter{Patches: []*model.EnvoyPatch{
		{Target: "CLUSTER", Operation: "REMOVE", Path: "p"},
		{Target: "CLUSTER", Operation: "MERGE", Path: "q", Value: []byte(`{"health_checks":[{"grpc_health_check":{"service_name":"a"}}],"metadata":{"filterMetadata":{"a.b":{"c":1}}}}`)},
	}}
	values := Values(f)
	if len(values) != 1 || !values[0].Partial {
		t.Fatalf("values %+v", values)
	}
	for field, want := range map[string]string{
		"healthChecks[0].grpcHealthCheck.serviceName": "q.patch.value.health_checks[0].grpc_health_check.service_name",
		`metadata.filterMetadata["a.b"].c`:            "q.patch.value.metadata.filterMetadata.a.b.c",
		"healthChecks[1].timeout":                     "q.patch.value.health_checks",
		"name":                                        "q.patch.value",
	} {
		if got := values[0].Path(field); got != want {
			t.Errorf("%s is %s, want %s", field, got, want)
		}
	}
}
