package world

import (
	"cmp"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/sim/cluster"
	"github.com/windtunnel-mesh/windtunnel/sim/fabric"
)

const clusterDomain = "cluster.local"

// resolve is what a process finds: by its sidecar, where capture rules lead its queries
// there, else by the cluster's DNS.
func (w *World) resolve(from fabric.Process, name string) ([]netip.Addr, error) {
	w.nodesMu.RLock()
	n := w.nodes[from.Host.Name()]
	w.nodesMu.RUnlock()
	namespace := "default"
	if n != nil {
		namespace = n.pod.Namespace
	}
	if n != nil && n.proxy != nil && from.Capture != nil && asksProxy(from.Capture, from.UID, from.GID) {
		table := n.proxy.Names()
		if table == nil {
			return nil, &net.DNSError{Err: "server failure: the sidecar has no names yet", Name: name, IsTemporary: true}
		}
		if addrs := table.Resolve(name); len(addrs) > 0 {
			return addrs, nil
		}
	}
	return w.clusterDNS(namespace, name)
}

// nameServer is the one that Pods have in their resolv.conf.
const nameServer = "10.96.0.10"

// resolvConf is the file that kubelet writes for the Pods of a namespace.
func resolvConf(namespace string) []byte {
	return []byte("search " + namespace + ".svc." + clusterDomain + " svc." + clusterDomain + " " + clusterDomain + "\n" +
		"nameserver " + nameServer + "\noptions ndots:5\n")
}

// asksProxy tells whether a user's queries to the cluster's DNS are redirected.
func asksProxy(rules fabric.Capture, uid, gid int) bool {
	query := capture.Packet{UDP: true, UID: uid, GID: gid, Destination: netip.AddrPortFrom(netip.MustParseAddr(nameServer), 53)}
	return rules.Output(query).Redirect == capture.DNSPort
}

// clusterDNS is the cluster's DNS: the names of Services with the search domains of
// the host that asks, then the names that are published outside. A headless Service has its ready Pods' addresses,
// and Pods with a hostname and a subdomain have names of their own.
func (w *World) clusterDNS(namespace, name string) ([]netip.Addr, error) {
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

// lookup resolves a fully qualified name: a Service's, "reviews.default.svc.cluster.local", or
// that of one of its Pods, "db-0.db.default.svc.cluster.local".
func (w *World) lookup(fqdn string, aliases int) []netip.Addr {
	name, ok := strings.CutSuffix(fqdn, ".svc."+clusterDomain)
	labels := strings.Split(name, ".")
	if !ok || len(labels) < 2 || len(labels) > 3 {
		return nil
	}
	service, namespace := labels[len(labels)-2], labels[len(labels)-1]
	o := w.store.View().Get("Service", namespace, service)
	switch {
	case o == nil:
		return nil
	case len(labels) == 3:
		return w.podAddresses(namespace, service, labels[0])
	}
	return w.addresses(o, aliases)
}

// podAddresses are those of a Service's ready endpoints with a hostname. As in CoreDNS one
// without a hostname goes by its address, "10-244-0-7", and a Service need not be headless.
func (w *World) podAddresses(namespace, service, hostname string) []netip.Addr {
	var addrs []netip.Addr
	for e := range w.ready(namespace, service) {
		for _, a := range e.Addresses {
			ip, err := netip.ParseAddr(a)
			if err == nil && hostname == cmp.Or(deref(e.Hostname), strings.ReplaceAll(a, ".", "-")) {
				addrs = append(addrs, ip)
			}
		}
	}
	return addrs
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
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

// slicesOf are the EndpointSlices of a Service: the one that the cluster makes, or those
// that somebody wrote for a Service without a selector.
func (w *World) slicesOf(namespace, name string) []*discoveryv1.EndpointSlice {
	var list []*discoveryv1.EndpointSlice
	for _, o := range w.store.View().Of("EndpointSlice") {
		if s := o.Value.(*discoveryv1.EndpointSlice); o.Namespace == namespace && s.Labels[discoveryv1.LabelServiceName] == name {
			list = append(list, s)
		}
	}
	return list
}

// ready are the endpoints of a Service that are ready; one that does not say is.
func (w *World) ready(namespace, name string) iter.Seq[discoveryv1.Endpoint] {
	return func(yield func(discoveryv1.Endpoint) bool) {
		for _, slice := range w.slicesOf(namespace, name) {
			for _, e := range slice.Endpoints {
				if (e.Conditions.Ready == nil || *e.Conditions.Ready) && !yield(e) {
					return
				}
			}
		}
	}
}

func (w *World) readyEndpoints(namespace, name string) []string {
	var list []string
	for e := range w.ready(namespace, name) {
		list = append(list, e.Addresses...)
	}
	return list
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
		list := w.slicesOf(o.Namespace, o.Name)
		for _, port := range service.Spec.Ports {
			number := port.Port
			if atNode {
				number = port.NodePort
			}
			if number == 0 || uint16(number) != dst.Port() {
				continue
			}
			target, ok := targetPort(list, port.Name)
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
func targetPort(list []*discoveryv1.EndpointSlice, name string) (uint16, bool) {
	for _, slice := range list {
		for _, p := range slice.Ports {
			if deref(p.Name) == name && p.Port != nil {
				return uint16(*p.Port), true
			}
		}
	}
	return 0, false
}
