package analyze

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
)

// proxyUser is the user of the proxy, whose connections nobody redirects (Istio's
// "Application Requirements").
const proxyUser = 1337

// proxyContainer is the name of the sidecar's container.
const proxyContainer = "istio-proxy"

// template is what Pods are made of: a Pod itself, or what a workload has for its own.
type template struct {
	path string // "" or "spec.template."
	meta *metav1.ObjectMeta
	spec *corev1.PodSpec
}

// templateOf returns the template of an object; nil where it makes no Pods.
func templateOf(o *config.Object) *template {
	of := func(t *corev1.PodTemplateSpec) *template { return &template{"spec.template.", &t.ObjectMeta, &t.Spec} }
	switch v := o.Value.(type) {
	case *corev1.Pod:
		return &template{"", &v.ObjectMeta, &v.Spec}
	case *appsv1.Deployment:
		return of(&v.Spec.Template)
	case *appsv1.StatefulSet:
		return of(&v.Spec.Template)
	case *appsv1.DaemonSet:
		return of(&v.Spec.Template)
	case *appsv1.ReplicaSet:
		return of(&v.Spec.Template)
	}
	return nil
}

// templates looks at what people wrote for their Pods.
func (a *analysis) templates() {
	for _, o := range a.written {
		if t := templateOf(o); t != nil {
			a.applicationUser(o, t)
			a.imageAuto(o, t)
		}
		if g, ok := o.Value.(*gatewayv1.Gateway); ok && a.ours(g) {
			a.found = append(a.found, inject.Check(o, nil, inject.Options{ProxyImage: "auto"})...)
		}
	}
}

// ours tells whether the mesh serves a Gateway of the Gateway API.
func (a *analysis) ours(g *gatewayv1.Gateway) bool {
	var class *gatewayv1.GatewayClass
	if o := a.view.Get("GatewayClass", "", string(g.Spec.GatewayClassName)); o != nil {
		class, _ = o.Value.(*gatewayv1.GatewayClass)
	}
	return config.GatewayClassOurs(string(g.Spec.GatewayClassName), class)
}

// injected tells whether Pods of a template get a sidecar, and why or why not.
func (a *analysis) injected(o *config.Object, t *template) (bool, string) {
	var namespace *corev1.Namespace
	if n := a.view.Get("Namespace", "", o.Namespace); n != nil {
		namespace, _ = n.Value.(*corev1.Namespace)
	}
	pod := &corev1.Pod{ObjectMeta: *t.meta.DeepCopy(), Spec: *t.spec}
	pod.Namespace = o.Namespace
	revision := pod.Labels["istio.io/rev"]
	if namespace != nil && namespace.Labels["istio.io/rev"] != "" {
		revision = namespace.Labels["istio.io/rev"]
	}
	return inject.Decide(pod, namespace, inject.Options{Revision: revision}) // whoever serves it
}

// applicationUser finds applications that run as the proxy's user: capture leaves their
// connections alone, so that they pass the sidecar by. With TPROXY it is a mark that counts.
func (a *analysis) applicationUser(o *config.Object, t *template) {
	if t.meta.Annotations["sidecar.istio.io/interceptionMode"] == "TPROXY" {
		return
	}
	pods := t.spec.SecurityContext != nil && t.spec.SecurityContext.RunAsUser != nil && *t.spec.SecurityContext.RunAsUser == proxyUser
	for i, c := range t.spec.Containers {
		if c.Name == proxyContainer {
			continue
		}
		own := c.SecurityContext != nil && c.SecurityContext.RunAsUser != nil
		path := fmt.Sprintf("%sspec.containers[%d].securityContext.runAsUser", t.path, i)
		switch {
		case own && *c.SecurityContext.RunAsUser == proxyUser:
		case !own && pods:
			path = t.path + "spec.securityContext.runAsUser"
		default:
			continue
		}
		a.report(o, config.Warning, CodeApplicationUser, path,
			fmt.Sprintf("container %s runs as user %d, which is the sidecar's: its connections are not redirected, and pass the sidecar by", c.Name, proxyUser), "take another user")
		return
	}
}

// imageAuto finds proxies whose image the injector has to fill in, where it does not come.
func (a *analysis) imageAuto(o *config.Object, t *template) {
	check := func(list []corev1.Container, field string) {
		for i, c := range list {
			if c.Name != proxyContainer || c.Image != "auto" {
				continue
			}
			yes, why := a.injected(o, t)
			if yes {
				continue
			}
			severity, code := config.Warning, CodeImageAuto
			if o.Kind == "Pod" {
				severity, code = config.Error, CodeImageAutoPod
			}
			a.report(o, severity, code, fmt.Sprintf("%sspec.%s[%d].image", t.path, field, i),
				fmt.Sprintf(`the image "auto" stays as it is, and cannot be pulled: nobody injects a proxy here (%s)`, why),
				`label the Pods sidecar.istio.io/inject: "true", or the namespace istio-injection: enabled`)
		}
	}
	check(t.spec.Containers, "containers")
	check(t.spec.InitContainers, "initContainers")
}
