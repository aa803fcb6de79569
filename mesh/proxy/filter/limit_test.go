package filter_test

import (
	"context"
	"errors"
	"io"
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

// service answers the proxy's own requests, and remembers the last one.
type service struct {
	answer  *message.Response
	err     error
	cluster string
	request *message.Request
	body    []byte
}

func (s *service) Call(_ context.Context, cluster string, r *message.Request, _ uint64, _ time.Duration) (*message.Response, error) {
	s.cluster, s.request, s.body = cluster, r, nil
	if r.Body != nil {
		s.body, _ = io.ReadAll(r.Body)
	}
	return s.answer, s.err
}

// framed is a gRPC answer with one message.
func framed(m string) *message.Response {
	return &message.Response{Status: 200, Body: message.NewBytes([]byte("\x00\x00\x00\x00"+string(rune(len(m)))+m), message.Header{{Name: "grpc-status", Value: "0"}})}
}

func TestGlobalRateLimit(t *testing.T) {
	const request = "\x00\x00\x00\x00\x29\x0a\x06domain\x12\x10\x0a\x0e\x0a\x06client\x12\x04jane\x12\x0d\x0a\x0b\x0a\x04host\x12\x03abc"
	for name, c := range map[string]struct {
		answer *message.Response
		err    error
		deny   bool
		want   int
		flag   message.Flags
	}{
		"ok":                  {answer: framed("\x08\x01"), want: 0},
		"over limit":          {answer: framed("\x08\x02"), want: 429, flag: message.RateLimited},
		"unknown":             {answer: framed("\x08\x00"), deny: true, want: 500, flag: message.RateLimitServiceError},
		"unreachable":         {err: errors.New("refused"), want: 0},
		"unreachable, denied": {err: errors.New("refused"), deny: true, want: 500, flag: message.RateLimitServiceError},
		"status":              {answer: &message.Response{Status: 200, Header: message.Header{{Name: "grpc-status", Value: "14"}}}, deny: true, want: 500, flag: message.RateLimitServiceError},
		"truncated":           {answer: framed("\x08"), deny: true, want: 500, flag: message.RateLimitServiceError},
	} {
		s := &service{answer: c.answer, err: c.err}
		config := &snapshot.GlobalRateLimit{Domain: "domain", Service: snapshot.GRPCService{Cluster: "rls"}, Status: 429, StatusOnError: 500, Deny: c.deny, Enabled: 100, Enforce: 100}
		x := limited("jane")
		x.Rule.Forward.IncludeHostLimits = true
		x.VirtualHost.RateLimits[0].Actions[0].Value = "abc"
		r := served(t, filter.GlobalRateLimit(config, s, new(stats.Registry)), x)
		switch {
		case c.want == 0 && r != nil, c.want != 0 && (r == nil || r.Status != c.want || r.Flag != c.flag):
			t.Errorf("%s: %+v", name, r)
		case c.want == 429 && r.Header.Get("x-envoy-ratelimited") != "true":
			t.Errorf("%s: header %v", name, r.Header)
		}
		if s.cluster != "rls" || s.request.Path != "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit" || string(s.body) != request {
			t.Errorf("%s: asked %q %s %q", name, s.cluster, s.request.Path, s.body)
		}
	}
}
