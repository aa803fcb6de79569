package world

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// What is wrong with a scenario's own mesh configuration stands at its field, also where
// only the control plane refuses it.
func TestMeshFindingsHavePlaces(t *testing.T) {
	const head = `apiVersion: windtunnel.dev/v1
kind: Scenario
metadata: {name: a}
spec:
  description: a
  environments: [sim]
  steps: [{wait: 1s}]
`
	for mesh, want := range map[string][]string{
		"  mesh:\n    trustDomain: a\n    accessLogFil: x\n    connectTimeout: 10\n":                              {"10:5", "11:21"},
		"  mesh: {caCertificates: [{pem: x}], defaultConfig: {statusPort: 15999}}\n":                              {"8:26", "8:66"},
		"  mesh:\n    extensionProviders:\n    - {name: x, datadog: {service: a.b.svc.cluster.local, port: 1}}\n": {"10:26"},
		"  mesh: {defaultConfig: {concurrency: 1}}\n":                                                             nil,
	} {
		file := filepath.Join(t.TempDir(), "s.yaml")
		if err := os.WriteFile(file, []byte(head+mesh), 0o600); err != nil {
			t.Fatal(err)
		}
		scenarios, problems := spec.Read([]string{file}, spec.Options{})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		var got []string
		for _, d := range CheckMesh(scenarios[0]) {
			got = append(got, d.Position.String()[len(file)+1:])
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: found %q, want %q", mesh, got, want)
		}
	}
}
