package world

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/sim/cluster"
	"github.com/windtunnel-mesh/windtunnel/sim/fabric"
)

const clusterDomain = "cluster.local"

// resolve is the cluster's DNS: the names of Services with the search domains of
// the host that asks, then the names that are published outside. A headless Service has its ready Pods' addresses.
func (w *World) resolve(from fabric.Host, name string) ([]netip.Addr, error) {
	namespace := "default"
	w.nodesMu.RLock()
	n := w.nodes[from.Name()]
	w.nodesMu.RUnlock()
	if n != nil {
		namespace = n.pod.Namespace
	}
	name = strings.TrimSuffix(name, ".")
	for _, search := range []string{"", "." + namespace + ".svc." + clusterDomain, ".svc." + clusterDomain, "." + clusterDomain} {
		if addrs := w.lookup(name+search, maxAliases); len(addrs) > 0 {
			return addrs, nil
		}
	}
	if addrs := w.published(name, maxAliases); len(addrs) > 0 {
		return addrs, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// maxAliases is how many ExternalNames in a row are followed.
const maxAliases = 8

// lookup resolves a fully qualified name, "reviews.default.svc.cluster.local".
func (w *World) lookup(fqdn string, aliases int) []netip.Addr {
	service, ok := strings.CutSuffix(fqdn, ".svc."+clusterDomain)
	name, namespace, dot := strings.Cut(service, ".")
	if !ok || !dot || strings.Contains(namespace, ".") {
		return nil
	}
	if o := w.store.View().Get("Service", namespace, name); o != nil {
		return w.addresses(o, aliases)
	}
	return nil
}

// published resolves a name of the world outside: one that a Service asks to be
// published with the annotation of ExternalDNS. The first Service has it.
func (w *World) published(name string, aliases int) []netip.Addr {
	const annotation = "external-dns.alpha.kubernetes.io/hostname"
	for _, o := range w.store.View().Of("Service") {
		for host := range strings.SplitSeq(o.Value.(*corev1.Service).Annotations[annotation], ",") {
			if strings.EqualFold(strings.TrimSuffix(strings.TrimSpace(host), "."), name) {
				return w.addresses(o, aliases)
			}
		}
	}
	return nil
}

// addresses are a Service's own, those of its ready Pods, or those of the name that it
// is an alias of: DNS serves an ExternalName as a CNAME.
func (w *World) addresses(o *config.Object, aliases int) []netip.Addr {
	if s := o.Value.(*corev1.Service).Spec; s.Type == corev1.ServiceTypeExternalName {
		if aliases == 0 {
			return nil
		}
		name := strings.TrimSuffix(s.ExternalName, ".")
		if addrs := w.lookup(name, aliases-1); len(addrs) > 0 {
			return addrs
		}
		return w.published(name, aliases-1)
	}
	if ip, err := netip.ParseAddr(o.Value.(*corev1.Service).Spec.ClusterIP); err == nil {
		return []netip.Addr{ip}
	}
	var addrs []netip.Addr
	for _, e := range w.readyEndpoints(o.Namespace, o.Name) {
		if ip, err := netip.ParseAddr(e); err == nil {
			addrs = append(addrs, ip)
		}
	}
	return addrs
}

// slice returns the EndpointSlice of a Service, or nil.
func (w *World) slice(namespace, name string) *discoveryv1.EndpointSlice {
	if o := w.store.View().Get("EndpointSlice", namespace, name); o != nil {
		return o.Value.(*discoveryv1.EndpointSlice)
	}
	return nil
}

func (w *World) readyEndpoints(namespace, name string) []string {
	slice := w.slice(namespace, name)
	if slice == nil {
		return nil
	}
	var ready []string
	for _, e := range slice.Endpoints {
		if e.Conditions.Ready != nil && *e.Conditions.Ready {
			ready = append(ready, e.Addresses...)
		}
	}
	return ready
}

// serviceAddress is kube-proxy: it turns a Service's address and port, or the node's and
// a node port, into a ready endpoint's, the next one at each connection.
func (w *World) serviceAddress(_ fabric.Host, dst netip.AddrPort) (netip.AddrPort, bool, error) {
	for _, o := range w.store.View().Of("Service") {
		service := o.Value.(*corev1.Service)
		atNode := dst.Addr() == cluster.NodeAddress
		if !atNode && service.Spec.ClusterIP != dst.Addr().String() {
			continue
		}
		ready := w.readyEndpoints(o.Namespace, o.Name)
		slice := w.slice(o.Namespace, o.Name)
		for _, port := range service.Spec.Ports {
			number := port.Port
			if atNode {
				number = port.NodePort
			}
			if number == 0 || uint16(number) != dst.Port() {
				continue
			}
			target, ok := targetPort(slice, port.Name)
			if len(ready) == 0 || !ok {
				return netip.AddrPort{}, true, fmt.Errorf("service %s/%s has no endpoints", o.Namespace, o.Name)
			}
			ip, err := netip.ParseAddr(ready[w.turn.Add(1)%uint64(len(ready))])
			return netip.AddrPortFrom(ip, target), true, err
		}
		if !atNode {
			return netip.AddrPort{}, true, fmt.Errorf("service %s/%s has no port %d", o.Namespace, o.Name, dst.Port())
		}
	}
	if dst.Addr() == cluster.NodeAddress {
		return netip.AddrPort{}, true, fmt.Errorf("no Service has node port %d", dst.Port())
	}
	return netip.AddrPort{}, false, nil
}

// targetPort is the Pods' port behind a Service's port.
func targetPort(slice *discoveryv1.EndpointSlice, name string) (uint16, bool) {
	if slice == nil {
		return 0, false
	}
	for _, p := range slice.Ports {
		if p.Name != nil && *p.Name == name {
			return uint16(*p.Port), true
		}
	}
	return 0, false
}
