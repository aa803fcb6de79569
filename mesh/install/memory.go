package install

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
)

// tooLittleMemory tells, with the numbers, where the nodes do not have the memory that
// an installation asks for: its Pods would wait for it. Where the account may not read
// the nodes, nothing is known and nothing is told.
func tooLittleMemory(ctx context.Context, c *kube.Client, namespace string, objects []*unstructured.Unstructured) []string {
	free, err := freeMemory(ctx, c, namespace, objects)
	if err != nil || len(free) == 0 {
		return nil
	}
	all, most := int64(0), int64(0)
	for _, n := range free {
		all, most = all+max(n, 0), max(most, n)
	}
	need, largest, name := int64(0), int64(0), ""
	for _, o := range objects {
		if one, replicas := requested(o); one > 0 {
			need += one * replicas
			if one > largest {
				largest, name = one, o.GetName()
			}
		}
	}
	const advice = "--set controlPlane.memory=100Mi asks for less"
	switch {
	case largest > most:
		return []string{fmt.Sprintf("no node has the memory that %s asks for: %s, and %s are free: its Pods will wait; %s", name, mebi(largest), mebi(most), advice)}
	case need > all:
		return []string{fmt.Sprintf("the mesh asks for %s of memory, and the nodes have %s free: some of its Pods will wait; %s", mebi(need), mebi(all), advice)}
	}
	return nil
}

func mebi(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

// requested is what a Pod of a Deployment asks for, in bytes, and how many there are.
func requested(o *unstructured.Unstructured) (each, replicas int64) {
	if o.GetKind() != "Deployment" {
		return 0, 0
	}
	replicas, found, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
	if !found {
		replicas = 1
	}
	template, _, _ := unstructured.NestedMap(o.Object, "spec", "template")
	var p corev1.Pod
	if kube.Into(&unstructured.Unstructured{Object: template}, &p) != nil {
		return 0, 0
	}
	return memoryOf(&p), replicas
}

func memoryOf(p *corev1.Pod) int64 {
	n := int64(0)
	for _, c := range p.Spec.Containers {
		n += c.Resources.Requests.Memory().Value()
	}
	for _, c := range p.Spec.InitContainers {
		if c.RestartPolicy != nil { // a sidecar, which runs beside the others
			n += c.Resources.Requests.Memory().Value()
		}
	}
	return n
}

// freeMemory is what each node has that no Pod has asked for, in bytes. Pods of the
// installation itself, which an upgrade replaces, do not count.
func freeMemory(ctx context.Context, c *kube.Client, namespace string, objects []*unstructured.Unstructured) (map[string]int64, error) {
	nodes, err := c.List(ctx, kube.Resource("v1", "Node"), "", "")
	if err != nil {
		return nil, err
	}
	free := make(map[string]int64)
	for i := range nodes {
		var n corev1.Node
		if err := kube.Into(&nodes[i], &n); err != nil {
			return nil, err
		}
		if !n.Spec.Unschedulable {
			free[n.Name] = n.Status.Allocatable.Memory().Value()
		}
	}
	own := make(map[string]bool)
	for _, o := range objects {
		own[o.GetName()] = own[o.GetName()] || o.GetKind() == "Deployment"
	}
	pods, err := c.List(ctx, kube.Resource("v1", "Pod"), "", "")
	if err != nil {
		return nil, err
	}
	for i := range pods {
		var p corev1.Pod
		if err := kube.Into(&pods[i], &p); err != nil {
			return nil, err
		}
		if _, known := free[p.Spec.NodeName]; !known || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed ||
			p.Namespace == namespace && own[p.Labels["app"]] {
			continue
		}
		free[p.Spec.NodeName] -= memoryOf(&p)
	}
	return free, nil
}
