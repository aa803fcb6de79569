package config

import (
	"net/netip"
	"strings"

	networkingk8sv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// validateIngress holds an Ingress to the rules of the API server.
func validateIngress(c *checker) {
	s := &c.o.Value.(*networkingk8sv1.Ingress).Spec
	if len(s.Rules) == 0 && s.DefaultBackend == nil {
		c.errorf(CodeMissing, "spec", "", "rules or defaultBackend is required")
	}
	if s.DefaultBackend != nil {
		c.ingressBackend("spec.defaultBackend", s.DefaultBackend)
	}
	for i, t := range s.TLS {
		for j, h := range t.Hosts {
			c.ingressHost(index(join(index("spec.tls", i), "hosts"), j), h)
		}
	}
	for i, r := range s.Rules {
		at := index("spec.rules", i)
		if r.Host != "" {
			c.ingressHost(join(at, "host"), r.Host)
		}
		if r.HTTP == nil {
			continue
		}
		if len(r.HTTP.Paths) == 0 {
			c.errorf(CodeMissing, join(at, "http"), "", "paths is required")
		}
		for j := range r.HTTP.Paths {
			c.ingressPath(index(join(at, "http.paths"), j), &r.HTTP.Paths[j])
		}
	}
}

// ingressHost is a DNS name, of which the first label may be a wildcard.
func (c *checker) ingressHost(path, host string) {
	if _, err := netip.ParseAddr(host); err == nil {
		c.errorf(CodeHost, path, "", "%q is an IP address; expected a DNS name", clip(host))
		return
	}
	if strings.HasPrefix(host, "*") {
		c.named(path, host, validation.IsWildcardDNS1123Subdomain)
		return
	}
	c.named(path, host, validation.IsDNS1123Subdomain)
}

// notInPaths are what clients and proxies may read in two ways.
var notInPaths = []string{"//", "/./", "/../", "%2f", "%2F"}

func (c *checker) ingressPath(path string, p *networkingk8sv1.HTTPIngressPath) {
	switch {
	case p.PathType == nil:
		c.errorf(CodeRequired, path, "", "pathType is required: Exact, Prefix or ImplementationSpecific")
	case *p.PathType == networkingk8sv1.PathTypeExact, *p.PathType == networkingk8sv1.PathTypePrefix:
		if !strings.HasPrefix(p.Path, "/") {
			c.errorf(CodeValue, join(path, "path"), "", "a path of type %s begins with /", *p.PathType)
			break
		}
		for _, bad := range notInPaths {
			if strings.Contains(p.Path, bad) {
				c.errorf(CodeValue, join(path, "path"), "", "a path cannot have %q in it", bad)
			}
		}
		if strings.HasSuffix(p.Path, "/..") || strings.HasSuffix(p.Path, "/.") {
			c.errorf(CodeValue, join(path, "path"), "", "a path cannot end in a dot segment")
		}
	case *p.PathType == networkingk8sv1.PathTypeImplementationSpecific:
		if p.Path != "" && p.Path[0] != '/' {
			c.errorf(CodeValue, join(path, "path"), "", "a path begins with /")
		}
	default:
		c.errorf(CodeEnum, join(path, "pathType"), enumHint(string(*p.PathType), []string{"Exact", "Prefix", "ImplementationSpecific"}),
			"%q is not one of Exact, Prefix, ImplementationSpecific", clip(string(*p.PathType)))
	}
	c.ingressBackend(join(path, "backend"), &p.Backend)
}

func (c *checker) ingressBackend(path string, b *networkingk8sv1.IngressBackend) {
	switch {
	case b.Service == nil && b.Resource == nil:
		c.errorf(CodeMissing, path, "", "service is required")
		return
	case b.Service != nil && b.Resource != nil:
		c.errorf(CodeExclusive, join(path, "resource"), "", "a backend is a service or a resource, not both")
	case b.Service == nil:
		return
	}
	at, port := join(path, "service"), b.Service.Port
	if b.Service.Name == "" {
		c.errorf(CodeRequired, at, "", "name is required")
	} else {
		c.named(join(at, "name"), b.Service.Name, validation.IsDNS1035Label)
	}
	switch {
	case port.Name == "" && port.Number == 0:
		c.errorf(CodeRequired, at, "", "port is required: its name or its number")
	case port.Name != "" && port.Number != 0:
		c.errorf(CodeExclusive, join(at, "port"), "", "a port has a name or a number, not both")
	case port.Name != "":
		c.named(join(at, "port.name"), port.Name, validation.IsValidPortName)
	default:
		c.containerPort(join(at, "port.number"), port.Number)
	}
}
