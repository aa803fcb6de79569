package world

import (
	"fmt"

	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
)

// Endpoint implements run.World: the state of a workload's Pods in the clusters of
// a client's sidecar. A Pod that is ejected from one of them counts as ejected.
func (w *World) Endpoint(workload, client string) (run.EndpointState, error) {
	leave, err := w.enter(w.ctx)
	if err != nil {
		return run.EndpointState{}, err
	}
	defer leave()
	pods, err := w.podsOf(workload)
	if err != nil {
		return run.EndpointState{}, err
	}
	clients, err := w.podsOf(client)
	if err != nil {
		return run.EndpointState{}, err
	}
	proxy := clients[0].proxy
	if proxy == nil {
		return run.EndpointState{}, fmt.Errorf("%s has no sidecar", client)
	}
	state := run.EndpointState{Ejected: true, Healthy: true}
	seen := make(map[string]*podState)
	for _, n := range pods {
		seen[n.pod.Status.PodIP] = &podState{healthy: true}
	}
	for _, cluster := range proxy.Clusters() {
		for _, h := range proxy.Hosts(cluster) {
			if s := seen[h.Address.Addr().String()]; s != nil {
				s.known = true
				s.ejected = s.ejected || h.Ejected
				s.healthy = s.healthy && h.Healthy
				state.Active += int(h.Active)
			}
		}
	}
	for ip, s := range seen {
		if !s.known {
			return run.EndpointState{}, fmt.Errorf("%s's sidecar knows no endpoint %s of %s", client, ip, workload)
		}
		state.Ejected = state.Ejected && s.ejected
		state.Healthy = state.Healthy && s.healthy && !s.ejected
	}
	return state, nil
}

// podState is what a client's clusters say of one Pod.
type podState struct{ known, ejected, healthy bool }
