package world_test

import (
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
)

const webCanary = `
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: web}
spec:
  targetRef: {kind: Deployment, name: web}
  service: {port: 80, RETRIES}
  analysis: {interval: 10s, stepWeight: 50}
---
`

func TestCanaryObjects(t *testing.T) {
	s := read(t, app+strings.Replace(webCanary, "RETRIES", "timeout: 2s", 1)+`
apiVersion: windtunnel.dev/v1
kind: Scenario
metadata: {name: canary-objects}
spec:
  description: What a Canary makes goes with it, and it is told what it releases.
  steps:
  - canary: {name: web, until: Initialized}
  - explain: {from: sleep, url: "http://web/"}
    expect: ['workloads == ["web-primary"]', 'hops[0].timeout == 2.0']
  - fault: {restart: web}
  - name: a restart is a new revision
    canary: {name: default/web, until: Succeeded}
    expect: ['weights == [50, 100]', seconds == 50.0]
  - request: {from: sleep, url: "http://web/"}
    expect: ['workloads["web-primary"] == 1']
  - apply:
    - apiVersion: flagger.app/v1beta1
      kind: Canary
      metadata: {name: other}
      spec:
        targetRef: {name: web}
        service: {port: 80, retries: {attempts: -1}}
        analysis: {stepWeight: 50}
    expect: ['rejected[0].contains("VirtualService")']
  - delete: {kind: Canary, name: web}
  - explain: {from: sleep, url: "http://web/"}
    expect: ['error != ""']
`)
	r := run.Run(t.Context(), &world.Sim{}, s, run.Options{Seed: 1})
	if r.Status != result.Passed {
		t.Fatal(r.Message)
	}
}

func TestCanaryThatIsNotThere(t *testing.T) {
	s := read(t, app+`
apiVersion: windtunnel.dev/v1
kind: Scenario
metadata: {name: no-canary}
spec:
  description: A step waits for nobody.
  steps:
  - canary: {name: web, until: Succeeded}
`)
	r := run.Run(t.Context(), &world.Sim{}, s, run.Options{Seed: 1})
	if want := `canary: there is no Canary "web"; there are: `; r.Status != result.Error || !strings.Contains(r.Message, want) {
		t.Fatalf("%s: %s", r.Status, r.Message)
	}
}
