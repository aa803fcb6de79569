package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// world answers every call by script; time is the bubble's.
type world struct {
	log      []Seen
	events   []Event
	applied  func() (*Applied, error)
	send     func(w *world, n int) ([]Exchange, error)
	sends    int
	did      []string
	endpoint func() EndpointState
}

func (w *world) Now() time.Time { return time.Now() }

func (w *world) Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *world) Apply(_ context.Context, docs []spec.Document) (*Applied, error) {
	w.did = append(w.did, fmt.Sprintf("apply %d", len(docs)))
	if w.applied != nil {
		return w.applied()
	}
	return &Applied{Objects: len(docs)}, nil
}

func (w *world) Delete(_ context.Context, refs []spec.Ref, _ []spec.Document) error {
	w.did = append(w.did, fmt.Sprint("delete ", refs))
	return nil
}

func (w *world) Scale(_ context.Context, workload string, n int) error {
	w.did = append(w.did, fmt.Sprintf("scale %s %d", workload, n))
	return nil
}

func (w *world) Fault(_ context.Context, f *spec.Fault) error {
	w.did = append(w.did, "kill "+f.Kill)
	return nil
}

func (w *world) Send(context.Context, *spec.Request) ([]Exchange, error) {
	w.sends++
	return w.send(w, w.sends)
}

func (w *world) Load(context.Context, *spec.Load) (Load, error) {
	w.did = append(w.did, "load")
	return load{w}, nil
}

type load struct{ w *world }

func (l load) Traffic(ctx context.Context) ([]Exchange, error) {
	l.w.did = append(l.w.did, "traffic")
	return l.w.Send(ctx, nil)
}

func (w *world) Log() []Seen     { return w.log }
func (w *world) Events() []Event { return w.events }
func (w *world) Digest() string  { return "sha256:x" }
func (w *world) Endpoint(_, _ string) (EndpointState, error) {
	if w.endpoint == nil {
		return EndpointState{}, errors.New("no such workload")
	}
	return w.endpoint(), nil
}

type env struct {
	name string
	w    *world
	err  error
}

func (e env) Name() string { return e.name }
func (e env) Do(ctx context.Context, _ *spec.Scenario, _ Options, f func(context.Context, World) error) error {
	if e.err != nil {
		return e.err
	}
	return f(ctx, e.w)
}

// call is one exchange of sleep's, and what its sidecar and the server's saw.
func (w *world) call(status int, flag string, tries int) Exchange {
	id := fmt.Sprintf("id-%d", len(w.log))
	start := time.Now()
	time.Sleep(10 * time.Millisecond)
	details := "via_upstream"
	if flag != "" {
		details = "overflow"
	}
	for range tries {
		w.log = append(w.log, Seen{RequestID: id, Time: time.Now(), Duration: 8 * time.Millisecond, Workload: "httpbin", Pod: "httpbin-0", Inbound: true, Status: status, DownstreamPod: "sleep-0"})
	}
	w.log = append(w.log, Seen{RequestID: id, Time: time.Now(), Duration: 10 * time.Millisecond, Workload: "sleep", Pod: "sleep-0", Status: status,
		Flags: []string{flag}, Details: details, UpstreamWorkload: "httpbin", UpstreamPod: "httpbin-0"})
	return Exchange{RequestID: id, Intended: start.Add(-10 * time.Millisecond), Sent: start, Done: time.Now(), Client: "sleep-0", Status: status, Protocol: "HTTP/1.1",
		Body: "hi", Headers: map[string]string{"server": "envoy"}}
}

// scenario reads steps with the expectations checked.
func scenario(t *testing.T, steps string) *spec.Scenario {
	t.Helper()
	file := filepath.Join(t.TempDir(), "f.yaml")
	text := "apiVersion: windtunnel.dev/v1\nkind: Scenario\nmetadata: {name: a}\nspec:\n  timeout: 5m\n  steps:\n" + steps +
		"---\napiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	all, problems := Read([]string{file})
	for _, p := range problems {
		t.Fatal(p.Detail())
	}
	return all[0]
}

func mixed(w *world, _ int) ([]Exchange, error) {
	return []Exchange{w.call(200, "", 1), w.call(503, "UO", 0), w.call(200, "", 3), {RequestID: "none", Client: "sleep-0", Error: "refused",
		Intended: time.Now(), Sent: time.Now(), Done: time.Now()}}, nil
}

func clean(w *world, _ int) ([]Exchange, error) { return []Exchange{w.call(200, "", 1)}, nil }

const request = `request: {from: sleep, url: "http://httpbin/"}`

func TestRun(t *testing.T) {
	for name, tc := range map[string]struct {
		steps  string
		world  world
		status result.Status
		want   string // in the message
		did    string
	}{
		"a traffic result": {steps: `
  - ` + request + `
    expect: ['count == 4', 'errors == 1', 'error == "refused"', 'status["200"] == 2 && status["503"] == 1', 'flags["UO"] == 1 && size(flags) == 1',
      'workloads["httpbin"] == 2', 'pods["httpbin-0"] == 2', 'attempts["httpbin"] == 4', 'latency.max == duration("20ms")',
      'latency.service.max == duration("10ms")', 'latency.p50 <= duration("20ms")', 'seconds > 0.03 && qps == 100.0',
      'body == "hi"', 'headers["server"] == "envoy"', 'protocol == "HTTP/1.1"', '!ok()', 'share(status, "200") > 0.6']
`, world: world{send: mixed}, status: result.Passed},
		"a failure shows values and ends it": {steps: `
  - ` + request + `
    expect: ['status["200"] == 3', 'errors == 1']
  - wait: 1s
`, world: world{send: mixed}, status: result.Failed, want: `step 1: status["200"] == 3, status["200"] is 2, status is {"200": 2, "503": 1}`},
		"operations": {steps: `
  - ` + request + `
  - apply: [{apiVersion: v1, kind: A}]
    expect: [objects == 1]
  - delete: {kind: A, name: b}
  - scale: {workload: a, replicas: 2}
  - as: noise
    load: {from: sleep, url: "http://a/", calls: 1, background: true}
  - wait: 1s
  - finish: noise
    expect: [ok()]
  - expect: [noise.count == 1]
`, world: world{send: clean}, status: result.Passed, did: "apply 1, apply 1, delete [{A  b}], scale a 2, load, traffic"},
		"nothing sent":      {steps: "  - " + request + "\n", world: world{send: func(*world, int) ([]Exchange, error) { return nil, nil }}, status: result.Error, want: NothingTested},
		"nothing at all":    {steps: "  - wait: 1s\n", status: result.Error, want: NothingTested},
		"a broken world":    {steps: "  - " + request + "\n", world: world{send: func(*world, int) ([]Exchange, error) { return nil, errors.New("no pod sleep") }}, status: result.Error, want: "request: no pod sleep"},
		"rejected":          {steps: "  - apply: [{apiVersion: v1, kind: A}]\n", world: world{applied: rejectSecond()}, status: result.Failed, want: "rejected: bad host"},
		"rejected, wanted":  {steps: "  - apply: [{apiVersion: v1, kind: A}]\n    expect: ['rejected[0].contains(\"bad\")']\n", world: world{applied: rejectSecond()}, status: result.Passed},
		"unknown workload":  {steps: "  - expect: ['endpoint(\"a\", \"b\").ejected']\n", status: result.Error, want: "no such workload"},
		"timeout":           {steps: "  - wait: 10m\n", status: result.Error, want: "timeout: 5m0s of the world's time are over"},
		"timeout in a loop": {steps: "  - eventually: 20m\n    expect: ['endpoint(\"a\", \"b\").ejected']\n", status: result.Error, want: "timeout: 5m0s"},
		"eventually": {steps: `
  - eventually: 30s
    ` + request + `
    expect: ['status["200"] == 1']
`, world: world{send: func(w *world, n int) ([]Exchange, error) {
			switch {
			case n == 1:
				return nil, errors.New("not there yet")
			case n < 8:
				return []Exchange{w.call(503, "", 1)}, nil
			}
			return clean(w, n)
		}}, status: result.Passed},
		"never": {steps: `
  - eventually: 3s
    ` + request + `
    expect: ['status["404"] == 1']
`, world: world{send: clean}, status: result.Failed, want: `still so after 3s: status["404"] == 1, status["404"] is 0`},
	} {
		t.Run(name, func(t *testing.T) {
			s := scenario(t, tc.steps)
			synctest.Test(t, func(t *testing.T) {
				r := Run(t.Context(), env{"sim", &tc.world, nil}, s, Options{Seed: 1})
				if r.Status != tc.status || !strings.Contains(r.Message, tc.want) {
					t.Errorf("status %s, message %q; want %s, %q\n%+v", r.Status, r.Message, tc.status, tc.want, r.Steps)
				}
				if got := strings.Join(tc.world.did, ", "); tc.did != "" && got != tc.did {
					t.Errorf("did %s, want %s", got, tc.did)
				}
				if len(r.Steps) != len(s.Steps) || r.Digest != "sha256:x" {
					t.Errorf("%d steps of %d are reported, digest %q", len(r.Steps), len(s.Steps), r.Digest)
				}
				for _, st := range r.Steps {
					if st.Status == result.Skipped && st.Message == "" {
						t.Errorf("%s is skipped without a reason", st.Name)
					}
				}
			})
		})
	}
}

// rejectSecond takes the resources and refuses what a step applies.
func rejectSecond() func() (*Applied, error) {
	n := 0
	return func() (*Applied, error) {
		if n++; n == 1 {
			return &Applied{Objects: 1}, nil
		}
		return &Applied{Rejected: []string{"bad host"}}, nil
	}
}

func TestWhereItRuns(t *testing.T) {
	s := scenario(t, "  - wait: 1s\n")
	for _, tc := range []struct {
		change func(s *spec.Scenario)
		env    string
		err    error
		status result.Status
		want   string
	}{
		{func(s *spec.Scenario) { s.Environments = []string{"kind"} }, "sim", nil, result.Skipped, "runs in kind, not in sim"},
		{func(s *spec.Scenario) { s.Network.Latency = 1 }, "kind", nil, result.Skipped, "only sim has"},
		{func(*spec.Scenario) {}, "kind", errors.New("no Docker"), result.Error, "no Docker"},
	} {
		copied := *s
		tc.change(&copied)
		r := Run(t.Context(), env{tc.env, &world{}, tc.err}, &copied, Options{Seed: 1})
		if r.Status != tc.status || !strings.Contains(r.Message, tc.want) {
			t.Errorf("got %s %q, want %s %q", r.Status, r.Message, tc.status, tc.want)
		}
	}
}

func TestWhoAnswered(t *testing.T) {
	at := time.Now()
	log := []Seen{
		// Through the gateway: the workload behind it answered, though others saw the id too.
		{RequestID: "edge", Time: at, Pod: "gw-0", Workload: "istio-ingressgateway", Status: 200, Duration: 5, Details: "via_upstream", UpstreamWorkload: "productpage", UpstreamPod: "pp-0"},
		{RequestID: "edge", Time: at, Pod: "pp-0", Workload: "productpage", Inbound: true, Status: 200, Duration: 4, DownstreamPod: "gw-0"},
		{RequestID: "edge", Time: at, Pod: "pp-0", Workload: "productpage", Status: 503, Duration: 2, DownstreamPod: "pp-0", Flags: []string{"UF"}, UpstreamWorkload: "details"},
		// Straight at the service: its own sidecar answered.
		{RequestID: "out", Time: at, Pod: "pp-0", Workload: "productpage", Inbound: true, Status: 403, Flags: []string{"RBAC"}},
		// A sidecar's own reply is nobody's answer.
		{RequestID: "late", Time: at, Pod: "pp-0", Workload: "productpage", Status: 504, Flags: []string{"UT"}, Details: "response_timeout", UpstreamWorkload: "details"},
		{RequestID: "late", Time: at, Pod: "d-0", Workload: "details", Inbound: true, Flags: []string{"DC"}, DownstreamPod: "pp-0"},
	}
	// A TCP connection is followed by addresses, and only while the call lasts.
	flow := func(pod, workload, from, local, up string, at time.Time, inbound bool) Seen {
		return Seen{Time: at.Add(3), Duration: 2, Pod: pod, Workload: workload, DownstreamAddress: from, UpstreamLocalAddress: local, UpstreamWorkload: up, Inbound: inbound}
	}
	log = append(log, flow("c-0", "client", "10.0.0.1:99", "10.0.0.1:7", "echo-v1", at, false), flow("e-1", "echo-v1", "10.0.0.1:7", "127.0.0.6:1", "", at, true),
		flow("c-0", "client", "10.0.0.1:99", "10.0.0.1:8", "echo-v2", at.Add(time.Minute), false), flow("e-2", "echo-v2", "10.0.0.1:8", "127.0.0.6:1", "", at.Add(time.Minute), true))
	x := &index{byID: map[string][]int{}}
	x.update(log[:2])
	x.update(log)
	for _, tc := range []struct {
		exchange                   Exchange
		workloads, flags, attempts map[string]int64
	}{
		{Exchange{RequestID: "edge", Status: 200}, map[string]int64{"productpage": 1}, map[string]int64{}, map[string]int64{"productpage": 1}},
		{Exchange{RequestID: "out", Status: 403}, map[string]int64{"productpage": 1}, map[string]int64{"RBAC": 1}, map[string]int64{"productpage": 1}},
		{Exchange{RequestID: FlowID("10.0.0.1:99"), Client: "c-0", Sent: at, Done: at.Add(time.Second)}, map[string]int64{"echo-v1": 1}, map[string]int64{}, map[string]int64{"echo-v1": 1}},
		{Exchange{RequestID: FlowID("10.0.0.1:99"), Client: "c-0", Sent: at.Add(time.Minute), Done: at.Add(2 * time.Minute)}, map[string]int64{"echo-v2": 1}, map[string]int64{}, map[string]int64{"echo-v2": 1}},
		{Exchange{RequestID: "late", Status: 504, Client: "pp-0"}, map[string]int64{}, map[string]int64{"UT": 1}, map[string]int64{"details": 1}},
	} {
		got, _ := x.traffic([]Exchange{tc.exchange})
		if d := cmp.Diff([]any{tc.workloads, tc.flags, tc.attempts}, []any{got.Workloads, got.Flags, got.Attempts}); d != "" {
			t.Errorf("%s: %s", tc.exchange.RequestID, d)
		}
	}
}

func TestTimeline(t *testing.T) {
	s := scenario(t, "  - "+request+"\n  - wait: 4m\n  - "+request+"\n")
	w := &world{send: mixed}
	synctest.Test(t, func(t *testing.T) {
		w.events = []Event{{Time: time.Now().Add(time.Second), Kind: "eject", Text: "httpbin-0"}}
		w.applied = func() (*Applied, error) { return &Applied{Warnings: []string{"deprecated"}}, nil }
		r := Run(t.Context(), env{"sim", w, nil}, s, Options{})
		tl := r.Timeline
		if tl.BucketSeconds != 5 || len(tl.Series) != 2 || tl.Series[0].Workload != Unanswered || len(tl.Series[1].OK) != 49 {
			t.Fatalf("wrong timeline: %+v", tl)
		}
		// Each call reached the server twice: what it served counts, not what was asked.
		if got := tl.Series[1]; got.OK[0] != 4 || got.OK[48] != 4 || got.Status["200"] != 8 {
			t.Errorf("wrong series: %+v", got)
		}
		if got := tl.Series[0]; got.Errors[0] != 2 || got.Status["503"] != 2 || got.Status["error"] != 2 || got.Flags["UO"] != 2 {
			t.Errorf("wrong series: %+v", got)
		}
		want := []result.Event{{Seconds: 0, Kind: "warning", Text: "deprecated"}, {Seconds: 1, Kind: "eject", Text: "httpbin-0"}}
		if d := cmp.Diff(want, tl.Events); d != "" {
			t.Error(d)
		}
		if r.VirtualSeconds < 240 || r.Requests != int64(len(w.log)) {
			t.Errorf("%v virtual seconds, %d requests", r.VirtualSeconds, r.Requests)
		}
	})
}

func TestInterrupted(t *testing.T) {
	s := scenario(t, "  - wait: 1m\n")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if r := Run(ctx, env{"sim", &world{}, nil}, s, Options{}); r.Status != result.Error || r.Message != "interrupted" {
			t.Errorf("got %s %q", r.Status, r.Message)
		}
	})
}

// The samples of the format's documentation must read and check as they are written.
func TestSamples(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"httpbin.yaml", "fortio.yaml", "destination-rule.yaml"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("apiVersion: v1\nkind: Service\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text := `# The circuit-breaking task.
apiVersion: windtunnel.dev/v1
kind: Scenario
metadata: {name: circuit-breaking, labels: {seed: "000"}}
spec:
  description: Two concurrent callers overflow a one-connection pool and get 503 UO; one caller never does.
  resources: [httpbin.yaml, fortio.yaml, destination-rule.yaml]
  steps:
  - name: one caller is served
    load: {from: fortio-deploy, url: "http://httpbin:8000/get", connections: 1, calls: 20}
    expect: ['status["200"] == 20']
  - name: two callers overflow
    load: {from: fortio-deploy, url: "http://httpbin:8000/delay/0.02", connections: 3, calls: 60}
    expect: ['status["503"] > 0', 'flags["UO"] == status["503"]', 'status["200"] + status["503"] == 60']
---
apiVersion: windtunnel.dev/v1
kind: Scenario
metadata: {name: ejection-lasts-three-minutes}
spec:
  resources: [httpbin.yaml]
  steps:
  - load: {from: sleep, url: "http://httpbin:8000/get", qps: 20, connections: 2, duration: 10s}
    expect: ['endpoint("httpbin-v2", "sleep").ejected']
  - {wait: 160s}
  - expect: ['!endpoint("httpbin-v2", "sleep").ejected']
---
apiVersion: windtunnel.dev/v1
kind: Scenario
metadata: {name: strict-mtls}
spec:
  resources: [httpbin.yaml]
  steps:
  - apply:
    - apiVersion: security.istio.io/v1
      kind: PeerAuthentication
      metadata: {name: default, namespace: istio-system}
      spec: {mtls: {mode: STRICT}}
  - name: plaintext is turned away
    request: {from: outside, url: "http://httpbin:8000/headers", count: 5}
    expect: ["errors == 5"]
  - name: a sidecar is let in, with its identity
    request: {from: sleep, url: "http://httpbin:8000/headers", count: 5}
    expect: ["ok()", 'body.contains("spiffe://cluster.local/ns/default/sa/sleep")']
`
	if err := os.WriteFile(filepath.Join(dir, "all.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	scenarios, problems := Read([]string{dir})
	if len(problems) > 0 || len(scenarios) != 3 {
		t.Fatalf("%d scenarios, %v", len(scenarios), problems)
	}
	if got := len(scenarios[0].Resources); got != 3 {
		t.Errorf("%d resources, want 3", got)
	}
	_, problems = Read([]string{filepath.Join(dir, "httpbin.yaml")})
	if len(problems) != 1 || !strings.Contains(problems[0].Message, "no scenario here") {
		t.Errorf("got %v", problems)
	}
}
