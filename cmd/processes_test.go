// Package cmd_test starts the programs as processes, as a user would.
package cmd_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// build compiles programs of cmd/ into a folder.
func build(t *testing.T, names ...string) map[string]string {
	t.Helper()
	dir, programs := t.TempDir(), make(map[string]string)
	for _, name := range names {
		programs[name] = filepath.Join(dir, name)
		if out, err := exec.Command("go", "build", "-o", programs[name], "./"+name).CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
	return programs
}

// freePorts are ports that nobody listens on, and that no system hands out to who asks for any.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range 1000 {
		port := 20000 + rand.IntN(10000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue // taken
		}
		defer l.Close()
		if ports = append(ports, port); len(ports) == n {
			return ports
		}
	}
	t.Fatalf("of a thousand ports %d are free", len(ports))
	return nil
}

// output is what a process says, while it says it.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start runs a program until the test ends and returns what it says.
func start(t *testing.T, program string, args ...string) *output {
	t.Helper()
	said := new(output)
	c := exec.Command(program, args...)
	c.Stdout, c.Stderr = said, said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Signal(os.Interrupt)
		if err := c.Wait(); err != nil {
			t.Errorf("%s ended with %v:\n%s", filepath.Base(program), err, said)
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(program), said)
		}
	})
	return said
}

// eventually asks until the answer is as wanted.
func eventually(t *testing.T, url string, want func(status int, body string) bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	var last string
	for time.Now().Before(deadline) {
		answer, err := http.Get(url)
		if err != nil {
			last = err.Error()
		} else {
			body, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			last = fmt.Sprintf("%d %s", answer.StatusCode, body)
			if want(answer.StatusCode, string(body)) {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s: %s", url, last)
}

func write(t *testing.T, file, text string, args ...any) {
	t.Helper()
	if err := os.WriteFile(file, []byte(fmt.Sprintf(text, args...)), 0o644); err != nil {
		t.Fatal(err)
	}
}

const meshYAML = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  clusterIP: 10.96.0.7
  ports: [{name: http, port: 80}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: %d}]
endpoints: [{addresses: ["127.0.0.1"], conditions: {ready: true}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: %d, name: http, protocol: HTTP}, hosts: ["*"]}]
`

const routeYAML = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: default}
spec:
  hosts: ["*"]
  gateways: [edge]
  http:
  - match: [{uri: {prefix: /%s}}]
    route: [{destination: {host: web}}]
`

const bootstrapYAML = `
node:
  id: router~127.0.0.1~edge-1.default~default.svc.cluster.local
  cluster: edge.default
  metadata: {NAMESPACE: default, LABELS: {istio: ingressgateway}}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}
dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    grpc_services: [{envoy_grpc: {cluster_name: xds-grpc}}]
  cds_config: {ads: {}, resource_api_version: V3}
  lds_config: {ads: {}, resource_api_version: V3}
static_resources:
  clusters:
  - name: xds-grpc
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment:
      cluster_name: xds-grpc
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]
`

// TestControlPlaneAndProxyAsProcesses sends a request through a meshproxy that got
// its configuration from a meshd, and changes the configuration under it.
func TestControlPlaneAndProxyAsProcesses(t *testing.T) {
	programs := build(t, "meshd", "meshproxy")
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s at %s", r.URL.Path, r.Host)
	}))
	t.Cleanup(app.Close)
	ports := freePorts(t, 4)
	ads, monitoring, gateway, admin := ports[0], ports[1], ports[2], ports[3]
	dir := t.TempDir()
	config := filepath.Join(dir, "mesh")
	if err := os.Mkdir(config, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(config, "mesh.yaml"), meshYAML, app.Listener.Addr().(*net.TCPAddr).Port, gateway)
	write(t, filepath.Join(config, "route.yaml"), routeYAML, "one")
	write(t, filepath.Join(dir, "bootstrap.yaml"), bootstrapYAML, admin, ads)

	start(t, programs["meshproxy"], "-c", filepath.Join(dir, "bootstrap.yaml")) // before its control plane
	said := start(t, programs["meshd"], "--config", config, "--grpc-addr", fmt.Sprintf("127.0.0.1:%d", ads),
		"--monitoring-addr", fmt.Sprintf("127.0.0.1:%d", monitoring))

	url := fmt.Sprintf("http://127.0.0.1:%d", gateway)
	eventually(t, url+"/one/page", func(status int, body string) bool { return status == 200 && strings.HasPrefix(body, "/one/page at ") })
	eventually(t, url+"/two", func(status int, _ string) bool { return status == 404 })
	eventually(t, fmt.Sprintf("http://127.0.0.1:%d/config_dump", admin), func(status int, body string) bool {
		return status == 200 && strings.Contains(body, "outbound|80||web.default.svc.cluster.local")
	})
	eventually(t, fmt.Sprintf("http://127.0.0.1:%d/debug/syncz", monitoring), func(status int, body string) bool {
		return status == 200 && strings.Contains(body, "edge-1")
	})

	write(t, filepath.Join(config, "route.yaml"), routeYAML, "two")
	eventually(t, url+"/two", func(status int, _ string) bool { return status == 200 })
	eventually(t, url+"/one/page", func(status int, _ string) bool { return status == 404 })

	write(t, filepath.Join(config, "route.yaml"), strings.ReplaceAll(routeYAML, "prefix", "prefx"), "three")
	for deadline := time.Now().Add(time.Minute); !strings.Contains(said.String(), `"prefx"`); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("meshd does not complain about a typo:\n%s", said)
		}
	}
	eventually(t, url+"/two", func(status int, _ string) bool { return status == 200 })
}

func TestBadCommandLines(t *testing.T) {
	programs := build(t, "meshd", "meshproxy")
	for _, c := range []struct {
		program, want string
		args          []string
	}{
		{"meshproxy", "no configuration", nil},
		{"meshproxy", "no such file", []string{"-c", "/nowhere.yaml"}},
		{"meshproxy", `unknown field "nod"`, []string{"--config-yaml", "nod: {}", "--mode", "validate"}},
		{"meshd", "--config FOLDER, --kubeconfig FILE or --in-cluster is needed", nil},
	} {
		out, err := exec.Command(programs[c.program], c.args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s %v: %v, said %q, want %q", c.program, c.args, err, out, c.want)
		}
	}
}
