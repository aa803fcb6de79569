package sample

import (
	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// Benchmark has two configurations of ten samples, costs times factor; a name that
// wants to be markup is among them.
func Benchmark(factor float64) *result.Benchmark {
	b := &result.Benchmark{Version: result.Version, Kind: result.BenchmarkKind, Started: "2026-01-02T03:04:05Z", Build: result.Build{Version: "v1", Commit: "0123456789abcdef", Go: "go1.26"},
		Machine: result.Machine{OS: "linux", Arch: "amd64", CPU: "<b>fast</b>", Cores: 2},
		Metrics: []result.Metric{{Name: "cpu-per-request", Unit: "s/req", Better: result.Lower}, {Name: "latency-p50", Unit: "s", Better: result.Lower}, {Name: "latency-p99", Unit: "s", Better: result.Lower}}}
	for _, proxies := range []string{"baseline", "both"} {
		c := result.Configuration{Name: "load/proxies=" + proxies, Suite: "load", Parameters: map[string]string{"proxies": proxies}}
		for i := range 10 {
			c.Samples = append(c.Samples, benchmarked(i, proxies == "both", factor*(1+0.001*float64(i))))
		}
		b.Configurations = append(b.Configurations, c)
	}
	return b
}

func benchmarked(round int, proxied bool, cost float64) result.Sample {
	s := result.Sample{Round: round, Seconds: 3, Metrics: map[string]float64{"latency-p50": 0.001 * cost, "latency-p99": 0.004 * cost}}
	if proxied {
		s.Metrics["latency-p50"], s.Metrics["cpu-per-request"] = 0.003*cost, 40e-6*cost
		s.Proxies = map[string]map[string]float64{"client": {"cpu-per-request": 20e-6 * cost}, "service-0": {"cpu-per-request": 20e-6 * cost}}
	}
	s.PerSecond = []result.Second{{Requests: 100, P99: 0.004}, {Requests: 90, P99: 0.005}, {Requests: 100, P99: 0.004}}
	h := hdrhistogram.New(1, 1e10, 3)
	for k := range 1000 {
		_ = h.RecordValue(int64(1e6 * cost * (1 + float64(k)/500))) // cannot fail: in range
	}
	encoded, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		panic(err) // it writes into memory
	}
	s.Latency = string(encoded)
	return s
}
