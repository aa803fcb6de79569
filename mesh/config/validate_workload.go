package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
)

func validateDeployment(c *checker) {
	s := &c.o.Value.(*appsv1.Deployment).Spec
	c.workload(s.Selector, &s.Template, s.Replicas)
	c.rollout(s)
}

func validateStatefulSet(c *checker) {
	s := &c.o.Value.(*appsv1.StatefulSet).Spec
	c.workload(s.Selector, &s.Template, s.Replicas)
	c.inOrder(s)
	if s.ServiceName != "" { // it becomes the Pods' subdomain
		c.named("spec.serviceName", s.ServiceName, validation.IsDNS1123Label)
	}
}

func validateReplicaSet(c *checker) {
	s := &c.o.Value.(*appsv1.ReplicaSet).Spec
	c.workload(s.Selector, &s.Template, s.Replicas)
}

func validateDaemonSet(c *checker) {
	s := &c.o.Value.(*appsv1.DaemonSet).Spec
	c.workload(s.Selector, &s.Template, nil)
	c.everywhere(s)
}

func validatePod(c *checker) {
	c.podSpec("spec", &c.o.Value.(*corev1.Pod).Spec)
}

// workload checks what makes Pods: it must find again the Pods that it makes.
func (c *checker) workload(selector *metav1.LabelSelector, template *corev1.PodTemplateSpec, replicas *int32) {
	if replicas != nil {
		c.notNegative("spec.replicas", *replicas)
	}
	c.labels("spec.template.metadata.labels", template.Labels)
	c.podSpec("spec.template.spec", &template.Spec)
	if selector == nil || len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
		c.errorf(CodeSelector, "spec.selector", "add selector: {matchLabels: …} with labels of the template", "a selector is required")
		return
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		c.errorf(CodeSelector, "spec.selector", "", "%v", err)
		return
	}
	if !s.Matches(labels.Set(template.Labels)) {
		c.errorf(CodeSelector, "spec.selector", "", "the selector (%s) does not match the template's labels (%s)", s, labels.Set(template.Labels))
	}
}

func (c *checker) podSpec(path string, s *corev1.PodSpec) {
	if len(s.Containers) == 0 {
		c.errorf(CodeMissing, path, "", "containers is required")
	}
	if s.Hostname != "" {
		c.named(join(path, "hostname"), s.Hostname, validation.IsDNS1123Label)
	}
	if s.Subdomain != "" {
		c.named(join(path, "subdomain"), s.Subdomain, validation.IsDNS1123Label)
	}
	names := make(map[string]bool)
	all := []struct {
		path string
		list []corev1.Container
	}{{join(path, "initContainers"), s.InitContainers}, {join(path, "containers"), s.Containers}}
	for _, group := range all {
		for i := range group.list {
			at := index(group.path, i)
			c.container(at, &group.list[i])
			if name := group.list[i].Name; name != "" && names[name] {
				c.errorf(CodeRepeated, join(at, "name"), "", "container %q stands twice", name)
			}
			names[group.list[i].Name] = true
		}
	}
}

func (c *checker) container(path string, container *corev1.Container) {
	if container.Name == "" {
		c.errorf(CodeRequired, path, "", "a name is required")
	} else {
		c.named(join(path, "name"), container.Name, validation.IsDNS1123Label)
	}
	if container.Image == "" {
		c.errorf(CodeRequired, path, "", "an image is required")
	}
	seen := make(map[string]bool)
	for i, p := range container.Ports {
		at := index(join(path, "ports"), i)
		c.containerPort(join(at, "containerPort"), p.ContainerPort)
		if p.Name != "" {
			c.named(join(at, "name"), p.Name, validation.IsValidPortName)
		}
		key := fmt.Sprintf("%d/%s", p.ContainerPort, p.Protocol)
		if seen[key] {
			c.warnf(CodeRepeated, join(at, "containerPort"), "", "port %d stands twice", p.ContainerPort)
		}
		seen[key] = true
	}
	c.probes(path, container)
	for i, e := range container.Env {
		if e.Name == "" {
			c.errorf(CodeRequired, index(join(path, "env"), i), "", "a name is required")
		}
	}
}

// rollout checks how a Deployment replaces its Pods.
func (c *checker) rollout(s *appsv1.DeploymentSpec) {
	c.notNegative("spec.minReadySeconds", s.MinReadySeconds)
	if d := s.ProgressDeadlineSeconds; d != nil && *d <= s.MinReadySeconds {
		c.errorf(CodeRange, "spec.progressDeadlineSeconds", "", "must be greater than minReadySeconds (%d)", s.MinReadySeconds)
	}
	u := s.Strategy.RollingUpdate
	if u == nil {
		return
	}
	const at = "spec.strategy.rollingUpdate"
	if s.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		c.errorf(CodeExclusive, at, "", "the strategy Recreate has no rollingUpdate")
		return
	}
	surge, unavailable := c.share(join(at, "maxSurge"), u.MaxSurge), c.share(join(at, "maxUnavailable"), u.MaxUnavailable)
	if surge == 0 && unavailable == 0 {
		c.errorf(CodeRange, join(at, "maxUnavailable"), "", "may not be 0 where maxSurge is 0: no Pod could be replaced")
	}
	if unavailable > 100 && u.MaxUnavailable.Type == intstr.String {
		c.errorf(CodeRange, join(at, "maxUnavailable"), "", "may not be more than 100%%")
	}
}

// share checks a number or percentage; -1 where there is none, or it is neither.
func (c *checker) share(path string, v *intstr.IntOrString) int {
	switch {
	case v == nil:
		return -1
	case v.Type == intstr.Int:
		c.notNegative(path, v.IntVal)
		return int(v.IntVal)
	}
	digits, percent := strings.CutSuffix(v.StrVal, "%")
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || !percent {
		c.errorf(CodeRange, path, "", "%q is neither a number nor a percentage", v.StrVal)
		return -1
	}
	return int(n)
}

// probes checks what kubelet asks a container.
func (c *checker) probes(path string, container *corev1.Container) {
	for _, p := range []struct {
		field string
		probe *corev1.Probe
	}{{"livenessProbe", container.LivenessProbe}, {"readinessProbe", container.ReadinessProbe}, {"startupProbe", container.StartupProbe}} {
		if p.probe == nil {
			continue
		}
		at := join(path, p.field)
		c.probe(at, container, p.probe)
		if p.field != "readinessProbe" && p.probe.SuccessThreshold > 1 {
			c.errorf(CodeRange, join(at, "successThreshold"), "", "must be 1: only a readiness probe can want more")
		}
		if p.field == "readinessProbe" && p.probe.TerminationGracePeriodSeconds != nil {
			c.errorf(CodeExclusive, join(at, "terminationGracePeriodSeconds"), "", "a readiness probe ends nothing")
		}
	}
}

func (c *checker) probe(path string, container *corev1.Container, p *corev1.Probe) {
	for _, n := range []struct {
		field string
		value int32
	}{{"initialDelaySeconds", p.InitialDelaySeconds}, {"timeoutSeconds", p.TimeoutSeconds}, {"periodSeconds", p.PeriodSeconds},
		{"successThreshold", p.SuccessThreshold}, {"failureThreshold", p.FailureThreshold}} {
		c.notNegative(join(path, n.field), n.value)
	}
	if g := p.TerminationGracePeriodSeconds; g != nil && *g < 1 {
		c.errorf(CodeRange, join(path, "terminationGracePeriodSeconds"), "", "must be at least 1")
	}
	asked := 0
	if g := p.HTTPGet; g != nil {
		asked++
		c.probedPort(join(path, "httpGet.port"), container, g.Port)
		if g.Scheme != "" && g.Scheme != corev1.URISchemeHTTP && g.Scheme != corev1.URISchemeHTTPS {
			c.errorf(CodeEnum, join(path, "httpGet.scheme"), "", "%q: expected HTTP or HTTPS", g.Scheme)
		}
	}
	if s := p.TCPSocket; s != nil {
		asked++
		c.probedPort(join(path, "tcpSocket.port"), container, s.Port)
	}
	if g := p.GRPC; g != nil {
		asked++
		c.probedPort(join(path, "grpc.port"), container, intstr.FromInt32(g.Port))
	}
	if p.Exec != nil {
		asked++
	}
	if asked != 1 {
		c.errorf(CodeMissing, path, "", "a probe needs one of httpGet, tcpSocket, grpc and exec")
	}
}

// probedPort checks the port of a probe, which may be the name of one of the container's.
func (c *checker) probedPort(path string, container *corev1.Container, port intstr.IntOrString) {
	if port.Type == intstr.Int {
		c.containerPort(path, port.IntVal)
		return
	}
	if !slices.ContainsFunc(container.Ports, func(p corev1.ContainerPort) bool { return p.Name == port.StrVal }) {
		c.errorf(CodePort, path, "", "no port of the container is called %q", port.StrVal)
	}
}
