package config

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

func validateServiceEntry(c *checker) {
	s := &c.o.Value.(*networkingv1.ServiceEntry).Spec
	if len(s.Hosts) == 0 {
		c.errorf(CodeMissing, "spec", "", "hosts is required")
	}
	for i, h := range s.Hosts {
		at := index("spec.hosts", i)
		if h == "*" {
			c.errorf(CodeHost, at, "", `"*" is too wide for a ServiceEntry`)
			continue
		}
		c.host(at, h, true)
		if strings.HasPrefix(h, "*") && (s.Resolution == networkingpb.ServiceEntry_DNS || s.Resolution == networkingpb.ServiceEntry_DNS_ROUND_ROBIN) && len(s.Endpoints) == 0 {
			c.errorf(CodeHost, at, "name endpoints, or use resolution NONE", "a wildcard cannot be resolved by DNS")
		}
	}
	c.repeated("spec.hosts", s.Hosts, "host")
	c.exportTo(s.ExportTo)
	c.serviceAddresses(s)
	c.servicePorts(s)
	c.endpoints(s)
	if s.Resolution == networkingpb.ServiceEntry_DYNAMIC_DNS {
		c.dynamicService(s)
	}
}

// dynamicService checks a service whose proxies resolve the name that each request is for:
// it takes a wildcard, and a protocol that tells that name.
func (c *checker) dynamicService(s *networkingpb.ServiceEntry) {
	for i, h := range s.Hosts {
		if !strings.HasPrefix(h, "*") {
			c.errorf(CodeHost, index("spec.hosts", i), "use resolution: DNS", "resolution DYNAMIC_DNS is for wildcards such as *.example.com")
		}
	}
	for i, p := range s.Ports {
		switch strings.ToUpper(p.Protocol) {
		case "HTTP", "HTTP2", "GRPC", "TLS":
		default:
			c.errorf(CodeEnum, join(index("spec.ports", i), "protocol"), "one of HTTP, HTTP2, GRPC and TLS",
				"with resolution DYNAMIC_DNS the name comes from the Host header or the SNI, which %q does not have", clip(p.Protocol))
		}
	}
	if len(s.Addresses) > 0 {
		c.errorf(CodeExclusive, "spec.addresses", "", "resolution DYNAMIC_DNS allows no addresses")
	}
	if len(s.Endpoints) > 0 || s.WorkloadSelector != nil {
		c.errorf(CodeExclusive, "spec", "", "resolution DYNAMIC_DNS allows neither endpoints nor a workloadSelector: the name that a request is for is resolved")
	}
}

func (c *checker) serviceAddresses(s *networkingpb.ServiceEntry) {
	for i, a := range s.Addresses {
		at := index("spec.addresses", i)
		c.prefix(at, a)
		if p, err := netip.ParsePrefix(a); err == nil && !p.IsSingleIP() &&
			s.Resolution != networkingpb.ServiceEntry_NONE && s.Resolution != networkingpb.ServiceEntry_STATIC {
			c.errorf(CodeAddress, at, "", "a range of addresses is for resolution NONE and STATIC")
		}
	}
}

func (c *checker) servicePorts(s *networkingpb.ServiceEntry) {
	if len(s.Ports) == 0 {
		c.warnf(CodeMissing, "spec", "", "without ports nothing is routed")
	}
	numbers, names := make(map[uint32]bool), make(map[string]bool)
	for i, p := range s.Ports {
		at := index("spec.ports", i)
		c.port(join(at, "number"), p.Number)
		if p.TargetPort != 0 {
			c.port(join(at, "targetPort"), p.TargetPort)
		}
		if p.Protocol != "" {
			c.protocol(join(at, "protocol"), p.Protocol, serviceProtocols)
		}
		c.named(join(at, "name"), strings.ToLower(p.Name), validation.IsDNS1123Label)
		if numbers[p.Number] {
			c.errorf(CodeRepeated, join(at, "number"), "", "port %d stands twice", p.Number)
		}
		if names[p.Name] {
			c.errorf(CodeRepeated, join(at, "name"), "", "port %q stands twice", clip(p.Name))
		}
		numbers[p.Number], names[p.Name] = true, true
	}
}

func (c *checker) endpoints(s *networkingpb.ServiceEntry) {
	if s.WorkloadSelector != nil && len(s.Endpoints) > 0 {
		c.errorf(CodeExclusive, "spec.endpoints", "", "endpoints and workloadSelector exclude each other")
	}
	c.selector("spec.workloadSelector.labels", s.GetWorkloadSelector().GetLabels())
	switch s.Resolution {
	case networkingpb.ServiceEntry_NONE:
		if len(s.Endpoints) > 0 {
			c.errorf(CodeExclusive, "spec.endpoints", "set resolution: STATIC or DNS", "with resolution NONE, which is the default, a service has no endpoints")
		}
	case networkingpb.ServiceEntry_STATIC:
		if len(s.Endpoints) == 0 && s.WorkloadSelector == nil {
			c.errorf(CodeMissing, "spec", "", "resolution STATIC needs endpoints or a workloadSelector")
		}
	case networkingpb.ServiceEntry_DNS_ROUND_ROBIN:
		if len(s.Endpoints) > 1 {
			c.errorf(CodeExclusive, "spec.endpoints", "", "resolution DNS_ROUND_ROBIN allows one endpoint")
		}
	}
	names := make(map[string]bool)
	for _, p := range s.Ports {
		names[p.Name] = true
	}
	for i, e := range s.Endpoints {
		at := index("spec.endpoints", i)
		c.workloadEntry(at, e)
		for _, name := range slices.Sorted(maps.Keys(e.Ports)) {
			if !names[name] {
				c.errorf(CodePort, join(join(at, "ports"), name), enumHint(name, slices.Collect(maps.Keys(names))), "the service has no port %q", clip(name))
			}
		}
		if s.Resolution == networkingpb.ServiceEntry_STATIC && e.Address != "" && !strings.HasPrefix(e.Address, "unix://") {
			if _, err := netip.ParseAddr(e.Address); err != nil {
				c.errorf(CodeAddress, join(at, "address"), "use resolution: DNS for names", "%q is not an IP address, which resolution STATIC needs", clip(e.Address))
			}
		}
	}
}

func validateWorkloadEntry(c *checker) {
	c.workloadEntry("spec", &c.o.Value.(*networkingv1.WorkloadEntry).Spec)
}

func (c *checker) workloadEntry(path string, e *networkingpb.WorkloadEntry) {
	at := join(path, "address")
	socket, unix := strings.CutPrefix(e.Address, "unix://")
	switch {
	case e.Address == "":
		if e.Network == "" {
			c.errorf(CodeRequired, path, "", "an address is required")
		}
	case unix:
		if !strings.HasPrefix(socket, "/") && !strings.HasPrefix(socket, "@") || strings.HasSuffix(socket, "/") {
			c.errorf(CodeAddress, at, "", "%q is not the path of a socket", clip(e.Address))
		}
		if len(e.Ports) > 0 {
			c.errorf(CodeExclusive, join(path, "ports"), "", "a socket has no ports")
		}
	default:
		if _, err := netip.ParseAddr(e.Address); err != nil && !fqdn(e.Address) {
			c.errorf(CodeAddress, at, "", "%q is neither an IP address nor a host name", clip(e.Address))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Ports)) {
		c.port(join(join(path, "ports"), name), e.Ports[name])
	}
	c.labels(join(path, "labels"), e.Labels)
}
