package config

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

func validateDeployment(c *checker) {
	s := &c.o.Value.(*appsv1.Deployment).Spec
	c.workload(s.Selector, &s.Template, s.Replicas)
}

func validateStatefulSet(c *checker) {
	s := &c.o.Value.(*appsv1.StatefulSet).Spec
	c.workload(s.Selector, &s.Template, s.Replicas)
}

func validateReplicaSet(c *checker) {
	s := &c.o.Value.(*appsv1.ReplicaSet).Spec
	c.workload(s.Selector, &s.Template, s.Replicas)
}

func validateDaemonSet(c *checker) {
	s := &c.o.Value.(*appsv1.DaemonSet).Spec
	c.workload(s.Selector, &s.Template, nil)
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
	for i, e := range container.Env {
		if e.Name == "" {
			c.errorf(CodeRequired, index(join(path, "env"), i), "", "a name is required")
		}
	}
}
