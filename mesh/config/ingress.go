package config

import networkingk8sv1 "k8s.io/api/networking/v1"

// What says whose an Ingress is. The annotation is older, and still wins.
const (
	ingressClassAnnotation  = "kubernetes.io/ingress.class"
	defaultClassAnnotation  = "ingressclass.kubernetes.io/is-default-class"
	ingressClassController  = "istio.io/ingress-controller"
	groupKubernetesNetworks = "networking.k8s.io"
)

// IngressClassOf is the class of an Ingress, by its annotation or by spec.ingressClassName;
// "": it names none. byName tells the second.
func IngressClassOf(i *networkingk8sv1.Ingress) (class string, byName bool) {
	if class, ok := i.Annotations[ingressClassAnnotation]; ok {
		return class, false
	}
	if i.Spec.IngressClassName != nil {
		return *i.Spec.IngressClassName, true
	}
	return "", true
}

// DefaultIngressClass reports whether Ingresses without a class get this one when they
// are created.
func DefaultIngressClass(c *networkingk8sv1.IngressClass) bool {
	return c.Annotations[defaultClassAnnotation] == "true"
}

// IngressClassOurs reports whether Ingresses of a class that an IngressClass defines are
// the mesh's.
func IngressClassOurs(c *networkingk8sv1.IngressClass) bool {
	return c.Spec.Controller == ingressClassController
}
