package live

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
	"github.com/windtunnel-mesh/windtunnel/mesh/explain"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/dump"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

var _ run.Explainer = (*World)(nil)

// appUser is the user of an application whose container does not say.
const appUser = 1000

// Explain implements run.Explainer by what the proxies say that they run: their
// config_dump, and by the cluster's Services.
func (w *World) Explain(ctx context.Context, q *spec.Explain) (map[string]any, error) {
	v := &surroundings{world: w, ctx: ctx, peers: make(map[netip.Addr]*explain.Peer), places: make(map[*explain.Peer]*pod)}
	if err := v.load(ctx); err != nil {
		return nil, err
	}
	o := explain.Options{Mesh: v, Request: explain.Request{From: q.From, Method: q.Method, URL: w.names.url(q.URL), Headers: make(map[string]string)},
		PolicySource: v.policySource}
	for name, value := range q.Headers {
		if strings.EqualFold(name, "host") {
			value = w.names.host(value)
		}
		o.Request.Headers[name] = value
	}
	switch q.From {
	case fromIngress, fromOutside:
		o.Client = &explain.Peer{Name: q.From, Addr: netip.MustParseAddr("192.0.2.1")} // RFC 5737: nobody's
		if q.From == fromIngress {
			host, port, err := hostPort(o.Request.URL)
			if err != nil {
				return nil, err
			}
			at, err := w.ingress(ctx, host, port)
			if err != nil {
				return nil, err
			}
			addrs, err := v.lookup(at.name, at.namespace)
			if err != nil {
				return nil, err
			}
			o.Entry = addrs[0]
		}
	default:
		pods, err := w.podsOf(q.From)
		if err != nil {
			return nil, err
		}
		if o.Client, err = v.peer(pods[0]); err != nil {
			return nil, err
		}
	}
	way, err := explain.Explain(o)
	if err = cmp.Or(v.err, err); err != nil {
		return nil, err
	}
	text, err := json.Marshal(way)
	if err != nil {
		return nil, err
	}
	var object map[string]any
	if err := json.Unmarshal([]byte(w.names.scenario(string(text))), &object); err != nil {
		return nil, err
	}
	sources := &sources{world: w, ctx: ctx, read: make(map[string]*placed)}
	sources.rewrite(object)
	return object, nil
}

// surroundings implements explain.Mesh.
type surroundings struct {
	world    *World
	ctx      context.Context
	services []corev1.Service
	slices   []discoveryv1.EndpointSlice
	peers    map[netip.Addr]*explain.Peer
	places   map[*explain.Peer]*pod
	err      error // of the first Peer that could not be asked
}

func (v *surroundings) load(ctx context.Context) error {
	services, err := v.world.client.List(ctx, kube.Resource("v1", "Service"), "", "")
	if err != nil {
		return err
	}
	for i := range services {
		var s corev1.Service
		if err := kube.Into(&services[i], &s); err != nil {
			return err
		}
		v.services = append(v.services, s)
	}
	list, err := v.world.client.List(ctx, kube.Resource("discovery.k8s.io/v1", "EndpointSlice"), "", "")
	if err != nil {
		return err
	}
	for i := range list {
		var s discoveryv1.EndpointSlice
		if err := kube.Into(&list[i], &s); err != nil {
			return err
		}
		v.slices = append(v.slices, s)
	}
	return nil
}

// Resolve implements explain.Mesh as the cluster's DNS does.
func (v *surroundings) Resolve(from *explain.Peer, name string) ([]netip.Addr, error) {
	namespace := v.world.names.namespace("")
	if p := v.places[from]; p != nil {
		namespace = p.Namespace
	}
	for _, search := range []string{"", "." + namespace + ".svc.cluster.local", ".svc.cluster.local", ".cluster.local"} {
		full, ok := strings.CutSuffix(strings.TrimSuffix(name, ".")+search, ".svc.cluster.local")
		labels := strings.Split(full, ".")
		var addrs []netip.Addr
		switch {
		case ok && len(labels) == 2:
			addrs, _ = v.lookup(labels[0], labels[1]) // the next one may be there
		case ok && len(labels) == 3:
			addrs = v.lookupPod(labels[0], labels[1], labels[2])
		}
		if len(addrs) > 0 {
			return addrs, nil
		}
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// lookupPod are the addresses of a Service's ready endpoints with a hostname; as in CoreDNS one
// without a hostname goes by its address, "10-244-0-7".
func (v *surroundings) lookupPod(hostname, service, namespace string) []netip.Addr {
	var addrs []netip.Addr
	for _, slice := range v.slices {
		if slice.Namespace != namespace || slice.Labels[discoveryv1.LabelServiceName] != service {
			continue
		}
		for _, e := range slice.Endpoints {
			for _, a := range e.Addresses {
				name := strings.ReplaceAll(a, ".", "-")
				if e.Hostname != nil && *e.Hostname != "" {
					name = *e.Hostname
				}
				addr, err := netip.ParseAddr(a)
				if err == nil && name == hostname && (e.Conditions.Ready == nil || *e.Conditions.Ready) {
					addrs = append(addrs, addr)
				}
			}
		}
	}
	return addrs
}

func (v *surroundings) lookup(name, namespace string) ([]netip.Addr, error) {
	var texts []string
	for _, s := range v.services {
		if s.Name != name || s.Namespace != namespace {
			continue
		}
		if texts = []string{s.Spec.ClusterIP}; s.Spec.ClusterIP == corev1.ClusterIPNone {
			texts, _ = v.ready(&s, "")
		}
	}
	var addrs []netip.Addr
	for _, text := range texts {
		if addr, err := netip.ParseAddr(text); err == nil {
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: name + "." + namespace, IsNotFound: true}
	}
	return addrs, nil
}

// ready are the addresses of a Service's ready endpoints, and the number of a port there.
func (v *surroundings) ready(s *corev1.Service, port string) (addresses []string, number uint16) {
	for _, e := range v.slices {
		if e.Namespace != s.Namespace || e.Labels[discoveryv1.LabelServiceName] != s.Name {
			continue
		}
		for _, p := range e.Ports {
			if p.Name != nil && *p.Name == port && p.Port != nil {
				number = uint16(*p.Port)
			}
		}
		for _, endpoint := range e.Endpoints {
			if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
				addresses = append(addresses, endpoint.Addresses...)
			}
		}
	}
	slices.Sort(addresses)
	return addresses, number
}

// ServiceAddress implements explain.Mesh as kube-proxy does; of several endpoints it is
// the first.
func (v *surroundings) ServiceAddress(dst netip.AddrPort) (netip.AddrPort, bool, error) {
	for _, s := range v.services {
		if s.Spec.ClusterIP != dst.Addr().String() {
			continue
		}
		for _, p := range s.Spec.Ports {
			if uint16(p.Port) != dst.Port() {
				continue
			}
			ready, number := v.ready(&s, p.Name)
			if len(ready) == 0 || number == 0 {
				return netip.AddrPort{}, true, fmt.Errorf("service %s/%s has no endpoints", s.Namespace, s.Name)
			}
			addr, err := netip.ParseAddr(ready[0])
			return netip.AddrPortFrom(addr, number), true, err
		}
		return netip.AddrPort{}, true, fmt.Errorf("service %s/%s has no port %d", s.Namespace, s.Name, dst.Port())
	}
	return netip.AddrPort{}, false, nil
}

// Peer implements explain.Mesh. A Pod is asked when a way leads there.
func (v *surroundings) Peer(addr netip.Addr) *explain.Peer {
	for _, p := range v.world.pods() {
		if p.Status.PodIP != addr.String() {
			continue
		}
		peer, err := v.peer(p)
		if err != nil {
			v.err = cmp.Or(v.err, err)
			return nil
		}
		return peer
	}
	return nil
}

// peer is a Pod as an end of connections.
func (v *surroundings) peer(p *pod) (*explain.Peer, error) {
	addr, err := netip.ParseAddr(p.Status.PodIP)
	if err != nil {
		return nil, fmt.Errorf("the Pod %s has no address yet", p.Name)
	}
	if known := v.peers[addr]; known != nil {
		return known, nil
	}
	peer := &explain.Peer{Name: p.Name, Workload: p.workload, Addr: addr, UID: appUser,
		Identity: "spiffe://" + v.world.trustDomain + "/ns/" + p.Namespace + "/sa/" + p.Spec.ServiceAccountName}
	answersDNS := false
	for _, c := range p.Spec.InitContainers {
		if c.Name != inject.InitContainer || len(c.Args) == 0 {
			continue
		}
		o, err := capture.ParseArgs(c.Args[1:]) // the first word names the program's part
		if err == nil {
			answersDNS = o.RedirectDNS
			peer.Capture, err = capture.New(o)
		}
		if err != nil {
			return nil, fmt.Errorf("the init container of %s: %w", p.Name, err)
		}
	}
	for _, c := range p.Spec.Containers {
		if s := c.SecurityContext; c.Name != inject.ProxyContainer && s != nil && s.RunAsUser != nil {
			peer.UID = int(*s.RunAsUser)
		}
	}
	v.peers[addr], v.places[peer] = peer, p
	if proxied, _ := p.proxied(); !proxied {
		return peer, nil
	}
	peer.Gateway = peer.Capture == nil
	if peer.Snapshot, err = v.world.snapshotOf(v.ctx, p); err != nil {
		return nil, err
	}
	var found hosts
	if err := v.world.admin(v.ctx, p, "/clusters?format=json", func(body []byte) error { return json.Unmarshal(body, &found) }); err != nil {
		return nil, err
	}
	peer.IsEjected = found.ejected
	if answersDNS {
		peer.Names, err = v.namesOf(p)
	}
	return peer, err
}

// snapshotOf is what a Pod's proxy runs, compiled as the proxy itself does.
func (w *World) snapshotOf(ctx context.Context, p *pod) (*snapshot.Proxy, error) {
	var s *snapshot.Proxy
	err := w.admin(ctx, p, "/config_dump", func(body []byte) error {
		d, err := dump.Read(body)
		if err != nil {
			return err
		}
		set, err := d.Resources()
		if err != nil {
			return err
		}
		c := compile.NewCompiler()
		c.ReadFile = func(string) ([]byte, error) { return nil, nil } // the proxy has read them
		s, err = c.Compile(set)
		return err
	})
	return s, err
}

// adminLimit is how long a proxy may take to tell what it has.
const adminLimit = 10 * time.Second

// admin asks the admin port of a Pod's proxy.
func (w *World) admin(ctx context.Context, p *pod, path string, read func([]byte) error) error {
	if w.stopped("~" + p.Name + ".") {
		return fmt.Errorf("the Pod %s is paused, and cannot be asked", p.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, adminLimit)
	defer cancel()
	address, err := w.forward(p, inject.AdminPort)
	if err != nil {
		return err
	}
	body, err := kube.HTTPGet(ctx, address, path)
	if err != nil {
		w.forget(p, inject.AdminPort)
		return err
	}
	if err := read(body); err != nil {
		return fmt.Errorf("%s of the proxy of %s: %w", path, p.Name, err)
	}
	return nil
}
