package compile_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// compiledFilter compiles a listener whose first HTTP filter has a configuration.
func compiledFilter(t *testing.T, config string) (snapshot.Filter, error) {
	t.Helper()
	set := resource.Set{}
	put(t, set, resource.Listener, fmt.Sprintf(`{"name":"l","address":{"socketAddress":{"address":"0.0.0.0","portValue":80}},"filterChains":[{"filters":[
	 {"name":"hcm","typedConfig":{"@type":"type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager","statPrefix":"s",
	  "routeConfig":{"name":"r","virtualHosts":[]},"httpFilters":[{"name":"x","typedConfig":%s},
	  {"name":"router","typedConfig":{"@type":"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}}]}]}`, config))
	p, err := compile.Compile(set)
	if err != nil {
		return nil, err
	}
	return p.Listeners[0].Chains[0].HTTP.Filters[0], nil
}

// typed is a configuration by its message, untyped the same as a TypedStruct.
func typed(message, fields string) string {
	return `{"@type":"type.googleapis.com/envoy.extensions.filters.http.` + message + `",` + fields + `}`
}

func untyped(message, fields string) string {
	return `{"@type":"type.googleapis.com/udpa.type.v1.TypedStruct","typeUrl":"type.googleapis.com/envoy.extensions.filters.http.` + message + `","value":{` + fields + `}}`
}

func TestFiltersThatLimitOrAsk(t *testing.T) {
	const local = `"stat_prefix":"p","token_bucket":{"max_tokens":4,"tokens_per_fill":2,"fill_interval":"60s"},"filter_enabled":{"default_value":{"numerator":50}},
	 "response_headers_to_add":[{"append":false,"header":{"key":"X-Limit","value":"100%%"}}]`
	for _, make := range []func(string, string) string{typed, untyped} {
		f, err := compiledFilter(t, make("local_ratelimit.v3.LocalRateLimit", local))
		l, ok := f.(*snapshot.LocalRateLimit)
		if !ok || *l.Bucket != (snapshot.TokenBucket{Max: 4, PerFill: 2, Interval: time.Minute}) || l.Enabled != 50 || l.Enforced != 0 || l.Status != 429 ||
			l.ResponseHeaders.Set[0] != (snapshot.HeaderOp{Name: "x-limit", Value: "100%", Action: snapshot.OverwriteOrAdd}) {
			t.Errorf("local rate limit %+v, %v", l, err)
		}
	}
	f, err := compiledFilter(t, typed("ratelimit.v3.RateLimit", `"domain":"d","rateLimitService":{"grpcService":{"envoyGrpc":{"clusterName":"c"}},"transportApiVersion":"V3"}`))
	if g, ok := f.(*snapshot.GlobalRateLimit); !ok || g.Timeout != 20*time.Millisecond || g.Service.Cluster != "c" || g.Enabled != 100 || g.Deny || g.StatusOnError != 500 {
		t.Errorf("rate limit %+v, %v", f, err)
	}
	f, err = compiledFilter(t, typed("ext_authz.v3.ExtAuthz", `"httpService":{"serverUri":{"uri":"http://a","cluster":"c","timeout":"3s"},"pathPrefix":"/p"},"statusOnError":{"code":"ServiceUnavailable"}`))
	if a, ok := f.(*snapshot.ExtAuthz); !ok || a.Timeout != 3*time.Second || a.HTTP.Cluster != "c" || a.StatusOnError != 503 || a.HTTP.Client != nil {
		t.Errorf("ext_authz %+v, %v", f, err)
	}
	for config, want := range map[string]string{
		untyped("local_ratelimit.v3.LocalRateLimit", `"stat_prefix":"p","local_rate_limit_per_downstream_connection":true`):   "localRateLimitPerDownstreamConnection: not supported",
		typed("local_ratelimit.v3.LocalRateLimit", `"statPrefix":"p","tokenBucket":{"maxTokens":1,"fillInterval":"0.001s"}`):  "fillInterval: 1ms is too short",
		typed("local_ratelimit.v3.LocalRateLimit", `"statPrefix":"p","rateLimits":[{"actions":[{"sourceCluster":{}}]}]`):      "rateLimits[0].actions[0].sourceCluster: not supported",
		untyped("local_ratelimit.v3.LocalRateLimit", `"stat_prefix":"p","nonsense":1`):                                        "nonsense",
		typed("ratelimit.v3.RateLimit", `"domain":"d","rateLimitService":{"grpcService":{"envoyGrpc":{"clusterName":"c"}}}`):  "transportApiVersion: AUTO: only V3",
		typed("ext_authz.v3.ExtAuthz", `"clearRouteCache":true,"grpcService":{"envoyGrpc":{"clusterName":"c"}}`):              "clearRouteCache: not supported",
		typed("ext_authz.v3.ExtAuthz", `"grpcService":{"googleGrpc":{"targetUri":"a","statPrefix":"b"}}`):                     "googleGrpc: not supported",
		`{"@type":"type.googleapis.com/udpa.type.v1.TypedStruct","typeUrl":"type.googleapis.com/stranger.Config","value":{}}`: "stranger.Config: not supported",
	} {
		if _, err := compiledFilter(t, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", config, err, want)
		}
	}
}
