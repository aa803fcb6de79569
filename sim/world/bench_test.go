package world_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

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

// BenchmarkSidecars is ten seconds of 1000 small requests per second from one sidecar to
// another, over mutual TLS, in virtual time on one processor. req/cpu-s counts them per
// second of the processor's time, the start of the world included.
func BenchmarkSidecars(b *testing.B) {
	manifest, err := filepath.Abs("../../bookinfo/manifests/bookinfo.yaml")
	if err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(b.TempDir(), "sidecars.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(sidecars, "MANIFEST", manifest)), 0o644); err != nil {
		b.Fatal(err)
	}
	before := processor(b)
	benchmark(b, file, "sidecars")
	b.ReportMetric(10_000*float64(b.N)/(processor(b)-before).Seconds(), "req/cpu-s")
}

const sidecars = `
apiVersion: windtunnel.dev/v1
kind: Scenario
metadata: {name: sidecars}
spec:
  description: Requests from a sidecar to a sidecar.
  resources: [MANIFEST]
  steps:
  - as: pings
    load: {from: productpage-v1, url: "http://ratings:9080/ratings/0", qps: 1000, connections: 8, duration: 10s}
    expect: ['ok()', 'count == 10000', 'attempts["ratings-v1"] == 10000']
`

// processor is the processor time that this process has used.
func processor(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
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
