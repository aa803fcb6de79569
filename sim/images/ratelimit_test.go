package images

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ratelimitcommonpb "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	ratelimitpb "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
)

const limits = `
domain: shop
descriptors:
- key: PATH
  value: /a
  rate_limit: {unit: minute, requests_per_unit: 1}
- key: PATH
  rate_limit: {unit: Hour, requests_per_unit: 2}
- key: user
  descriptors:
  - {key: plan, value: free*, rate_limit: {unit: second, requests_per_unit: 1}}
  - {key: plan, rate_limit: {unlimited: true}}
`

func TestRateLimiterCountsByItsConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &rateLimiter{domains: map[string]limitTree{}, counts: map[string]uint32{}, until: map[string]int64{}}
		if err := l.read([]byte(limits)); err != nil {
			t.Fatal(err)
		}
		// ask sends one descriptor, "key=value,…", as often as the answers are.
		ask := func(domain, entries, want string) {
			t.Helper()
			d := &ratelimitcommonpb.RateLimitDescriptor{}
			for e := range strings.SplitSeq(entries, ",") {
				k, v, _ := strings.Cut(e, "=")
				d.Entries = append(d.Entries, &ratelimitcommonpb.RateLimitDescriptor_Entry{Key: k, Value: v})
			}
			got := ""
			for range want {
				answer, err := l.ShouldRateLimit(context.Background(), &ratelimitpb.RateLimitRequest{Domain: domain, Descriptors: []*ratelimitcommonpb.RateLimitDescriptor{d}})
				if err != nil {
					t.Fatal(err)
				}
				got += map[ratelimitpb.RateLimitResponse_Code]string{ratelimitpb.RateLimitResponse_OK: "+", ratelimitpb.RateLimitResponse_OVER_LIMIT: "-"}[answer.OverallCode]
			}
			if got != want {
				t.Errorf("%s %s: %s, want %s", domain, entries, got, want)
			}
		}
		ask("shop", "PATH=/a", "+--")
		ask("shop", "PATH=/b", "++-")
		ask("shop", "PATH=/c", "++-")
		ask("shop", "user=jane,plan=free-2", "+-")
		ask("shop", "user=jane,plan=paid", "+++")
		ask("shop", "user=jane", "+++")
		ask("mall", "PATH=/a", "+++")
		time.Sleep(time.Minute)
		ask("shop", "PATH=/a", "+-")
		ask("shop", "PATH=/b", "-")
	})
	l := &rateLimiter{domains: map[string]limitTree{}}
	for text, want := range map[string]string{
		"descriptors: []": "domain is missing",
		"domain: a\ndescriptors: [{key: k, rate_limit: {unit: fortnight}}]": `"fortnight" is no unit`,
		"domain: b\nlimits: []": "field limits not found",
	} {
		if err := l.read([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
