package cli_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/cli"
)

// windtunnel runs a command line.
func windtunnel(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = cli.Main(t.Context(), args, cli.Streams{In: strings.NewReader(""), Out: &o, Err: &e})
	return code, o.String(), e.String()
}

func TestInstallWithoutACluster(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	nobody := filepath.Join(t.TempDir(), "kubeconfig")
	err := os.WriteFile(nobody, []byte("apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]\n"+
		"contexts: [{name: a, context: {cluster: a, user: a}}]\nusers: [{name: a}]\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"install --dry-run --profile demo", 0, "name: istio-egressgateway"},
		{"install manifest --set hub=example.org/mesh", 0, "image: example.org/mesh/meshd:latest"},
		{"install profile list", 0, "an ingress gateway"},
		{"install profile dump minimal", 0, "ingressGateway:\n  enabled: false"},
		{"install profile diff default demo", 0, `controlPlane.cpu: "500m" -> "10m"`},
		{"install profile dump big", 2, `there is no profile "big"`},
		{"install --profile big", 2, "the profiles are minimal, default, demo"},
		{"install --set ingresGateway.enabled=no", 2, `did you mean "ingressGateway.enabled"?`},
		{"install", 3, "there is no kubeconfig with a context"},
		{"install --context none --kubeconfig " + nobody, 3, `no context "none"`},
		{"install --kubeconfig " + nobody, 3, "http://127.0.0.1:1 does not answer (context a)"},
		{"uninstall --purge --keep-definitions", 2, "exclude each other"},
		{"uninstall --kubeconfig " + nobody, 3, "does not answer"},
		{"doctor --kubeconfig " + nobody, 3, "FAIL  cluster"},
		{"proxy-status --debug 127.0.0.1:1", 3, "connection refused"},
		{"proxy-config colours --admin 127.0.0.1:1", 2, "expected one of clusters"},
		{"proxy-config clusters", 2, "one of POD and --admin is needed"},
		{"inject -f ../bookinfo/manifests/bookinfo.yaml --set tag=v9", 0, "image: windtunnel/meshproxy:v9"},
		{"inject", 2, "-f FILE is needed"},
	} {
		code, out, errs := windtunnel(t, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%s: code %d\n%.600s\n%s", c.args, code, out, errs)
		}
	}
}

// What is injected once stays as it is when it is injected again.
func TestInjectIsIdempotent(t *testing.T) {
	_, once, _ := windtunnel(t, "inject", "-f", "../bookinfo/manifests/bookinfo.yaml")
	file := filepath.Join(t.TempDir(), "injected.yaml")
	if err := os.WriteFile(file, []byte(once), 0o600); err != nil {
		t.Fatal(err)
	}
	code, twice, errs := windtunnel(t, "inject", "-f", file)
	if code != 0 || strings.Count(twice, "name: istio-proxy\n") != 6 || strings.Count(once, "name: istio-proxy\n") != 6 {
		t.Errorf("code %d, %d and %d sidecars\n%s", code, strings.Count(once, "name: istio-proxy\n"), strings.Count(twice, "name: istio-proxy\n"), errs)
	}
}

func TestProxyStatus(t *testing.T) {
	const clusters = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`[{"Node": {"ID": "sidecar~10.0.0.1~reviews-1.books~books.svc.cluster.local"},
			"Types": [{"Type": "` + clusters + `", "Sent": "2", "Acked": "1", "Nack": "cluster x: no"}]}]`))
	}))
	defer s.Close()
	code, out, errs := windtunnel(t, "proxy-status", "--debug", strings.TrimPrefix(s.URL, "http://"))
	line := strings.Join(strings.Fields(out), " ")
	if code != 0 || !strings.Contains(line, "reviews-1.books REJECTED - - - - - 127.0.0.1:") || !strings.HasSuffix(line, "cluster x: no") {
		t.Errorf("code %d\n%s\n%s", code, out, errs)
	}
}
