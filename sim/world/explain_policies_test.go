package world

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

const accessPolicies = `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: httpbin, namespace: default}
spec:
  selector: {matchLabels: {app: httpbin}}
  jwtRules:
  - issuer: https://issuer.example
    audiences: [bookinfo]
    jwks: '%s'
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: some, namespace: default}
spec:
  selector: {matchLabels: {app: httpbin}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/sleep]}}]
    to: [{operation: {methods: [GET], paths: ["/status/*", /get]}}]
  - from: [{source: {requestPrincipals: ["https://issuer.example/*"]}}]
  - from: [{source: {namespaces: [elsewhere]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: none, namespace: default}
spec:
  selector: {matchLabels: {app: httpbin}}
  action: DENY
  rules:
  - to: [{operation: {paths: [/admin]}}]
  - when: [{key: "request.headers[x-bad]", values: ["yes"]}]
---
apiVersion: v1
kind: Namespace
metadata: {name: elsewhere, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: visitor, namespace: elsewhere}
spec:
  selector: {matchLabels: {app: visitor}}
  template:
    metadata: {labels: {app: visitor}}
    spec: {containers: [{name: sleep, image: curlimages/curl}]}
`

// TestExplainTellsWhatPoliciesDo: random requests are let in and turned away as was said.
func TestExplainTellsWhatPoliciesDo(t *testing.T) {
	list, problems := run.Read([]string{"../../scenarios/security/jwt.yaml"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	s := list[0]
	var tokens []string
	var keys string
	for _, step := range s.Steps {
		if step.Request != nil && step.Request.Headers["authorization"] != "" {
			tokens = append(tokens, step.Request.Headers["authorization"])
		}
		if step.Apply != nil && keys == "" {
			keys = regexp.MustCompile(`\{"keys":.*\}`).FindString(string(step.Apply.Documents[0].Text))
		}
	}
	policies := []spec.Document{{File: "policies.yaml", Line: 1, Text: fmt.Appendf(nil, accessPolicies, keys)}}
	d := draws{rand.New(rand.NewPCG(5, 6))}
	outcomes := map[string]int{}
	err := (&Sim{}).Do(t.Context(), s, run.Options{Seed: 1}, func(ctx context.Context, world run.World) error {
		w := world.(*World)
		for _, docs := range [][]spec.Document{s.Resources, policies} {
			if applied, err := w.Apply(ctx, docs); err != nil || len(applied.Rejected) > 0 {
				return fmt.Errorf("%v %v", applied, err)
			}
		}
		for range 200 {
			q := &spec.Request{From: d.pick("sleep", "sleep", "elsewhere/visitor", "outside"), Method: d.pick("GET", "GET", "POST"), Count: 1, Parallel: 1, Protocol: "http1",
				URL: "http://httpbin.default:8000" + d.pick("/get", "/status/200", "/status/201", "/headers", "/admin", "/admin?x", "/get/"), Headers: map[string]string{}}
			if d.IntN(3) == 0 {
				q.Headers["authorization"] = d.pick(tokens...)
			}
			if d.IntN(5) == 0 {
				q.Headers["x-bad"] = d.pick("yes", "no")
			}
			way, err := w.explain(&spec.Explain{From: q.From, URL: q.URL, Method: q.Method, Headers: q.Headers}, running)
			if err != nil {
				return fmt.Errorf("%+v: %w", q, err)
			}
			before := len(w.Log())
			sent, err := w.Send(ctx, q)
			if err != nil {
				return err
			}
			if err := w.Sleep(ctx, 20e6); err != nil {
				return err
			}
			compare(t, q, way, sent[0], w.Log()[before:])
			asked := way.Hops[len(way.Hops)-1].Policies
			if len(asked) == 0 {
				t.Fatalf("%s %s: no policy was asked", q.Method, q.URL)
			}
			last := asked[len(asked)-1]
			stopped := way.Status == 401 || way.Status == 403
			if last.Passed == stopped || stopped != (sent[0].Status == 401 || sent[0].Status == 403) {
				t.Errorf("%s %s from %s: %+v; explained %d, got %d", q.Method, q.URL, q.From, last, way.Status, sent[0].Status)
			}
			if last.Name != "" && !strings.HasPrefix(last.Source, "policies.yaml:") {
				t.Errorf("%s comes from %q", last.Name, last.Source)
			}
			outcomes[fmt.Sprint(last.Kind, " ", last.Action, " ", last.Name, " ", way.Status)]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"authentication   401", "authorization allow  403", "authorization deny ns[default]-policy[none]-rule[0] 403", "authorization deny ns[default]-policy[none]-rule[1] 403",
		"authorization allow ns[default]-policy[some]-rule[0] 0", "authorization allow ns[default]-policy[some]-rule[1] 0", "authorization allow ns[default]-policy[some]-rule[2] 0"} {
		if outcomes[want] == 0 {
			t.Errorf("no request had the outcome %q: %v", want, outcomes)
		}
	}
}
