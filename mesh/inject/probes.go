package inject

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// rewriteProbes sends the application's HTTP probes to AppPort, to the paths that
// Istio's agent has for them, and returns the original ones as JSON by path; "" if
// there are none.
func rewriteProbes(pod *corev1.Pod) (string, error) {
	original := make(map[string]*corev1.Probe)
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		for _, p := range []struct {
			name  string
			probe *corev1.Probe
		}{{"livez", c.LivenessProbe}, {"readyz", c.ReadinessProbe}, {"startupz", c.StartupProbe}} {
			if p.probe == nil || p.probe.HTTPGet == nil {
				continue
			}
			get := p.probe.HTTPGet
			port, err := portNumber(c, get.Port)
			if err != nil {
				return "", fmt.Errorf("container %s: probe: %w", c.Name, err)
			}
			path := "/app-health/" + c.Name + "/" + p.name
			own := get.DeepCopy()
			own.Port = intstr.FromInt32(port)
			original[path] = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: own}, TimeoutSeconds: p.probe.TimeoutSeconds}
			get.Path, get.Port, get.Scheme = path, intstr.FromInt32(AppPort), corev1.URISchemeHTTP
		}
	}
	if len(original) == 0 {
		return "", nil
	}
	text, err := json.Marshal(original)
	return string(text), err
}

// portNumber resolves a container port's name.
func portNumber(c *corev1.Container, port intstr.IntOrString) (int32, error) {
	if port.Type == intstr.Int {
		return port.IntVal, nil
	}
	for _, p := range c.Ports {
		if p.Name == port.StrVal {
			return p.ContainerPort, nil
		}
	}
	return 0, fmt.Errorf("no port is called %q", port.StrVal)
}
