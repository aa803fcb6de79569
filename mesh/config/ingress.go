package config

import (
	"cmp"
	"fmt"
	"strings"

	meshpb "istio.io/api/mesh/v1alpha1"
	networkingpb "istio.io/api/networking/v1alpha3"
	networkingk8sv1 "k8s.io/api/networking/v1"
)

// What says whose an Ingress is. The annotation is older, and still wins.
const (
	ingressClassAnnotation  = "kubernetes.io/ingress.class"
	defaultClassAnnotation  = "ingressclass.kubernetes.io/is-default-class"
	ingressClassController  = "istio.io/ingress-controller"
	groupKubernetesNetworks = "networking.k8s.io"
)

// IngressClassName is the class of an Ingress, by its annotation or by
// spec.ingressClassName, which is the name of an IngressClass; "": it names none.
func IngressClassName(i *networkingk8sv1.Ingress) (class string, annotated bool) {
	if class, annotated = i.Annotations[ingressClassAnnotation]; !annotated && i.Spec.IngressClassName != nil {
		class = *i.Spec.IngressClassName
	}
	return class, annotated
}

// DefaultIngressClass reports whether Ingresses without a class get this one when they
// are created.
func DefaultIngressClass(c *networkingk8sv1.IngressClass) bool {
	return c.Annotations[defaultClassAnnotation] == "true"
}

// IngressClass is the class that annotations of the mesh's Ingresses name.
func IngressClass(mesh *meshpb.MeshConfig) string { return cmp.Or(mesh.GetIngressClass(), "istio") }

// IngressOurs reports whether the mesh serves an Ingress: by the annotation with its
// ingressClass, or by an IngressClass of Istio's controller (nil: there is none);
// without any only where ingressControllerMode is DEFAULT.
func IngressOurs(i *networkingk8sv1.Ingress, defined *networkingk8sv1.IngressClass, mesh *meshpb.MeshConfig) bool {
	mode := mesh.GetIngressControllerMode()
	class, annotated := IngressClassName(i)
	switch {
	case annotated:
		return mode != meshpb.MeshConfig_OFF && class == IngressClass(mesh)
	case defined != nil:
		return defined.Spec.Controller == ingressClassController
	default:
		return mode == meshpb.MeshConfig_DEFAULT
	}
}

// IngressGateway is the Gateway that Istio makes of an Ingress, in the root namespace: a
// server on port 443 for each of its certificates, and one on port 80 for all hosts.
func IngressGateway(i *networkingk8sv1.Ingress, mesh *meshpb.MeshConfig) *networkingpb.Gateway {
	label := mesh.GetIngressSelector()
	if s := mesh.GetIngressService(); label == "" && s != "istio-ingressgateway" {
		label = s // the name of the Service, which for the default installation is not the label
	}
	g := &networkingpb.Gateway{Selector: map[string]string{"istio": cmp.Or(label, "ingressgateway")}}
	for n, t := range i.Spec.TLS {
		s := &networkingpb.Server{
			Port: &networkingpb.Port{Number: 443, Protocol: "HTTPS", Name: fmt.Sprintf("https-443-ingress-%s-%s-%d", i.Name, i.Namespace, n)},
			Tls:  &networkingpb.ServerTLSSettings{Mode: networkingpb.ServerTLSSettings_SIMPLE, CredentialName: t.SecretName},
		}
		for _, h := range t.Hosts {
			s.Hosts = append(s.Hosts, strings.ToLower(h))
		}
		if len(s.Hosts) == 0 {
			s.Hosts = []string{"*"}
		}
		if t.SecretName != "" {
			g.Servers = append(g.Servers, s)
		}
	}
	g.Servers = append(g.Servers, &networkingpb.Server{
		Port:  &networkingpb.Port{Number: 80, Protocol: "HTTP", Name: fmt.Sprintf("http-80-ingress-%s-%s", i.Name, i.Namespace)},
		Hosts: []string{"*"},
	})
	return g
}

// IngressPath is what a path of an Ingress matches: one path, or all below a prefix of
// whole segments; "" is everything. What is left to the implementation is one path in
// Istio, unless it ends in a wildcard.
func IngressPath(p *networkingk8sv1.HTTPIngressPath) (path string, exact bool) {
	if p.PathType != nil {
		switch *p.PathType {
		case networkingk8sv1.PathTypeExact:
			return p.Path, true
		case networkingk8sv1.PathTypePrefix:
			return p.Path, false
		}
	}
	if p.Path == "" || p.Path == "/*" || p.Path == "/.*" {
		return "", false
	}
	for _, wildcard := range []string{".*", "/*"} {
		if before, ok := strings.CutSuffix(p.Path, wildcard); ok {
			return before, false
		}
	}
	return p.Path, true
}
