package world_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
)

func read(t *testing.T, text string) *spec.Scenario {
	t.Helper()
	file := t.TempDir() + "/scenario.yaml"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	scenarios, problems := run.Read([]string{file})
	if len(problems) > 0 {
		t.Fatal(problems[0].Detail())
	}
	return scenarios[0]
}

// TestWorldsAgree runs shipped scenarios in virtual time and on real sockets: the
// verdicts are the same, step by step.
func TestWorldsAgree(t *testing.T) {
	scenarios, problems := run.Read([]string{"../../scenarios/bookinfo/reviews-jason.yaml", "../../scenarios/bookinfo/app.yaml", "../../scenarios/bookinfo/missing.yaml"})
	if len(problems) > 0 {
		t.Fatal(problems[0].Detail())
	}
	for _, s := range scenarios {
		t.Run(s.Name, func(t *testing.T) {
			virtual := run.Run(t.Context(), &world.Sim{}, s, run.Options{Seed: 1})
			real := run.Run(t.Context(), &world.Loopback{}, s, run.Options{Seed: 1})
			for _, r := range []result.Scenario{virtual, real} {
				if r.Status != result.Passed {
					t.Fatalf("%s: %s", r.Status, r.Message)
				}
			}
			for i := range virtual.Steps {
				a, b := virtual.Steps[i], real.Steps[i]
				if a.Operation == "request" && a.Result["status"] == nil {
					t.Errorf("%s has no status", a.Name)
				}
				for _, field := range []string{"status", "flags", "workloads"} {
					if fmt.Sprint(a.Result[field]) != fmt.Sprint(b.Result[field]) {
						t.Errorf("%s: %s is %v in the simulator and %v on loopback", a.Name, field, a.Result[field], b.Result[field])
					}
				}
			}
			if virtual.Digest == "" || real.Digest != "" {
				t.Errorf("digests: %q and %q", virtual.Digest, real.Digest)
			}
		})
	}
}

const app = `
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx, ports: [{containerPort: 80}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: sleep}
spec:
  selector: {matchLabels: {app: sleep}}
  template:
    metadata: {labels: {app: sleep}}
    spec: {containers: [{name: sleep, image: curlimages/curl}]}
---
`

func TestSeedsDifferAndRepeat(t *testing.T) {
	s := read(t, app+`
apiVersion: windtunnel.dev/v1
kind: Scenario
metadata: {name: seeds}
spec:
  description: One call.
  steps:
  - request: {from: sleep, url: "http://web/", count: 3}
    expect: ['ok()']
`)
	digest := func(seed uint64) string {
		r := run.Run(t.Context(), &world.Sim{}, s, run.Options{Seed: seed})
		if r.Status != result.Passed {
			t.Fatal(r.Message)
		}
		return r.Digest
	}
	if first, again := digest(1), digest(1); first != again {
		t.Error("one seed gave two digests")
	}
	if digest(1) == digest(2) {
		t.Error("two seeds gave one digest")
	}
}

// TestWithoutSidecarsAndAway covers the ways around the mesh: a client outside, a Pod
// that is not injected, a Service without endpoints, a name that nobody has.
func TestWithoutSidecarsAndAway(t *testing.T) {
	s := read(t, app+`
apiVersion: windtunnel.dev/v1
kind: Scenario
metadata: {name: around}
spec:
  description: Ways around the mesh.
  steps:
  - request: {from: outside, url: "http://web/", count: 2}
    expect: ['ok()', 'workloads["web"] == 2', 'protocol == "HTTP/1.1"']
  - apply:
    - apiVersion: apps/v1
      kind: Deployment
      metadata: {name: bare}
      spec:
        selector: {matchLabels: {app: bare}}
        template:
          metadata: {labels: {app: bare}, annotations: {sidecar.istio.io/inject: "false"}}
          spec: {containers: [{name: bare, image: curlimages/curl}]}
  - request: {from: bare, url: "http://web.default.svc.cluster.local/", count: 2}
    expect: ['ok()', 'workloads["web"] == 2']
  - request: {from: bare, url: "http://nobody/"}
    expect: ['errors == 1', 'error.contains("no such host")']
  - scale: {workload: web, replicas: 0}
  - request: {from: sleep, url: "http://web/"}
    expect: ['status["503"] == 1', 'flags["UH"] == 1']
  - request: {from: bare, url: "http://web/"}
    expect: ['errors == 1']
  - scale: {workload: web, replicas: 2}
  - request: {from: sleep, url: "http://web/", count: 4}
    expect: ['ok()', 'size(pods) == 2', 'endpoint("web", "sleep").healthy']
`)
	if r := run.Run(t.Context(), &world.Sim{}, s, run.Options{Seed: 1}); r.Status != result.Passed {
		t.Fatal(r.Message)
	}
}

func TestCheckFindsUnknownImages(t *testing.T) {
	s := &spec.Scenario{Behaviours: []spec.Behaviour{{Workload: "declared"}}}
	deployment := func(name string) spec.Document {
		return spec.Document{File: "app.yaml", Line: 3, Text: []byte("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + name + "}\n" +
			"spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: example.com/x}]}}}\n")}
	}
	findings := world.Check(s, []spec.Document{deployment("declared"), deployment("other")})
	codes := make([]string, 0, len(findings))
	for _, f := range findings {
		codes = append(codes, f.Code)
	}
	if !slices.Equal(codes, []string{config.CodeUnknownImage}) || findings[0].Position.Line != 6 {
		t.Fatalf("found %v", findings)
	}
}
