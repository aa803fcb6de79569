package admin

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
)

func TestPages(t *testing.T) {
	registry := new(stats.Registry)
	m := upstream.NewManager(upstream.Options{Stats: registry})
	defer func() { _ = m.Close() }()
	cluster := &snapshot.Cluster{Name: "outbound|80||a", Endpoints: []*snapshot.Locality{{Region: "r", Zone: "z", Endpoints: []*snapshot.Endpoint{
		{Address: netip.MustParseAddrPort("10.0.0.1:80"), Health: snapshot.Unhealthy}}}}}
	cluster.Breaker[0].MaxConnections = 7
	if err := m.Update(map[string]*snapshot.Cluster{cluster.Name: cluster}); err != nil {
		t.Fatal(err)
	}
	live, quit, level := true, false, "info"
	h := Handler(Options{Stats: registry, Upstream: m, Started: time.Now(), Version: "v1", NodeID: "sidecar~1",
		Snapshot: func() *snapshot.Proxy {
			return &snapshot.Proxy{Names: []snapshot.Name{{Host: "a.example.com", Addresses: []netip.Addr{netip.MustParseAddr("240.240.0.1")}}}, Listeners: []*snapshot.Listener{{Name: "virtualInbound", Address: netip.MustParseAddrPort("0.0.0.0:15006")}}}
		},
		Ready: func() (bool, string) { return live, map[bool]string{true: "LIVE", false: "DRAINING"}[live] },
		Quit:  func() { quit = true },
		Level: func(l string) (string, error) {
			if l == "loud" {
				return "", errors.New("unknown level")
			}
			if l != "" {
				level = l
			}
			return level, nil
		}})
	for _, c := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"GET", "/ready", 200, "LIVE"},
		{"GET", "/clusters", 200, "outbound|80||a::10.0.0.1:80::health_flags::/failed_eds_health\n"},
		{"GET", "/clusters", 200, "outbound|80||a::default_priority::max_connections::7\n"},
		{"GET", "/clusters?format=json", 200, `"eds_health_status": "UNHEALTHY"`},
		{"GET", "/listeners", 200, "virtualInbound::0.0.0.0:15006\n"},
		{"GET", "/listeners?format=json", 200, `"port_value": 15006`},
		{"GET", "/names", 200, `"host": "a.example.com"`},
		{"GET", "/stats?filter=membership_total", 200, "cluster.outbound|80||a.membership_total: 1\n"},
		{"GET", "/stats?filter=(", 400, "invalid filter"},
		{"GET", "/stats?format=json&filter=membership_total", 200, `"value": 1`},
		{"GET", "/stats/prometheus", 200, "envoy_cluster_membership_total{"},
		{"GET", "/server_info", 200, `"state": "LIVE"`},
		{"POST", "/logging?level=debug", 200, "debug"},
		{"POST", "/logging?level=loud", 400, "unknown level"},
		{"GET", "/quitquitquit", 405, "POST"},
		{"POST", "/quitquitquit", 200, "OK"},
		{"GET", "/config_dump", 404, "not available"},
		{"GET", "/nowhere", 404, "/stats/prometheus"},
		{"GET", "/", 200, "/drain_listeners (POST)"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s: %d\n%s\nwant %d with %q", c.method, c.path, w.Code, w.Body, c.status, c.want)
		}
		if strings.Contains(c.path, "json") && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s is no JSON", c.path)
		}
	}
	live = false
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, httptest.NewRequest("GET", "/ready", nil)); w.Code != 503 || !quit {
		t.Errorf("draining: ready is %d, quit is %v", w.Code, quit)
	}
}
