package world

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"

	securityv1 "istio.io/client-go/pkg/apis/security/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/explain"
	"github.com/windtunnel-mesh/windtunnel/mesh/identity"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/nametable"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// Explain tells the way of a request through the mesh as it is now, without sending
// it: by the snapshots that the sidecars run, the capture rules of the Pods, and DNS.
func (w *World) Explain(ctx context.Context, q *spec.Explain) (map[string]any, error) {
	way, err := w.Way(ctx, q)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(way)
	if err != nil {
		return nil, err
	}
	var object map[string]any
	return object, json.Unmarshal(text, &object)
}

// Way is Explain's answer for callers in Go.
func (w *World) Way(ctx context.Context, q *spec.Explain) (*explain.Way, error) {
	leave, err := w.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return w.explain(q, func(n *node) (*snapshot.Proxy, error) {
		if n.proxy == nil {
			return nil, nil
		}
		return n.proxy.Snapshot(), nil
	})
}

// explain follows a request. snapshots are what the Pods' proxies run; nil: there is none.
func (w *World) explain(q *spec.Explain, snapshots func(*node) (*snapshot.Proxy, error)) (*explain.Way, error) {
	v := &surroundings{World: w, peers: make(map[netip.Addr]*explain.Peer)}
	for _, p := range w.cluster.Pods() {
		n := w.nodes[p.Name]
		peer, err := w.peerOf(n, snapshots)
		if err != nil {
			return nil, fmt.Errorf("pod %s: %w", p.Name, err)
		}
		v.peers[peer.Addr] = peer
		v.names = append(v.names, named{p.Name, peer})
	}
	o := explain.Options{Mesh: v, Request: explain.Request{From: q.From, Method: q.Method, URL: q.URL, Headers: q.Headers},
		PolicySource:  func(kind, name string) string { return policySource(w.store.View(), kind, name) },
		FilterSource:  w.filterSource,
		SettingSource: w.settingSource}
	switch q.From {
	case fromIngress:
		ip, err := w.ingressOf(q.URL)
		if err != nil {
			return nil, err
		}
		o.Entry = ip
		o.Client = &explain.Peer{Name: fromIngress, Addr: ingressClient}
	case fromOutside:
		o.Client = &explain.Peer{Name: fromOutside, Addr: outsideClient}
	default:
		nodes, err := w.podsOf(q.From)
		if err != nil {
			return nil, err
		}
		for _, n := range v.names {
			if n.pod == nodes[0].pod.Name {
				o.Client = n.peer
			}
		}
	}
	return explain.Explain(o)
}

// peerOf is a Pod as an end of connections.
func (w *World) peerOf(n *node, snapshots func(*node) (*snapshot.Proxy, error)) (*explain.Peer, error) {
	addr, err := netip.ParseAddr(n.pod.Status.PodIP)
	if err != nil {
		return nil, err
	}
	p := &explain.Peer{Name: n.pod.Name, Workload: n.workload, Addr: addr, UID: appUser,
		Identity: identity.ID{TrustDomain: w.trustDomain, Namespace: n.pod.Namespace, ServiceAccount: n.pod.Spec.ServiceAccountName}.String()}
	for _, c := range n.pod.Spec.InitContainers {
		if c.Name == inject.InitContainer {
			if p.Capture, err = captureRules(n.pod.Namespace, c); err != nil {
				return nil, fmt.Errorf("init container %s: %w", c.Name, err)
			}
		}
	}
	for _, c := range n.pod.Spec.Containers {
		if c.Name != inject.ProxyContainer {
			p.UID = user(n.pod, c)
			break
		}
	}
	if p.Snapshot, err = snapshots(n); err != nil || p.Snapshot == nil {
		return p, err
	}
	p.Gateway = p.Capture == nil
	if p.Capture != nil && asksProxy(p.Capture, p.UID, p.UID) {
		p.Names = nametable.New(p.Snapshot.Names, nametable.Pod{Namespace: n.pod.Namespace, Domain: "svc." + clusterDomain,
			Search: []string{n.pod.Namespace + ".svc." + clusterDomain, "svc." + clusterDomain, clusterDomain}})
	}
	if n.proxy != nil {
		p.IsEjected = func(cluster string, endpoint netip.AddrPort) bool {
			for _, h := range n.proxy.Hosts(cluster) {
				if h.Address == endpoint {
					return h.Ejected
				}
			}
			return false
		}
	}
	return p, nil
}

// ruleName is what the control plane calls a rule of an AuthorizationPolicy in RBAC.
var ruleName = regexp.MustCompile(`^(?:istio-ext-authz-.+-)?ns\[(.+)\]-policy\[(.+)\]-rule\[(\d+)\]$`)

// policySource finds the YAML behind a rule of RBAC, or that of an issuer of tokens.
func policySource(v *store.View, kind, name string) string {
	line := func(o *config.Object, path string) string {
		p := o.At(path)
		if p.Line == 0 {
			return ""
		}
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	if kind == "authorization" {
		m := ruleName.FindStringSubmatch(name)
		if m == nil {
			return ""
		}
		if o := v.Get("AuthorizationPolicy", m[1], m[2]); o != nil {
			return line(o, "spec.rules["+m[3]+"]")
		}
		return ""
	}
	for _, o := range v.Of("RequestAuthentication") {
		if a, ok := o.Value.(*securityv1.RequestAuthentication); ok {
			for i, r := range a.Spec.GetJwtRules() {
				if r.GetIssuer() == name {
					return line(o, fmt.Sprintf("spec.jwtRules[%d]", i))
				}
			}
		}
	}
	return ""
}

// surroundings implements explain.Mesh.
type surroundings struct {
	*World
	peers map[netip.Addr]*explain.Peer
	names []named
}

type named struct {
	pod  string
	peer *explain.Peer
}

// Resolve implements explain.Mesh.
func (s *surroundings) Resolve(from *explain.Peer, name string) ([]netip.Addr, error) {
	namespace := "default"
	if n := s.nodes[from.Name]; n != nil {
		namespace = n.pod.Namespace
	}
	return s.clusterDNS(namespace, name)
}

// ServiceAddress implements explain.Mesh. Asking does not turn kube-proxy's wheel.
func (s *surroundings) ServiceAddress(dst netip.AddrPort) (netip.AddrPort, bool, error) {
	before := s.turn.Load()
	defer s.turn.Store(before)
	return s.serviceAddress(nil, dst)
}

// Peer implements explain.Mesh.
func (s *surroundings) Peer(addr netip.Addr) *explain.Peer { return s.peers[addr] }
