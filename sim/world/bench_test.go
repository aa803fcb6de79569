package world_test

import (
	"testing"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
)

// BenchmarkPages is a minute of 100 bookinfo pages per second through the ingress
// gateway, in virtual time on one processor: ten proxies, mutual TLS, real ADS.
// proxied/s counts the exchanges that proxies handled per second of wall time.
func BenchmarkPages(b *testing.B) {
	benchmark(b, "../../scenarios/bookinfo/load.yaml", "bookinfo-load")
}

// BenchmarkStart is a world that starts, converges, serves five requests and ends.
func BenchmarkStart(b *testing.B) {
	benchmark(b, "../../scenarios/bookinfo/gateway-port-8080.yaml", "bookinfo-gateway-8080")
}

func benchmark(b *testing.B, file, name string) {
	scenarios, problems := run.Read([]string{file})
	if len(problems) > 0 {
		b.Fatal(problems[0].Detail())
	}
	for _, s := range scenarios {
		if s.Name != name {
			continue
		}
		var virtual float64
		var exchanges int64
		for b.Loop() {
			r := run.Run(b.Context(), &world.Sim{}, s, run.Options{Seed: 1})
			if r.Status != result.Passed {
				b.Fatal(r.Message)
			}
			virtual += r.VirtualSeconds
			exchanges += r.Requests
		}
		b.ReportMetric(float64(exchanges)/b.Elapsed().Seconds(), "proxied/s")
		b.ReportMetric(virtual/b.Elapsed().Seconds(), "virtual-s/s")
		return
	}
	b.Fatalf("%s has no scenario %s", file, name)
}
