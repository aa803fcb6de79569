package config

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
)

func validateService(c *checker) {
	s := c.o.Value.(*corev1.Service)
	c.labels("spec.selector", s.Spec.Selector)
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		if s.Spec.ExternalName == "" {
			c.errorf(CodeMissing, "spec", "", "type ExternalName needs externalName")
		} else {
			c.host("spec.externalName", s.Spec.ExternalName, false)
		}
	} else if len(s.Spec.Ports) == 0 && s.Spec.ClusterIP != corev1.ClusterIPNone {
		c.errorf(CodeMissing, "spec", "", "ports is required")
	}
	if ip := s.Spec.ClusterIP; ip != "" && ip != corev1.ClusterIPNone {
		if _, err := netip.ParseAddr(ip); err != nil {
			c.errorf(CodeAddress, "spec.clusterIP", "", "%q is not an IP address; expected one, or None", clip(ip))
		}
	}
	type key struct {
		protocol corev1.Protocol
		port     int32
	}
	names, ports := make(map[string]bool), make(map[key]bool)
	for i, p := range s.Spec.Ports {
		at := index("spec.ports", i)
		c.containerPort(join(at, "port"), p.Port)
		if p.NodePort != 0 {
			c.containerPort(join(at, "nodePort"), p.NodePort)
		}
		if c.o.Has(join(at, "targetPort")) { // it is the port itself by default
			c.targetPort(join(at, "targetPort"), p.TargetPort)
		}
		switch {
		case p.Name != "":
			c.named(join(at, "name"), p.Name, validation.IsDNS1123Label)
		case len(s.Spec.Ports) > 1:
			c.errorf(CodeRequired, at, "", "where a Service has several ports, each needs a name")
		}
		if p.Name != "" && names[p.Name] {
			c.errorf(CodeRepeated, join(at, "name"), "", "port %q stands twice", p.Name)
		}
		if ports[key{p.Protocol, p.Port}] {
			c.errorf(CodeRepeated, join(at, "port"), "", "port %d stands twice", p.Port)
		}
		names[p.Name], ports[key{p.Protocol, p.Port}] = true, true
	}
}

func (c *checker) containerPort(path string, n int32) { c.port(path, uint32(max(n, 0))) }

func (c *checker) targetPort(path string, p intstr.IntOrString) {
	if p.Type == intstr.Int {
		c.containerPort(path, p.IntVal)
		return
	}
	c.named(path, p.StrVal, validation.IsValidPortName)
}
