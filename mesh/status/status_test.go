package status

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
)

func port(t *testing.T, addr string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// application answers probes and has metrics; it tells from where it was asked.
func application(t *testing.T) (address string, sources *[]string) {
	t.Helper()
	sources = &[]string{}
	mux := http.NewServeMux()
	mux.HandleFunc("/live", func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		*sources = append(*sources, host+" "+r.Host+" "+r.Header.Get("X-Own")+" "+r.UserAgent())
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://example.com/", http.StatusFound)
	})
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "app_total 1\n") })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), sources
}

func serveHealth(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := health.NewServer()
	h.SetServingStatus("sick", healthpb.HealthCheckResponse_NOT_SERVING)
	s := grpc.NewServer()
	healthpb.RegisterHealthServer(s, h)
	go s.Serve(l) // ends with Stop
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

func handler(t *testing.T, o Options) http.Handler {
	t.Helper()
	o.Network, o.Address = netx.System{}, netip.MustParseAddr("127.0.0.1")
	o.Metrics = func(w io.Writer) error { _, err := io.WriteString(w, "own_total 2\n"); return err }
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("User-Agent", "kube-probe/1.34")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestProbesAreTheApplications(t *testing.T) {
	addr, sources := application(t)
	p, g := port(t, addr), port(t, serveHealth(t))
	h := handler(t, Options{Probes: `{
		"/app-health/a/livez": {"httpGet": {"path": "/live", "port": ` + p + `, "httpHeaders": [{"name": "Host", "value": "shop"}, {"name": "X-Own", "value": "1"}]}},
		"/app-health/a/readyz": {"httpGet": {"path": "broken", "port": ` + p + `, "scheme": "HTTP"}, "timeoutSeconds": 2},
		"/app-health/a/startupz": {"httpGet": {"path": "/away", "port": ` + p + `}},
		"/app-health/b/livez": {"tcpSocket": {"port": ` + p + `}},
		"/app-health/b/readyz": {"tcpSocket": {"port": 1}},
		"/app-health/c/livez": {"grpc": {"port": ` + g + `}},
		"/app-health/c/readyz": {"grpc": {"port": ` + g + `, "service": "sick"}}}`})
	for path, want := range map[string]int{"a/livez": 204, "a/readyz": 503, "a/startupz": 302, "b/livez": 200, "b/readyz": 500, "c/livez": 200, "c/readyz": 500, "d/livez": 404} {
		if w := get(h, "/app-health/"+path); w.Code != want {
			t.Errorf("%s: answered %d %s, want %d", path, w.Code, w.Body, want)
		}
	}
	if want := "127.0.0.6 shop 1 kube-probe/1.34"; len(*sources) != 1 || (*sources)[0] != want {
		t.Errorf("the application was asked by %q, want %q", *sources, want)
	}
}

func TestMetricsAreBoth(t *testing.T) {
	addr, _ := application(t)
	scrape := func(path, port string) string {
		return get(handler(t, Options{Scrape: `{"scrape": "true", "path": "` + path + `", "port": "` + port + `"}`}), "/stats/prometheus").Body.String()
	}
	for _, path := range []string{"/metrics", "metrics", ""} {
		if got := scrape(path, port(t, addr)); got != "own_total 2\napp_total 1\n" {
			t.Errorf("path %q: metrics are %q", path, got)
		}
	}
	for _, missing := range []string{scrape("/none", port(t, addr)), scrape("/metrics", "1"), get(handler(t, Options{}), "/stats/prometheus").Body.String()} {
		if missing != "own_total 2\n" {
			t.Errorf("without the application, metrics are %q", missing)
		}
	}
}

func TestReady(t *testing.T) {
	ready := false
	h := handler(t, Options{Ready: func() bool { return ready }})
	if w := get(h, "/healthz/ready"); w.Code != 503 {
		t.Errorf("not ready is answered %d", w.Code)
	}
	ready = true
	if w := get(h, "/healthz/ready"); w.Code != 200 {
		t.Errorf("ready is answered %d", w.Code)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for _, c := range []struct{ probes, scrape, want string }{
		{"{", "", "probes"},
		{`{"/a": {}}`, "", "/a: expected one of"},
		{`{"/a": {"exec": {"command": ["x"]}}}`, "", "/a: expected one of"},
		{`{"/a": {"httpGet": {"port": 0}}}`, "", "port 0"},
		{`{"/a": {"httpGet": {"port": 1, "host": "example.com"}}}`, "", "example.com"},
		{`{"/a": {"httpGet": {"port": 1, "scheme": "FTP"}}}`, "", "FTP"},
		{"", "x", "metrics"},
		{"", `{"port": "http"}`, `port "http"`},
	} {
		if _, err := New(Options{Probes: c.probes, Scrape: c.scrape}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s%s: %v, want %q", c.probes, c.scrape, err, c.want)
		}
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Serve(ctx, http.NotFoundHandler(), l); err != nil {
		t.Error(err)
	}
}
