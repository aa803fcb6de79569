package config

import (
	"strings"
	"testing"
)

// TestCanary changes one line of a Canary that is right.
func TestCanary(t *testing.T) {
	const good = `apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: web}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  service: {port: 80, retries: {attempts: 3, perTryTimeout: 1s}, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}
  analysis:
    interval: 1m
    stepWeight: 10
    metrics:
    - {name: request-success-rate, interval: 1m, thresholdRange: {min: 99}}
`
	if objects, findings := Decode("c.yaml", 1, []byte(good)); len(objects) != 1 || len(findings) > 0 {
		t.Fatal(findings)
	}
	for _, c := range []struct{ old, text, want string }{
		{"kind: Deployment", "kind: DaemonSet", "5:42: spec.targetRef.kind: \"DaemonSet\" is not supported yet"},
		{"{port: 80,", "{", "6:12: spec.service: port is required"},
		{"stepWeight: 10", "stepWeight: 10\n    iterations: 3", "10:17: spec.analysis.iterations: is not supported yet"},
		{"    stepWeight: 10\n", "", "7:3: spec.analysis: stepWeight or stepWeights is required"},
		{"stepWeight: 10", "stepWeights: [10, 5]", "9:23: spec.analysis.stepWeights[1]: 5: expected weights that grow"},
		{"interval: 1m\n", "interval: soon\n", "8:15: spec.analysis.interval: \"soon\" is not a duration"},
		{"stepWeight: 10", "stepWeight: 10\n    match: [{headers: {a: {exact: b}}}]", "10:12: spec.analysis.match: is not supported yet"},
		{"stepWeight: 10", "stepWeight: 10\n    webhooks: []", "10:15: spec.analysis.webhooks: is not supported yet"},
		{"{min: 99}", "{}", "spec.analysis.metrics[0].thresholdRange: min or max is required"},
		{"request-success-rate", "success", "\"success\" is no metric that is known by name"},
		{"attempts: 3", "atempts: 3", "unknown field \"atempts\" in spec.service.retries (HTTPRetry)"},
		{"interval: 1m,", "interval: one,", "\"one\" is not a range of PromQL"},
		{"interval: 1m,", "query: '{{ nobody }}',", "function \"nobody\" not defined"},
		{"  service:", "  provider: linkerd\n  service:", "provider \"linkerd\" is not supported yet"},
	} {
		text := strings.Replace(good, c.old, c.text, 1)
		objects, findings := Decode("c.yaml", 1, []byte(text))
		if len(objects) > 0 || len(findings) == 0 || !strings.Contains(findings[0].Position.String()+": "+findings[0].Message, c.want) {
			t.Errorf("with %q: %v, want %q", c.text, findings, c.want)
		}
	}
}
