package live

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
)

// hosts is the part that is read of Envoy's /clusters?format=json.
type hosts struct {
	Clusters []hostsOf `json:"cluster_statuses"`
}

type hostsOf struct {
	Name  string `json:"name"`
	Hosts []host `json:"host_statuses"`
}

type host struct {
	Address struct {
		Socket struct {
			Address string `json:"address"`
			Port    int    `json:"port_value"`
		} `json:"socket_address"`
	} `json:"address"`
	Stats  []stat `json:"stats"`
	Health struct {
		Ejected bool   `json:"failed_outlier_check"`
		Active  bool   `json:"failed_active_health_check"`
		EDS     string `json:"eds_health_status"`
	} `json:"health_status"`
}

type stat struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
}

// Endpoint implements run.World: the state of a workload's Pods in the clusters of a
// client's proxy, by its admin port.
func (w *World) Endpoint(workload, client string) (run.EndpointState, error) {
	var state run.EndpointState
	pods, err := w.podsOf(workload)
	if err != nil {
		return state, err
	}
	clients, err := w.podsOf(client)
	if err != nil {
		return state, err
	}
	if proxied, _ := clients[0].proxied(); !proxied {
		return state, fmt.Errorf("%s has no sidecar", client)
	}
	var found hosts
	if err := w.admin(w.ctx, clients[0], "/clusters?format=json", func(body []byte) error { return json.Unmarshal(body, &found) }); err != nil {
		return state, err
	}
	return found.state(pods, client, workload)
}

func (h *hosts) state(pods []*pod, client, workload string) (run.EndpointState, error) {
	state := run.EndpointState{Ejected: true, Healthy: true}
	for _, p := range pods {
		known, ejected, healthy := false, false, true
		for _, c := range h.Clusters {
			for _, e := range c.Hosts {
				if e.Address.Socket.Address != p.Status.PodIP {
					continue
				}
				known = true
				ejected = ejected || e.Health.Ejected
				healthy = healthy && !e.Health.Active && (e.Health.EDS == "" || e.Health.EDS == "HEALTHY")
				for _, s := range e.Stats {
					if s.Name == "rq_active" {
						state.Active += number(s.Value)
					}
				}
			}
		}
		if !known {
			return run.EndpointState{}, fmt.Errorf("%s's sidecar knows no endpoint %s of %s", client, p.Status.PodIP, workload)
		}
		state.Ejected = state.Ejected && ejected
		state.Healthy = state.Healthy && healthy && !ejected
	}
	return state, nil
}

// ejected tells whether an endpoint is in a cluster.
func (h *hosts) ejected(cluster string, endpoint netip.AddrPort) bool {
	for _, c := range h.Clusters {
		for _, e := range c.Hosts {
			s := e.Address.Socket
			if c.Name == cluster && s.Address == endpoint.Addr().String() && s.Port == int(endpoint.Port()) {
				return e.Health.Ejected
			}
		}
	}
	return false
}

// number reads a JSON number, which protobuf writes as a text where it has 64 bits.
func number(v any) int {
	switch v := v.(type) {
	case float64:
		return int(v)
	case string:
		return text(v).number()
	}
	return 0
}
