package world

import (
	"context"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/collector"
)

var _ run.Tracer = (*World)(nil)

// asksForTraces tells whether any step looks at traces. Only then there is a collector
// in the mesh that nobody asked for.
func asksForTraces(s *spec.Scenario) bool {
	return slices.ContainsFunc(s.Steps, func(st spec.Step) bool { return st.Operation == "traces" })
}

// Given is what a world has for a scenario that the scenario does not apply.
func Given(s *spec.Scenario) []*config.Object {
	if asksForTraces(s) {
		return collectorObjects()
	}
	return nil
}

// collectorObjects are a collector of spans and its Services, with the names that they
// have in Istio's addons.
func collectorObjects() []*config.Object {
	labels := map[string]string{"app": "jaeger"}
	service := func(name string, ports ...corev1.ServicePort) *config.Object {
		for i := range ports {
			ports[i].TargetPort, ports[i].Protocol = intstr.FromInt32(ports[i].Port), corev1.ProtocolTCP
		}
		return object("Service", "", &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: systemNamespace, Labels: labels},
			Spec: corev1.ServiceSpec{Selector: labels, Ports: ports}})
	}
	container := corev1.Container{Name: "jaeger", Image: "docker.io/jaegertracing/all-in-one:latest"}
	for _, port := range []int32{9411, 4317, 4318, 11800} {
		container.Ports = append(container.Ports, corev1.ContainerPort{ContainerPort: port})
	}
	return []*config.Object{
		service("zipkin", corev1.ServicePort{Name: "http-query", Port: 9411}),
		service("jaeger-collector", corev1.ServicePort{Name: "http-zipkin", Port: 9411},
			corev1.ServicePort{Name: "grpc-otel", Port: 4317}, corev1.ServicePort{Name: "http-otel", Port: 4318}),
		service("tracing", corev1.ServicePort{Name: "grpc-skywalking", Port: 11800}),
		object("Deployment", "apps", &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "jaeger", Namespace: systemNamespace, Labels: labels},
			Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "jaeger", "sidecar.istio.io/inject": "false"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{container}}}}}),
	}
}

// Traces implements run.Tracer.
func (w *World) Traces(_ context.Context, q *spec.Traces) (traces int, spans []run.Span, err error) {
	wanted := func(s collector.Span) bool {
		return s.Service == q.Service || strings.HasPrefix(s.Service, q.Service+".")
	}
	if q.RequestID != "" {
		id := run.Untraced(q.RequestID)
		wanted = func(s collector.Span) bool { return run.Untraced(s.Tags["guid:x-request-id"]) == id }
	}
	found := w.spans.Find(q.Limit, wanted)
	for _, t := range found {
		service := map[string]string{}
		for _, s := range t {
			service[s.ID] = s.Service
		}
		for _, s := range t {
			spans = append(spans, run.Span{Trace: s.Trace, ID: s.ID, ParentID: s.Parent, Parent: service[s.Parent], Service: s.Service,
				Name: s.Name, Kind: s.Kind, Duration: s.Duration, Tags: s.Tags})
		}
	}
	return len(found), spans, nil
}
