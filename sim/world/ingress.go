package world

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"

	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/build"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// loadBalancer is a Service that clients outside can reach for a host.
type loadBalancer struct {
	namespace, name string
	rank            int // how exactly a server names the host
}

// ingressAddress is where a client outside finds a host and port, as if the hosts of
// all Gateways were published in DNS: at the load balancer with the server that names
// the host most exactly. Where several do, and where none does, it is the ingress
// gateway; of others those that people deployed for Istio's Gateways, by name, and then
// that of the oldest Gateway of the Gateway API.
func (w *World) ingressAddress(addr string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port %q: %w", port, err)
	}
	best := loadBalancer{namespace: systemNamespace, name: ingressGateway, rank: w.ingressRank(host, uint32(number))}
	for _, l := range w.ownBalancers(host, uint32(number)) {
		if l.rank > best.rank {
			best = l
		}
	}
	gateways := slices.SortedStableFunc(slices.Values(w.store.View().Of("gateway.networking.k8s.io/Gateway")),
		func(a, b *config.Object) int { return a.Created.Compare(b.Created) })
	for _, o := range gateways {
		if l := w.balancerOf(o, host, uint32(number)); l.rank > best.rank {
			best = l
		}
	}
	// The store's view, because clients connect while others change the cluster.
	o := w.store.View().Get("Service", best.namespace, best.name)
	if o == nil {
		return netip.AddrPort{}, fmt.Errorf("there is no Service %s/%s", best.namespace, best.name)
	}
	ip, err := netip.ParseAddr(o.Value.(*corev1.Service).Spec.ClusterIP)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address of Service %s/%s: %w", best.namespace, best.name, err)
	}
	return netip.AddrPortFrom(ip, uint16(number)), nil
}

// ingressRank looks at the servers of Istio's Gateways on the ingress gateway.
func (w *World) ingressRank(host string, port uint32) int {
	rank := 0
	for _, g := range w.ingressGateways() {
		rank = max(rank, config.ServerRank(g, host, port))
	}
	return rank
}

// ingressGateways are the Gateways on the ingress gateway, with those that Ingresses become.
func (w *World) ingressGateways() []*networkingpb.Gateway {
	view := w.store.View()
	list := build.IngressGateways(view, w.mesh)
	for _, o := range view.Of("Gateway") {
		if g, ok := o.Value.(*networkingv1.Gateway); ok {
			list = append(list, &g.Spec)
		}
	}
	return slices.DeleteFunc(list, func(g *networkingpb.Gateway) bool { return !w.selectsIngress(g.GetSelector()) })
}

func (w *World) selectsIngress(selector map[string]string) bool {
	for _, o := range w.store.View().Of("Pod") {
		p := o.Value.(*corev1.Pod)
		if workloadOf(p) != ingressGateway || p.Namespace != systemNamespace {
			continue
		}
		for k, v := range selector {
			if p.Labels[k] != v {
				return false
			}
		}
		return true
	}
	return false
}

// balancerOf is the Service in front of a Gateway of the Gateway API, if clients
// outside can reach it and one of its listeners has the port and the host.
func (w *World) balancerOf(o *config.Object, host string, port uint32) loadBalancer {
	g, ok := o.Value.(*gatewayv1.Gateway)
	if !ok {
		return loadBalancer{}
	}
	var l loadBalancer
	l.namespace, l.name, _ = config.GatewayServiceIn(o.Namespace, o.Name, g)
	s := w.store.View().Get("Service", l.namespace, l.name)
	if s == nil || s.Value.(*corev1.Service).Spec.Type == corev1.ServiceTypeClusterIP {
		return loadBalancer{}
	}
	l.rank = config.ListenerRank(g, host, port)
	return l
}

// ingressOf is the load balancer of a URL's host.
func (w *World) ingressOf(rawURL string) (netip.Addr, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return netip.Addr{}, err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443"}[u.Scheme]
	}
	if port == "" {
		port = "80"
	}
	entry, err := w.ingressAddress(net.JoinHostPort(u.Hostname(), port))
	return entry.Addr(), err
}
