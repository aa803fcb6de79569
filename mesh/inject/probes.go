package inject

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// rewriteProbes sends the application's HTTP, TCP and gRPC probes to AppPort, to the paths that
// Istio's agent has for them, and returns the original ones as JSON by path; "" if
// there are none.
func rewriteProbes(pod *corev1.Pod) (string, error) {
	original := make(map[string]*corev1.Probe)
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		if c.Name == ProxyContainer {
			continue
		}
		for _, p := range []struct {
			name  string
			probe *corev1.Probe
		}{{"livez", c.LivenessProbe}, {"readyz", c.ReadinessProbe}, {"startupz", c.StartupProbe}} {
			if p.probe == nil {
				continue
			}
			asked, err := asked(c, p.probe)
			if err != nil {
				return "", fmt.Errorf("container %s: probe: %w", c.Name, err)
			}
			if asked == nil {
				continue
			}
			path := "/app-health/" + c.Name + "/" + p.name
			original[path] = asked
			p.probe.ProbeHandler = corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
				Path: path, Port: intstr.FromInt32(AppPort), Scheme: corev1.URISchemeHTTP}}
		}
	}
	if len(original) == 0 {
		return "", nil
	}
	text, err := json.Marshal(original)
	return string(text), err
}

// asked is what a probe asks, with its port as a number; nil for a probe that kubelet
// makes without a connection to the Pod. A connection from outside would end at the
// sidecar: a TCP probe would always succeed, a gRPC one lacks a mesh certificate.
func asked(c *corev1.Container, p *corev1.Probe) (*corev1.Probe, error) {
	own := &corev1.Probe{TimeoutSeconds: p.TimeoutSeconds}
	var err error
	var port int32
	switch {
	case p.HTTPGet != nil:
		own.HTTPGet = p.HTTPGet.DeepCopy()
		port, err = portNumber(c, own.HTTPGet.Port)
		own.HTTPGet.Port = intstr.FromInt32(port)
	case p.TCPSocket != nil:
		own.TCPSocket = p.TCPSocket.DeepCopy()
		port, err = portNumber(c, own.TCPSocket.Port)
		own.TCPSocket.Port = intstr.FromInt32(port)
	case p.GRPC != nil:
		own.GRPC = p.GRPC.DeepCopy()
	default:
		return nil, nil
	}
	return own, err
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
