package world

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
)

// Places is what there is in a world, with the addresses by which other programs of
// this machine reach it.
type Places struct {
	Services  []ServicePlace  `json:"services"`
	Workloads []WorkloadPlace `json:"workloads"` // a line for each Pod
}

// ServicePlace is a Service with an address of its own.
type ServicePlace struct {
	Namespace string      `json:"namespace"`
	Name      string      `json:"name"`
	IP        string      `json:"ip"`      // in the world
	Loopback  netip.Addr  `json:"-"`       // that stands for it on this machine
	Gateway   bool        `json:"gateway"` // clients outside come in by it
	Hosts     []string    `json:"hosts"`   // of a gateway: those that Gateways serve there
	Ports     []PortPlace `json:"ports"`
}

// PortPlace is a port, and where it is on this machine.
type PortPlace struct {
	Name    string         `json:"name"`
	Port    uint16         `json:"port"`
	Address netip.AddrPort `json:"address"` // of a Service that nobody has opened here: not valid
	Serves  bool           `json:"serves"`  // of a gateway: a Gateway has a server on it
}

// WorkloadPlace is a Pod.
type WorkloadPlace struct {
	Namespace string         `json:"namespace"`
	Name      string         `json:"name"`
	Pod       string         `json:"pod"`
	IP        string         `json:"ip"`
	Proxy     string         `json:"proxy"` // sidecar, gateway, or none
	Ports     []PortPlace    `json:"ports"` // of its applications
	Admin     netip.AddrPort `json:"admin"` // of its proxy; not valid: it has none
}

// real is a host whose ports have addresses on this machine.
type real interface {
	Real(port uint16) netip.AddrPort
}

// Places lists Services and Pods by namespace and name.
func (w *World) Places(ctx context.Context) (*Places, error) {
	leave, err := w.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	p := &Places{Services: []ServicePlace{}, Workloads: []WorkloadPlace{}}
	for _, o := range w.store.View().Of("Service") {
		s := o.Value.(*corev1.Service)
		if s.Spec.ClusterIP == "" || s.Spec.ClusterIP == corev1.ClusterIPNone {
			continue
		}
		place := ServicePlace{Namespace: o.Namespace, Name: o.Name, IP: s.Spec.ClusterIP, Ports: []PortPlace{}, Hosts: []string{}}
		if f, ok := w.o.Fabric.(interface {
			Mapped(netip.Addr) netip.Addr
		}); ok {
			if ip, err := netip.ParseAddr(place.IP); err == nil {
				place.Loopback = f.Mapped(ip)
			}
		}
		for _, port := range s.Spec.Ports {
			place.Ports = append(place.Ports, PortPlace{Name: port.Name, Port: uint16(port.Port)})
		}
		place.Gateway = s.Spec.Type == corev1.ServiceTypeLoadBalancer
		if place.Gateway {
			w.served(&place)
		}
		p.Services = append(p.Services, place)
	}
	for _, pod := range w.cluster.Pods() {
		if n := w.nodes[pod.Name]; n != nil {
			p.Workloads = append(p.Workloads, placeOf(n))
		}
	}
	slices.SortFunc(p.Services, func(a, b ServicePlace) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	slices.SortFunc(p.Workloads, func(a, b WorkloadPlace) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Pod, b.Pod))
	})
	return p, nil
}

// served fills in what Gateways have on a load balancer.
func (w *World) served(p *ServicePlace) {
	serve := func(host string, port uint32) {
		if _, name, found := strings.Cut(host, "/"); found {
			host = name
		}
		for i := range p.Ports {
			if uint32(p.Ports[i].Port) == port {
				p.Ports[i].Serves = true
				if host = cmp.Or(host, "*"); !slices.Contains(p.Hosts, host) {
					p.Hosts = append(p.Hosts, host)
				}
			}
		}
	}
	var gateways []*networkingpb.Gateway
	if p.Namespace == systemNamespace && p.Name == ingressGateway {
		gateways = w.ingressGateways()
	} else if o := w.store.View().Get("Service", p.Namespace, p.Name); o != nil {
		gateways = w.gatewaysBehind(o.Value.(*corev1.Service))
	}
	for _, g := range gateways {
		for _, s := range g.GetServers() {
			for _, h := range s.GetHosts() {
				serve(h, s.GetPort().GetNumber())
			}
		}
	}
	for _, o := range w.store.View().Of("gateway.networking.k8s.io/Gateway") {
		g, ok := o.Value.(*gatewayv1.Gateway)
		if !ok {
			continue
		}
		service, _ := config.GatewayService(o.Name, g)
		name, rest, _ := strings.Cut(service, ".")
		namespace, _, _ := strings.Cut(cmp.Or(rest, o.Namespace), ".")
		if name != p.Name || namespace != p.Namespace {
			continue
		}
		for _, l := range g.Spec.Listeners {
			host := ""
			if l.Hostname != nil {
				host = string(*l.Hostname)
			}
			serve(host, uint32(l.Port))
		}
	}
}

func placeOf(n *node) WorkloadPlace {
	p := WorkloadPlace{Namespace: n.pod.Namespace, Name: n.workload, Pod: n.pod.Name, IP: n.pod.Status.PodIP, Proxy: "none", Ports: []PortPlace{}}
	host, ok := n.host.(real)
	if !ok {
		return p
	}
	for _, c := range slices.Concat(n.pod.Spec.InitContainers, n.pod.Spec.Containers) {
		switch c.Name {
		case inject.InitContainer:
			continue
		case inject.ProxyContainer:
			p.Admin = host.Real(adminPort)
			if p.Proxy = "sidecar"; isGateway(n.pod) {
				p.Proxy = "gateway"
			}
			continue
		}
		for _, port := range c.Ports {
			p.Ports = append(p.Ports, PortPlace{Name: port.Name, Port: uint16(port.ContainerPort), Address: host.Real(uint16(port.ContainerPort))})
		}
	}
	return p
}

// isGateway tells whether a Pod is a proxy and nothing else.
func isGateway(pod *corev1.Pod) bool {
	return len(pod.Spec.InitContainers) == 0 && len(pod.Spec.Containers) == 1 && pod.Spec.Containers[0].Name == inject.ProxyContainer
}

// adminPort is that of adminAddress.
const adminPort = 15000

// Admin asks a Pod's proxy on its admin port.
func (w *World) Admin(ctx context.Context, pod, path string) ([]byte, error) {
	leave, err := w.enter(ctx)
	if err != nil {
		return nil, err
	}
	n := w.nodes[pod]
	leave()
	switch {
	case n == nil:
		return nil, fmt.Errorf("there is no Pod %q", pod)
	case n.daemon == nil || isMeshd(n.pod):
		return nil, fmt.Errorf("%s has no proxy", pod)
	}
	return adminClient(n.host.Network(appUser, appUser))(ctx, path)
}

// Question is what explain has to be asked about an exchange that a proxy saw, as the client
// connected: local is the address that the proxy took the connection for.
func (w *World) Question(ctx context.Context, pod string, inbound bool, local netip.AddrPort) (from, authority string, err error) {
	leave, err := w.enter(ctx)
	if err != nil {
		return "", "", err
	}
	defer leave()
	n := w.nodes[pod]
	switch {
	case n == nil:
		return "", "", fmt.Errorf("pod %s is gone", pod)
	case !local.IsValid():
		return "", "", errors.New("nobody knows where the client connected to")
	case inbound:
		return fromOutside, local.String(), nil
	case placeOf(n).Proxy != "gateway":
		return pod, local.String(), nil
	}
	// Clients of a gateway connect to its Service.
	for _, o := range w.store.View().Of("Service") {
		list := w.slicesOf(o.Namespace, o.Name)
		s := o.Value.(*corev1.Service)
		if o.Namespace != n.pod.Namespace || len(list) == 0 || s.Spec.ClusterIP == corev1.ClusterIPNone || !slices.Contains(w.readyEndpoints(o.Namespace, o.Name), n.pod.Status.PodIP) {
			continue
		}
		for _, p := range s.Spec.Ports {
			if target, ok := targetPort(list, p.Name); ok && target == local.Port() {
				return fromOutside, net.JoinHostPort(s.Spec.ClusterIP, fmt.Sprint(p.Port)), nil
			}
		}
	}
	return fromOutside, local.String(), nil
}

// Object is an object as it was applied; nil: there is none.
func (w *World) Object(ctx context.Context, k config.Key) (*config.Object, error) {
	leave, err := w.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return w.cluster.Object(k), nil
}

// Remove takes objects away, those that are not there (any more) apart.
func (w *World) Remove(ctx context.Context, keys []config.Key) error {
	leave, err := w.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	keys = slices.DeleteFunc(slices.Clone(keys), func(k config.Key) bool { return w.cluster.Object(k) == nil })
	return w.remove(ctx, keys)
}
