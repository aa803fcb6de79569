package inject

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// templatesKey is the annotation that says what is put into a Pod.
const templatesKey = "inject.istio.io/templates"

// What may be put into a Pod: a sidecar beside the application, or a gateway, which is the
// proxy alone.
const (
	sidecarTemplate = "sidecar"
	gatewayTemplate = "gateway"
)

// autoImage is the image of a container that the injector fills in.
const autoImage = "auto"

// template reads the annotation. It may be a list, of which Istio lays one over the other;
// here there is nothing to combine.
func template(s *settings, v string) error {
	names := strings.Split(v, ",")
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
		if names[i] != sidecarTemplate && names[i] != gatewayTemplate {
			return fmt.Errorf("there is no template %q, only %s and %s", names[i], sidecarTemplate, gatewayTemplate)
		}
		if names[i] != names[0] {
			return fmt.Errorf("a Pod is a %s or has a %s, not both", gatewayTemplate, sidecarTemplate)
		}
	}
	s.template = names[0]
	return nil
}

// conflicts finds containers and volumes of the Pod's own that the injector cannot
// complete. A container istio-proxy it can: what is written there holds instead of the
// template's.
func conflicts(pod *corev1.Pod, s *settings) Problems {
	var found Problems
	refuse := func(path, format string, args ...any) {
		found = append(found, Problem{path, config.Diagnostic{Severity: config.Error, Code: CodeRefused, Message: fmt.Sprintf(format, args...)}})
	}
	for i, c := range pod.Spec.InitContainers {
		if c.Name == InitContainer || c.Name == ProxyContainer {
			refuse(fmt.Sprintf("spec.initContainers[%d]", i), "the Pod has an init container %s of its own: only the container %s can be completed", c.Name, ProxyContainer)
		}
	}
	for i, c := range pod.Spec.Containers {
		at := fmt.Sprintf("spec.containers[%d]", i)
		switch {
		case c.Name == InitContainer:
			refuse(at, "the Pod has a container %s of its own: only the container %s can be completed", c.Name, ProxyContainer)
		case c.Name != ProxyContainer:
		case len(c.Args) > 0:
			refuse(at+".args", "args of the container %s are not supported: they are the injector's", c.Name)
		case len(c.Command) > 0:
			refuse(at+".command", "the command of the container %s is not supported: it is the injector's", c.Name)
		case s.template == sidecarTemplate && foreignUser(c.SecurityContext):
			refuse(at+".securityContext", "the sidecar as another user or group than %d is not supported: redirection knows it by that", ProxyUser)
		}
	}
	for i, v := range pod.Spec.Volumes {
		if v.Name == tokenVolume || v.Name == rootVolume {
			refuse(fmt.Sprintf("spec.volumes[%d]", i), "the Pod has a volume %s of its own", v.Name)
		}
	}
	return found
}

// foreignUser tells whether a container runs as somebody else than the proxy's user.
func foreignUser(c *corev1.SecurityContext) bool {
	return c != nil && (c.RunAsUser != nil && *c.RunAsUser != ProxyUser || c.RunAsGroup != nil && *c.RunAsGroup != ProxyUser)
}

// applications are the Pod's containers but the proxy's.
func applications(pod *corev1.Pod) []corev1.Container {
	var list []corev1.Container
	for _, c := range pod.Spec.Containers {
		if c.Name != ProxyContainer {
			list = append(list, c)
		}
	}
	return list
}

// openLowPorts lets a gateway listen on ports below 1024: it is no root.
func openLowPorts(pod *corev1.PodSpec) {
	const name = "net.ipv4.ip_unprivileged_port_start"
	if pod.SecurityContext == nil {
		pod.SecurityContext = &corev1.PodSecurityContext{}
	}
	s := pod.SecurityContext
	if !slices.ContainsFunc(s.Sysctls, func(c corev1.Sysctl) bool { return c.Name == name }) {
		s.Sysctls = append(s.Sysctls, corev1.Sysctl{Name: name, Value: "0"})
	}
}
