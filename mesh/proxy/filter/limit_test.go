package filter_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/filter"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
)

// limited is an exchange of a client with a route that has rate limits.
func limited(client string) *filter.Exchange {
	x := exchange()
	x.Request.Header = message.Header{{Name: "x-client", Value: client}}
	action := func(a snapshot.RateLimitAction) snapshot.RateLimit {
		return snapshot.RateLimit{Actions: []snapshot.RateLimitAction{a}}
	}
	x.VirtualHost = &route.VirtualHost{VirtualHost: &snapshot.VirtualHost{RateLimits: []snapshot.RateLimit{action(snapshot.RateLimitAction{Key: "host", Value: "v", Generic: true})}}}
	x.Rule = &route.Rule{Route: &snapshot.Route{Forward: &snapshot.Forward{RateLimits: []snapshot.RateLimit{action(snapshot.RateLimitAction{Key: "client", Header: "x-client"})}}}}
	return x
}

// The bucket of a descriptor counts beside the default one, and both fill steadily.
func TestLocalRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var limits filter.LocalLimits
		registry := new(stats.Registry)
		config := &snapshot.LocalRateLimit{StatPrefix: "p", Status: 429, Enabled: 100, Enforced: 100,
			Bucket: &snapshot.TokenBucket{Max: 4, PerFill: 4, Interval: time.Minute},
			Descriptors: []snapshot.LocalDescriptor{{Entries: []snapshot.DescriptorEntry{{Key: "client", Value: "greedy"}},
				Bucket: snapshot.TokenBucket{Max: 1, PerFill: 1, Interval: time.Hour}}},
			ResponseHeaders: snapshot.HeaderOps{Set: []snapshot.HeaderOp{{Name: "x-local-rate-limit", Value: "true"}}}}
		f := filter.LocalRateLimit(config, &limits, registry)
		passed := func(client string, tries int) (n int) {
			for range tries {
				if r := served(t, f, limited(client)); r == nil {
					n++
				} else if r.Status != 429 || r.Flag != message.RateLimited || r.Header.Get("x-local-rate-limit") != "true" || r.Details != "local_rate_limited" {
					t.Fatalf("%+v", r)
				}
			}
			return n
		}
		if a, b := passed("greedy", 3), passed("other", 9); a != 1 || b != 3 {
			t.Errorf("%d and %d passed, want 1 and 3", a, b)
		}
		time.Sleep(15 * time.Second)
		if n := passed("other", 9); n != 1 {
			t.Errorf("after a quarter of the interval %d passed, want 1", n)
		}
		again := filter.LocalRateLimit(config, &limits, registry) // a new configuration with the same limit
		if r := served(t, again, limited("other")); r == nil {
			t.Error("the tokens did not outlive the handler")
		}
		if v := registry.Values()["p.http_local_rate_limit.enforced"]; v != 2+6+8+1 {
			t.Errorf("%d enforced", v)
		}
		own := *config
		own.Bucket, own.Enforced = &snapshot.TokenBucket{Max: 0, PerFill: 1, Interval: time.Hour}, 0
		own.RequestHeaders = own.ResponseHeaders
		x := limited("other")
		x.Rule.PerFilter = map[string]snapshot.Filter{config.FilterName(): &own}
		if r := served(t, f, x); r != nil || x.Request.Header.Get("x-local-rate-limit") != "true" {
			t.Errorf("a route's limit that is not enforced: %v, header %v", r, x.Request.Header)
		}
	})
}
