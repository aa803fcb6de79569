package build_test

import (
	"strings"
	"testing"

	meshpb "istio.io/api/mesh/v1alpha1"
)

func TestDiscoverySelectors(t *testing.T) {
	const objects = `
apiVersion: v1
kind: Namespace
metadata: {name: in, labels: {mesh: "yes"}}
---
apiVersion: v1
kind: Namespace
metadata: {name: out}
---
apiVersion: v1
kind: Service
metadata: {name: a, namespace: in}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: b, namespace: out}
spec: {ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: b, namespace: out}
spec: {host: b}
`
	matching := func(key string, values ...string) *meshpb.MeshConfig {
		return &meshpb.MeshConfig{DiscoverySelectors: []*meshpb.LabelSelector{
			{MatchLabels: map[string]string{"mesh": "no"}},
			{MatchExpressions: []*meshpb.LabelSelectorRequirement{{Key: key, Operator: "In", Values: values}}}}}
	}
	for name, c := range map[string]struct {
		mesh     *meshpb.MeshConfig
		services string
		findings string
	}{
		"none":     {nil, "a.in.svc.cluster.local b.out.svc.cluster.local", ""},
		"by label": {matching("mesh", "yes"), "a.in.svc.cluster.local", "a.yaml:22:32 nobody sees this"},
		"by name":  {matching("kubernetes.io/metadata.name", "in", "out"), "a.in.svc.cluster.local b.out.svc.cluster.local", ""},
		"wrong": {&meshpb.MeshConfig{DiscoverySelectors: []*meshpb.LabelSelector{{MatchExpressions: []*meshpb.LabelSelectorRequirement{{Key: "a", Operator: "Is"}}}}},
			"a.in.svc.cluster.local b.out.svc.cluster.local", `meshConfig.discoverySelectors[0]: "Is" is not a valid label selector operator`},
	} {
		m, found := made(t, objects, c.mesh)
		var hosts, texts []string
		for _, s := range m.Services {
			hosts = append(hosts, s.Host)
		}
		for _, d := range found {
			texts = append(texts, strings.TrimSpace(d.Position.String()+" "+d.Message))
		}
		if got := strings.Join(hosts, " "); got != c.services {
			t.Errorf("%s: services %s", name, got)
		}
		if got := strings.Join(texts, "\n"); !strings.HasPrefix(got, c.findings) || len(texts) > 0 != (c.findings != "") {
			t.Errorf("%s: found %s", name, got)
		}
	}
}
