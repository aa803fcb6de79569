package world_test

import (
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
)

const head = `
apiVersion: windtunnel.dev/v1
kind: Scenario
metadata: {name: trial}
spec:
  description: One of many.
`

// TestFaults runs short scenarios in the simulator; want is in the message of one that
// does not pass.
func TestFaults(t *testing.T) {
	for name, c := range map[string]struct{ steps, want string }{
		"a Pod by name, and those after it": {`
  - request: {from: sleep, url: "http://web/", count: 2}
    expect: [ok()]
  - fault: {kill: web}
  - request: {from: sleep, url: "http://web/", count: 2}
    expect: [ok(), latency.max < duration("1s")]`, ""},
		"the control plane is not killed": {`
  - fault: {kill: istio-system/istiod}
  - request: {from: sleep, url: "http://web/"}
    expect: [ok()]`, "controlPlane: down"},
		"the control plane is not restarted as others": {`
  - fault: {restart: istio-system/istiod}
  - request: {from: sleep, url: "http://web/"}
    expect: [ok()]`, "controlPlane: restart"},
		"a workload that is not there": {`
  - fault: {partition: {from: sleep, to: nobody}}
  - request: {from: sleep, url: "http://web/"}
    expect: [ok()]`, `no workload and no Pod is called "nobody"`},
		"no new Pod while the control plane is down, but when it is back": {`
  - fault: {controlPlane: down}
  - scale: {workload: web, replicas: 2}
  - request: {from: sleep, url: "http://web/"}
    expect: [ok()]`, "while the control plane is down"},
		"a partition heals": {`
  - fault: {partition: {from: sleep, to: web}}
  - request: {from: sleep, url: "http://web/", timeout: 5s}
    expect: [errors == 1]
  - fault: {heal: all}
  - request: {from: sleep, url: "http://web/"}
    expect: [ok()]`, ""},
		"a partition ends": {`
  - fault: {partition: {from: sleep, to: web, for: 3s}}
  - wait: 4s
  - request: {from: sleep, url: "http://web/"}
    expect: [ok()]`, ""},
		"what is broken once is not broken again": {`
  - fault: {kill: web}
    eventually: 5s
    expect: ['endpoint("web", "sleep").healthy']
  - request: {from: sleep, url: "http://web/"}
    expect: [ok()]`, ""},
		"an answer before the end of the upload": {`
  - fault: {slow: {from: sleep, to: web, bandwidth: 1000000}}
  - request: {from: sleep, url: "http://web/", bodyBytes: 5000000}
    expect: [ok(), latency.max < duration("1s")]`, ""},
		"chaos knows whom it strikes": {`
  - fault: {chaos: {workloads: [web, nobody], for: 10s}}
  - request: {from: sleep, url: "http://web/"}
    expect: [ok()]`, `no workload and no Pod is called "nobody"`},
		"chaos does not strike who has no sidecar": {`
  - fault: {chaos: {workloads: [web, istio-system/istiod], for: 10s}}
  - request: {from: sleep, url: "http://web/"}
    expect: [ok()]`, "has no sidecar"},
		"chaos of one workload, healed": {`
  - fault: {chaos: {workloads: [web], for: 1m, every: 1s}}
  - fault: {heal: all}
  - wait: 3m
  - request: {from: sleep, url: "http://web/", count: 4}
    expect: [ok()]`, ""},
		"a scale survives an apply that leaves it open": {`
  - scale: {workload: web, replicas: 3}
  - apply: |
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: web}
      spec:
        selector: {matchLabels: {app: web}}
        template:
          metadata: {labels: {app: web, version: v2}}
          spec: {containers: [{name: web, image: nginx, ports: [{containerPort: 80}]}]}
    expect: [objects == 1]
  - request: {from: sleep, url: "http://web/", count: 12}
    expect: [ok(), size(pods) == 3]`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			steps := strings.NewReplacer(`latency.max < duration("1s")`, `'latency.max < duration("1s")'`).Replace(c.steps)
			r := run.Run(t.Context(), &world.Sim{}, read(t, app+head+"  steps:"+steps+"\n"), run.Options{Seed: 1})
			if (r.Status == result.Passed) != (c.want == "") || !strings.Contains(r.Message, c.want) {
				t.Errorf("%s: %s", r.Status, r.Message)
			}
		})
	}
}
