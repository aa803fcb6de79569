package build

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// services reads Kubernetes Services with their endpoints.
func (b *builder) services() {
	slicesOf := map[string][]*discoveryv1.EndpointSlice{}
	for _, o := range b.view.Of("EndpointSlice") {
		if s, ok := o.Value.(*discoveryv1.EndpointSlice); ok {
			key := o.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName]
			slicesOf[key] = append(slicesOf[key], s)
		}
	}
	for _, o := range b.view.Of("Service") {
		s, ok := o.Value.(*corev1.Service)
		if !ok {
			continue
		}
		b.unsupportedService(o, s)
		service := b.service(o, s)
		b.nearness(o, s, service)
		service.Endpoints = b.endpointsOf(o, s, slicesOf[o.Namespace+"/"+o.Name])
		b.addService(service)
	}
}

func (b *builder) addService(s *model.Service) {
	b.parts.Services = append(b.parts.Services, s)
	b.visible[s.Host] = append(b.visible[s.Host], s)
}

func (b *builder) service(o *config.Object, s *corev1.Service) *model.Service {
	m := &model.Service{
		Host: o.Name + "." + o.Namespace + ".svc." + b.options.ClusterDomain,
		Name: o.Name, Namespace: o.Namespace,
		Headless:   s.Spec.ClusterIP == corev1.ClusterIPNone,
		Kubernetes: true,
		Selector:   s.Spec.Selector,
		Export: visibility(splitList(s.Annotations["networking.istio.io/exportTo"]),
			b.options.MeshConfig.GetDefaultServiceExportTo(), o.Namespace),
		Created: o.Created,
		Source:  sourceAt(o, ""),
	}
	if !m.Headless {
		m.Addresses = clusterIPs(s)
	}
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		m.External, m.Resolution, m.Addresses = true, model.ByDNS, nil
	}
	for _, p := range s.Spec.Ports {
		protocol := kubernetesProtocol(p)
		if protocol == model.UDP {
			continue
		}
		m.Ports = append(m.Ports, &model.Port{
			Number: uint32(p.Port), Target: b.targetPort(s, p, nil), Name: p.Name, Protocol: protocol,
		})
	}
	return m
}

// unsupportedService warns of the settings that sidecars do not follow.
func (b *builder) unsupportedService(o *config.Object, s *corev1.Service) {
	if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		b.report(o, config.Warning, config.CodeIgnoredFields, "spec.sessionAffinity", "sessionAffinity ClientIP has no effect: sidecars do not follow it",
			"a DestinationRule with loadBalancer: {consistentHash: {useSourceIp: true}} does the same")
	}
	if s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
		b.report(o, config.Warning, config.CodeIgnoredFields, "spec.externalTrafficPolicy", "externalTrafficPolicy Local has no effect here: nobody comes in through a node", "")
	}
}

func splitList(s string) []string {
	var list []string
	for f := range strings.SplitSeq(s, ",") {
		if f = strings.TrimSpace(f); f != "" {
			list = append(list, f)
		}
	}
	return list
}

func clusterIPs(s *corev1.Service) []string {
	if len(s.Spec.ClusterIPs) > 0 {
		return slices.Clone(s.Spec.ClusterIPs)
	}
	if s.Spec.ClusterIP != "" {
		return []string{s.Spec.ClusterIP}
	}
	return nil
}

// targetPort resolves a Service port at one workload, or at the first that the Service selects.
func (b *builder) targetPort(s *corev1.Service, p corev1.ServicePort, at *workload) uint32 {
	if p.TargetPort.Type == intstr.Int {
		return uint32(cmp.Or(p.TargetPort.IntVal, p.Port))
	}
	candidates := []*workload{at}
	if at == nil {
		candidates = nil
		if len(s.Spec.Selector) > 0 {
			candidates = b.selected(s.Namespace, s.Spec.Selector)
		}
	}
	for _, w := range candidates {
		if w.pod == nil {
			continue
		}
		for _, c := range w.pod.Spec.Containers {
			for _, cp := range c.Ports {
				if cp.Name == p.TargetPort.StrVal {
					return uint32(cp.ContainerPort)
				}
			}
		}
	}
	return 0
}

// endpointsOf prefers EndpointSlices, then Endpoints of the same name, then the
// Pods that the Service selects: files on a disk have no endpoint controller.
func (b *builder) endpointsOf(o *config.Object, s *corev1.Service, list []*discoveryv1.EndpointSlice) *model.Endpoints {
	byPort := map[uint32][]*model.Endpoint{}
	switch legacy := b.view.Get("Endpoints", o.Namespace, o.Name); {
	case s.Spec.Type == corev1.ServiceTypeExternalName:
		for _, p := range s.Spec.Ports {
			byPort[uint32(p.Port)] = []*model.Endpoint{endpoint(s.Spec.ExternalName, uint32(p.Port), nil)}
		}
	case len(list) > 0:
		for _, slice := range list {
			b.addSlice(byPort, s, slice)
		}
	case legacy != nil:
		//lint:ignore SA1019 deprecated, and still written
		b.addLegacy(byPort, s, legacy.Value.(*corev1.Endpoints))
	case len(s.Spec.Selector) > 0:
		b.addPods(byPort, s)
	}
	return collect(byPort)
}

func (b *builder) addSlice(byPort map[uint32][]*model.Endpoint, s *corev1.Service, slice *discoveryv1.EndpointSlice) {
	if slice.AddressType == discoveryv1.AddressTypeFQDN {
		return // refused by unsupportedValues
	}
	for _, p := range s.Spec.Ports {
		for _, sp := range slice.Ports {
			if sp.Port == nil || deref(sp.Name) != p.Name {
				continue
			}
			for _, e := range slice.Endpoints {
				for _, address := range e.Addresses {
					m := endpoint(address, uint32(*sp.Port), b.workloadOf(slice.Namespace, e.TargetRef, address))
					m.Health, m.Hostname = health(e.Conditions), deref(e.Hostname)
					if e.Zone != nil && m.Locality == (model.Locality{}) {
						m.Locality.Zone = *e.Zone
					}
					byPort[uint32(p.Port)] = append(byPort[uint32(p.Port)], m)
				}
			}
		}
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// health of an endpoint: one without conditions is ready. A terminating one that
// still serves is draining.
func health(c discoveryv1.EndpointConditions) model.Health {
	switch {
	case c.Ready == nil || *c.Ready:
		return model.Healthy
	case c.Terminating != nil && *c.Terminating && c.Serving != nil && *c.Serving:
		return model.Draining
	default:
		return model.Unhealthy
	}
}

func (b *builder) workloadOf(namespace string, ref *corev1.ObjectReference, address string) *workload {
	if ref != nil && ref.Kind == "Pod" {
		if w := b.pods.byName[cmp.Or(ref.Namespace, namespace)+"/"+ref.Name]; w != nil {
			return w
		}
	}
	return b.pods.byAddress[address]
}

//lint:ignore SA1019 deprecated, and still written
func (b *builder) addLegacy(byPort map[uint32][]*model.Endpoint, s *corev1.Service, legacy *corev1.Endpoints) {
	for _, p := range s.Spec.Ports {
		for _, set := range legacy.Subsets {
			for _, sp := range set.Ports {
				if sp.Name != p.Name {
					continue
				}
				for _, a := range set.Addresses {
					byPort[uint32(p.Port)] = append(byPort[uint32(p.Port)],
						endpoint(a.IP, uint32(sp.Port), b.workloadOf(legacy.Namespace, a.TargetRef, a.IP)))
				}
				for _, a := range set.NotReadyAddresses {
					e := endpoint(a.IP, uint32(sp.Port), b.workloadOf(legacy.Namespace, a.TargetRef, a.IP))
					e.Health = model.Unhealthy
					byPort[uint32(p.Port)] = append(byPort[uint32(p.Port)], e)
				}
			}
		}
	}
}

func (b *builder) addPods(byPort map[uint32][]*model.Endpoint, s *corev1.Service) {
	for _, w := range b.selected(s.Namespace, s.Spec.Selector) {
		if w.pod == nil || w.Address == "" {
			continue
		}
		for _, p := range s.Spec.Ports {
			port := b.targetPort(s, p, w)
			if port == 0 {
				continue
			}
			e := endpoint(w.Address, port, w)
			if !w.ready && !s.Spec.PublishNotReadyAddresses {
				e.Health = model.Unhealthy
			}
			byPort[uint32(p.Port)] = append(byPort[uint32(p.Port)], e)
		}
	}
}
