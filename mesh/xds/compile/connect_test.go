package compile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

const chain = `"defaultFilterChain":{"filterChainMatch":{},"name":"PassthroughFilterChain","filters":[`

// CONNECT on both sides: a listener that takes it, a route that ends it, and a TCP proxy
// that asks for it behind a filter that asks a service.
func TestConnect(t *testing.T) {
	set := sidecar(t)
	l := strings.Replace(listener, `[{"upgradeType":"websocket"}]`, `[{"upgradeType":"CONNECT"}],"http2ProtocolOptions":{"allowConnect":true}`, 1)
	l = strings.Replace(l, chain, chain+`{"name":"a","typedConfig":{"@type":"type.googleapis.com/envoy.extensions.filters.network.ext_authz.v3.ExtAuthz","statPrefix":"tcp.",
	 "grpcService":{"envoyGrpc":{"clusterName":"authz"}},"failureModeAllow":true}},`, 1)
	l = strings.Replace(l, `"cluster":"PassthroughCluster"`, `"cluster":"PassthroughCluster","tunnelingConfig":{"hostname":"%REQUESTED_SERVER_NAME%:443","usePost":true,"postPath":"/p",
	 "headersToAdd":[{"header":{"key":"X-Via","value":"mesh"}}]}`, 1)
	put(t, set, resource.Listener, l)
	put(t, set, resource.Route, strings.Replace(routes, `{"match":{"prefix":"/"},"route":{`, `{"match":{"connectMatcher":{}},"route":{"upgradeConfigs":[{"upgradeType":"CONNECT","connectConfig":{}}],`, 1))
	p, err := compile.Compile(set)
	if err != nil {
		t.Fatal(err)
	}
	in := p.Listeners[0]
	if h := in.Chains[0].HTTP; strings.Join(h.Upgrades, ",") != "connect" || !h.HTTP2.AllowConnect {
		t.Errorf("upgrades %v, %+v", h.Upgrades, h.HTTP2)
	}
	if tunnel := in.Default.TCP.Tunnel; tunnel == nil || tunnel.Hostname != "%REQUESTED_SERVER_NAME%:443" || !tunnel.Post || tunnel.PostPath != "/p" || tunnel.Headers.Set[0].Name != "x-via" {
		t.Errorf("tunnel %+v", tunnel)
	}
	if g := in.Default.Guards; len(g) != 1 || g[0].ExtAuthz == nil || g[0].ExtAuthz.GRPC.Cluster != "authz" || !g[0].ExtAuthz.FailOpen || g[0].ExtAuthz.Timeout != 200*time.Millisecond {
		t.Errorf("guards %+v", g)
	}
	if r := p.Routes["9080"].VirtualHosts[0].Routes[1]; !r.Match.Connect || !r.Forward.Terminate || !r.Forward.Upgrades["connect"] {
		t.Errorf("route %+v", r)
	}
	for old, want := range map[string]string{
		`"connectConfig":{}`:            "connectConfig.allowPost: not supported",
		`"upgradeType":"CONNECT","conn`: `upgradeConfigs[0].connectConfig: only for upgradeType CONNECT`,
	} {
		into := map[string]string{`"connectConfig":{}`: `"connectConfig":{"allowPost":true}`, `"upgradeType":"CONNECT","conn`: `"upgradeType":"websocket","conn`}[old]
		bad := sidecar(t)
		put(t, bad, resource.Route, strings.Replace(strings.Replace(routes, `{"match":{"prefix":"/"},"route":{`, `{"match":{"connectMatcher":{}},"route":{"upgradeConfigs":[{"upgradeType":"CONNECT","connectConfig":{}}],`, 1), old, into, 1))
		if _, err := compile.Compile(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
