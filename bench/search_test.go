package bench

import (
	"context"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

func TestObjectives(t *testing.T) {
	sample := result.Sample{Metrics: map[string]float64{"rate": 990, "errors": 0, "latency-p50": 0.001, "latency-p90": 0.002, "latency-p99": 0.009, "latency-p999": 0.1}}
	for text, want := range map[string]bool{
		"p99 < 10ms && errors == 0": true, "p99 < 8.5ms": false, "p999 <= 0.1s && rate > 900": true, "errors > 0.01": false, `p50 < duration("2ms")`: true,
	} {
		o, err := ParseObjective(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if held, err := o.holds(sample, 1000); err != nil || held != want {
			t.Errorf("%s: %v, %v", text, held, err)
		}
		if held, _ := o.holds(sample, 2000); held {
			t.Errorf("%s: half of the rate was reached, and it held", text)
		}
	}
	for _, text := range []string{"", "p99", "p98 < 1ms", "errors", "p99 < 10"} {
		o, err := ParseObjective(text)
		if err != nil {
			continue
		}
		if _, err := o.holds(sample, 1000); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

// A server that holds some rate, disturbed once in a while, is found within the bracket.
func TestASearchFindsTheRate(t *testing.T) {
	for _, limit := range []float64{3, 170, 501, 4321, 77000} {
		calls := 0
		found, err := search(t.Context(), func(_ context.Context, rate float64) (bool, error) {
			calls++
			return rate <= limit && calls%7 != 3, nil // every seventh trial is disturbed
		})
		if err != nil || found.low > limit || found.high <= limit || found.high-found.low > near*found.low {
			t.Errorf("limit %v: %+v, %v", limit, found, err)
		}
	}
	if found, err := search(t.Context(), func(context.Context, float64) (bool, error) { return false, nil }); err != nil || found.low != 0 {
		t.Errorf("nothing holds: %+v, %v", found, err)
	}
}
