package world

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// FuzzManifests: whatever people apply beside a workload, the control plane says what is
// wrong with it, and what it sends all the same no proxy refuses.
func FuzzManifests(f *testing.F) {
	for _, root := range []string{"../../bookinfo/manifests", "../../scenarios"} {
		err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(file, ".yaml") {
				return err
			}
			data, err := os.ReadFile(file)
			if err == nil && len(data) < 8<<10 && !strings.Contains(string(data), "kind: Scenario") {
				f.Add(string(data))
			}
			return err
		})
		if err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Count(text, "replicas") > 0 {
			return // many Pods take long, and are nothing new
		}
		o, _, err := NewOffline([]spec.Document{{File: "base.yaml", Line: 1, Text: []byte(fuzzBase)}, {File: "fuzzed.yaml", Line: 1, Text: []byte(text)}})
		if err != nil {
			return
		}
		for _, n := range o.world.nodes {
			if _, err := o.snapshot(n); err != nil {
				t.Errorf("%s: %v", n.pod.Name, err)
			}
		}
		_, _ = o.Explain(&spec.Explain{From: "sleep", URL: "http://reviews:9080/a?b=c", Method: "GET"}) // an error says why not
	})
}

const fuzzBase = `apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: ratings}
spec: {selector: {app: ratings}, ports: [{name: tcp, port: 9080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews-v1}
spec:
  selector: {matchLabels: {app: reviews, version: v1}}
  template:
    metadata: {labels: {app: reviews, version: v1}}
    spec: {containers: [{name: c, image: nginx, ports: [{containerPort: 9080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: sleep}
spec:
  selector: {matchLabels: {app: sleep}}
  template:
    metadata: {labels: {app: sleep}}
    spec: {containers: [{name: c, image: curlimages/curl}]}
`
