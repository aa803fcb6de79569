package inject

import (
	"fmt"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// What is wrong within an annotation stands at its own line and column, however the
// annotation is written.
func TestProblemsHavePlaces(t *testing.T) {
	const head = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
      annotations:
`
	for _, c := range []struct{ annotation, place, message, hint string }{
		{"        proxy.istio.io/config: |\n          concurrency: 2\n          drainDuratio: 5s\n",
			"12:11", `unknown field "drainDuratio"`, `did you mean "drainDuration"?`},
		{"        proxy.istio.io/config: |-\n\n          concurrency: two\n", "12:24", "concurrency: expected a whole number", ""},
		{"        proxy.istio.io/config: '{\"concurrency\": 70000}'\n", "10:49", "expected 0 to 65535", ""},
		{"        proxy.istio.io/config: \"{\\\"concurrency\\\": true}\"\n", "10:51", "expected a whole number", ""},
		{"        proxy.istio.io/config: 'interceptionMode: TPROXY'\n", "10:51", "only REDIRECT and NONE", ""},
		{"        proxy.istio.io/config: |\n          statusPort: 15021\n", "11:23", "it is 15020", ""},
		{"        proxy.istio.io/config: |\n          binaryPath: /envoy\n", "11:23", "not supported for one Pod", "supported are concurrency, "},
		{"        proxy.istio.io/config: |\n          proxyMetadata:\n            ISTIO_META_DNS_CAPTURE: perhaps\n", "12:37", "expected true or false", ""},
		{"        proxy.istio.io/config: |\n          a: [\n", "11:11", "not valid YAML", ""},
		{"        proxy.istio.io/config: >\n          concurrency:\n          two\n", "10:32", "concurrency: expected", ""},
		{"        proxy.istio.io/config: always\n", "10:32", "expected a mapping", ""},
		{"        sidecar.istio.io/proxyCPU: much\n", "10:36", "sidecar.istio.io/proxyCPU", ""},
	} {
		text := head + c.annotation + "    spec: {containers: [{name: web, image: nginx}]}\n"
		objects, found := config.Decode("web.yaml", 1, []byte(text))
		if len(found) > 0 {
			t.Fatalf("%s: %v", c.annotation, found)
		}
		found = Check(objects[0], enabled, options)
		if len(found) != 1 || !strings.HasPrefix(found[0].Position.String(), "web.yaml:"+c.place) ||
			!strings.Contains(found[0].Message, c.message) || !strings.HasPrefix(found[0].Hint, c.hint) {
			t.Errorf("%s: want %s %s, found %s", c.annotation, c.place, c.message, fmt.Sprintf("%+v", found))
		}
	}
}
