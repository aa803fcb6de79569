package config_test

import (
	"slices"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// What becomes a label of a Pod's name in DNS has to be one.
func TestNamesOfPodsAreChecked(t *testing.T) {
	_, found := config.Decode("f.yaml", 1, []byte(`apiVersion: v1
kind: Pod
metadata: {name: a}
spec: {hostname: db.0, subdomain: Peers, containers: [{name: a, image: nginx}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: a}
spec:
  serviceName: db.peers
  selector: {matchLabels: {app: a}}
  template: {metadata: {labels: {app: a}}, spec: {hostname: a, subdomain: db, containers: [{name: a, image: nginx}]}}
`))
	var got []string
	for _, d := range found {
		if d.Severity == config.Error {
			got = append(got, d.Position.String())
		}
	}
	if want := []string{"f.yaml:4:18", "f.yaml:4:35", "f.yaml:10:16"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}
