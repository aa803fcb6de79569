package meshd

import (
	"strings"
	"sync"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/serve"
)

// metrics are what the control plane tells of itself: Istio's pilot_xds, pilot_services,
// pilot_xds_pushes, pilot_xds_config_size_bytes (of each push) and
// pilot_total_xds_rejects; and of its own, as Istio's are of pushes only, how much
// configuration each proxy has, in meshd_proxy_config_resources and meshd_proxy_config_bytes.
type metrics struct {
	registry stats.Registry

	mu      sync.Mutex
	streams map[string]int // by node id
}

// shortTypes are the words for types in pilot_xds_pushes.
var shortTypes = map[resource.Type]string{
	resource.Cluster: "cds", resource.Endpoint: "eds", resource.Listener: "lds", resource.Route: "rds", resource.Secret: "sds", resource.NameTable: "nds",
}

func (m *metrics) services(n int) { m.registry.Gauge("pilot_services", "pilot_services").Set(int64(n)) }

// event counts what happens on a stream.
func (m *metrics) event(e serve.Event) {
	if e.Node == "" {
		return // it never said who it is
	}
	r := &m.registry
	short := stats.Label{Name: "type", Value: shortTypes[e.Type]}
	switch e.Kind {
	case serve.Connected:
		m.connections(e.Node, 1)
	case serve.Disconnected:
		if m.connections(e.Node, -1) == 0 {
			for _, t := range resource.Types {
				r.Remove(proxyMetric("resources", e.Node, t))
				r.Remove(proxyMetric("bytes", e.Node, t))
			}
		}
	case serve.Pushed:
		r.Counter("pilot_xds_pushes."+short.Value, "pilot_xds_pushes", short).Inc()
		r.Histogram("pilot_xds_config_size_bytes."+e.Type, "pilot_xds_config_size_bytes", stats.Label{Name: "type", Value: e.Type}).Record(float64(e.Bytes))
		proxy := stats.Label{Name: "proxy", Value: proxyName(e.Node)}
		r.Gauge(proxyMetric("resources", e.Node, e.Type), "meshd_proxy_config_resources", proxy, short).Set(int64(e.Total))
		r.Gauge(proxyMetric("bytes", e.Node, e.Type), "meshd_proxy_config_bytes", proxy, short).Set(int64(e.TotalBytes))
	case serve.Nacked:
		r.Counter("pilot_total_xds_rejects."+short.Value, "pilot_total_xds_rejects", short).Inc()
	}
}

// connections counts the streams of one proxy and of all, and returns the one's.
func (m *metrics) connections(node string, change int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.streams == nil {
		m.streams = map[string]int{}
	}
	m.streams[node] += change
	m.registry.Gauge("pilot_xds", "pilot_xds").Add(int64(change))
	n := m.streams[node]
	if n == 0 {
		delete(m.streams, node)
	}
	return n
}

func proxyMetric(what, node string, t resource.Type) string {
	return "meshd_proxy_config_" + what + "." + node + "." + shortTypes[t]
}

// proxyName is "sleep-abc.default" of "sidecar~10.0.0.7~sleep-abc.default~default.svc.cluster.local".
func proxyName(node string) string {
	if parts := strings.Split(node, "~"); len(parts) == 4 {
		return parts[2]
	}
	return node
}
