package cluster

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// publish brings the store up to date in one step: what was applied, Services with
// their addresses, Pods, and an EndpointSlice per Service.
func (c *Cluster) publish() {
	want := make(map[config.Key]*config.Object)
	for _, k := range slices.SortedFunc(maps.Keys(c.objects), compareKeys) {
		if k.Kind == "Pod" {
			continue // the running one comes below
		}
		want[k] = c.objects[k]
		if k.Kind == "Service" && k.Group == "" {
			service := c.addressed(c.objects[k])
			want[k] = service
			if slice := c.endpoints(service.Value.(*corev1.Service)); slice != nil {
				want[slice.Key()] = slice
			}
		}
	}
	for _, p := range c.pods {
		o := derived("Pod", "", "v1", p.Namespace, p.Name, p.withCondition())
		want[o.Key()] = o
	}
	var remove []config.Key
	for k := range c.derived {
		if want[k] == nil {
			remove = append(remove, k)
		}
	}
	slices.SortFunc(remove, compareKeys)
	apply := make([]*config.Object, 0, len(want))
	for _, k := range slices.SortedFunc(maps.Keys(want), compareKeys) {
		apply = append(apply, want[k])
	}
	c.o.Store.Update(apply, remove)
	c.derived = make(map[config.Key]bool, len(want))
	for k := range want {
		c.derived[k] = true
	}
}

func derived(kind, group, version, namespace, name string, value any) *config.Object {
	return &config.Object{Kind: kind, Group: group, Version: version, Namespace: namespace, Name: name, Value: value}
}

// addressed returns the Service with a cluster IP.
func (c *Cluster) addressed(o *config.Object) *config.Object {
	service := o.Value.(*corev1.Service)
	if service.Spec.ClusterIP == corev1.ClusterIPNone || service.Spec.Type == corev1.ServiceTypeExternalName {
		return o
	}
	key := o.Namespace + "/" + o.Name
	ip, ok := c.vips[key]
	if !ok {
		ip = address(serviceBlock, c.nextVIP)
		c.nextVIP++
		c.vips[key] = ip
	}
	service = service.DeepCopy()
	service.Spec.ClusterIP = ip.String()
	service.Spec.ClusterIPs = []string{ip.String()}
	copied := *o
	copied.Value = service
	return &copied
}

// endpoints makes the EndpointSlice of a Service with a selector. A Pod whose subdomain is the
// Service has its hostname there, by which DNS knows it.
func (c *Cluster) endpoints(s *corev1.Service) *config.Object {
	if len(s.Spec.Selector) == 0 {
		return nil
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: s.Name, Namespace: s.Namespace,
			Labels: map[string]string{discoveryv1.LabelServiceName: s.Name}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, port := range s.Spec.Ports {
		name, protocol := port.Name, port.Protocol
		number, ok := c.targetPort(s, port)
		if !ok {
			continue
		}
		if protocol == "" {
			protocol = corev1.ProtocolTCP
		}
		slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{Name: &name, Protocol: &protocol, Port: &number, AppProtocol: port.AppProtocol})
	}
	for _, p := range c.pods {
		if p.Namespace != s.Namespace || !selects(s.Spec.Selector, p.Labels) {
			continue
		}
		ready, serving := p.ready || s.Spec.PublishNotReadyAddresses, p.ready
		e := discoveryv1.Endpoint{
			Addresses:  []string{p.Status.PodIP},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: p.Namespace, Name: p.Name},
		}
		if p.Spec.NodeName != "" {
			e.NodeName = &p.Spec.NodeName
		}
		if p.Spec.Hostname != "" && p.Spec.Subdomain == s.Name {
			e.Hostname = &p.Spec.Hostname
		}
		slice.Endpoints = append(slice.Endpoints, e)
	}
	return derived("EndpointSlice", "discovery.k8s.io", "v1", s.Namespace, s.Name, slice)
}

// targetPort resolves a Service port to a Pod's, by number or by a container port's name.
func (c *Cluster) targetPort(s *corev1.Service, port corev1.ServicePort) (int32, bool) {
	if port.TargetPort.Type == intstr.Int {
		if port.TargetPort.IntVal != 0 {
			return port.TargetPort.IntVal, true
		}
		return port.Port, true
	}
	for _, p := range c.pods {
		if p.Namespace != s.Namespace || !selects(s.Spec.Selector, p.Labels) {
			continue
		}
		for _, container := range p.Spec.Containers {
			for _, cp := range container.Ports {
				if cp.Name == port.TargetPort.StrVal {
					return cp.ContainerPort, true
				}
			}
		}
	}
	return 0, false
}

func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}

// withCondition is the Pod as the API server shows it.
func (p *Pod) withCondition() *corev1.Pod {
	status := corev1.ConditionFalse
	if p.ready {
		status = corev1.ConditionTrue
	}
	pod := p.Pod.DeepCopy()
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}
	return pod
}
