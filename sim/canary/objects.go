package canary

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

func primaryName(spec *config.CanarySpec) string { return spec.TargetRef.Name + "-primary" }

// apexName is the Service's that clients call.
func apexName(spec *config.CanarySpec) string {
	if spec.Service.Name != "" {
		return spec.Service.Name
	}
	return spec.TargetRef.Name
}

// selectorLabels are the labels by which Flagger tells primary and canary apart.
var selectorLabels = []string{"app", "name", "app.kubernetes.io/name"}

// selectorLabel is the one that a Deployment selects its Pods by.
func selectorLabel(d *appsv1.Deployment) (name, value string, err error) {
	for _, name := range selectorLabels {
		if value, ok := d.Spec.Selector.MatchLabels[name]; ok {
			return name, value, nil
		}
	}
	return "", "", fmt.Errorf("spec.selector.matchLabels of Deployment %s/%s needs one of %v", d.Namespace, d.Name, selectorLabels)
}

func object(group, kind string, value metav1.Object) *config.Object {
	return &config.Object{Group: group, Kind: kind, Version: "v1", Namespace: value.GetNamespace(), Name: value.GetName(), Value: value}
}

// prepare makes what is not there, or not as it should be: the Services of canary and
// primary, the primary itself, then the Service that clients call, then the routes.
func (r *release) prepare(ctx context.Context, spec *config.CanarySpec, target *appsv1.Deployment) error {
	label, value, err := selectorLabel(target)
	if err != nil {
		return err
	}
	apex := apexName(spec)
	if err := r.ensure(ctx, r.service(spec, apex+"-canary", label, value), r.service(spec, apex+"-primary", label, value+"-primary")); err != nil {
		return err
	}
	if r.cluster.Object(r.deploymentKey(primaryName(spec))) == nil {
		if err := r.ensure(ctx, object("apps", "Deployment", r.primary(spec, target, label, value+"-primary"))); err != nil {
			return err
		}
	}
	if err := r.ensure(ctx, r.service(spec, apex, label, value+"-primary")); err != nil {
		return err
	}
	if r.is.Phase == Initializing {
		if err := r.cluster.Scale(ctx, r.deploymentKey(target.Name), 0); err != nil {
			return err
		}
	}
	return r.route(ctx, spec, r.weight)
}

// ensure applies what differs from what is there, all at once.
func (r *release) ensure(ctx context.Context, objects ...*config.Object) error {
	var changed []*config.Object
	for _, o := range objects {
		if !slices.Contains(r.made, o.Key()) {
			r.made = append(r.made, o.Key())
		}
		if present := r.cluster.Object(o.Key()); present == nil || !same(present.Value, o.Value) {
			changed = append(changed, o)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return r.cluster.Apply(ctx, changed)
}

// same compares what the controller decides about an object.
func same(a, b any) bool {
	switch a := a.(type) {
	case *corev1.Service:
		b := b.(*corev1.Service)
		return maps.Equal(a.Spec.Selector, b.Spec.Selector) && reflect.DeepEqual(a.Spec.Ports, b.Spec.Ports)
	case *networkingv1.VirtualService:
		return proto.Equal(&a.Spec, &b.(*networkingv1.VirtualService).Spec)
	case *networkingv1.DestinationRule:
		return proto.Equal(&a.Spec, &b.(*networkingv1.DestinationRule).Spec)
	}
	return reflect.DeepEqual(a, b)
}

func (r *release) service(spec *config.CanarySpec, name, label, value string) *config.Object {
	s := &spec.Service
	port := corev1.ServicePort{Name: s.PortName, Port: s.Port, TargetPort: s.TargetPort, Protocol: corev1.ProtocolTCP}
	if port.Name == "" {
		port.Name = "http"
	}
	if s.AppProtocol != "" {
		port.AppProtocol = &s.AppProtocol
	}
	if port.TargetPort == (intstr.IntOrString{}) {
		port.TargetPort = intstr.FromInt32(s.Port)
	}
	return object("", "Service", &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: r.key.Namespace, Labels: map[string]string{label: name}},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, Selector: map[string]string{label: value}, Ports: []corev1.ServicePort{port}},
	})
}

// primary is a copy of the target whose Pods have a label's value of their own.
func (r *release) primary(spec *config.CanarySpec, target *appsv1.Deployment, label, value string) *appsv1.Deployment {
	replicas := int32(1)
	if n := target.Spec.Replicas; n != nil && *n > 0 {
		replicas = *n
	}
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: primaryName(spec), Namespace: r.key.Namespace, Labels: map[string]string{label: value}},
		Spec:       appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{label: value}}},
	}
	return promoted(d, target, label, value)
}

// promoted is the primary with the target's template and way of rolling out.
func promoted(primary, target *appsv1.Deployment, label, value string) *appsv1.Deployment {
	d, from := primary.DeepCopy(), target.Spec.DeepCopy()
	d.Spec.Strategy, d.Spec.MinReadySeconds = from.Strategy, from.MinReadySeconds
	d.Spec.ProgressDeadlineSeconds, d.Spec.RevisionHistoryLimit = from.ProgressDeadlineSeconds, from.RevisionHistoryLimit
	d.Spec.Template = from.Template
	if d.Spec.Template.Labels == nil {
		d.Spec.Template.Labels = make(map[string]string)
	}
	d.Spec.Template.Labels[label] = value
	return d
}

// route gives the canary a share of the traffic.
func (r *release) route(ctx context.Context, spec *config.CanarySpec, canary int) error {
	objects, err := routes(r.key.Namespace, spec, canary)
	if err != nil {
		return err
	}
	if err := r.ensure(ctx, objects...); err != nil {
		return fmt.Errorf("route %d %% to the canary: %w", canary, err)
	}
	r.weight = canary
	return nil
}

// Routes are the objects of Istio's that a Canary is made into, before any release.
func Routes(o *config.Object) ([]*config.Object, error) {
	return routes(o.Namespace, &o.Value.(*config.Canary).Spec, 0)
}

func routes(namespace string, spec *config.CanarySpec, canary int) ([]*config.Object, error) {
	virtual, err := virtualService(namespace, spec, canary)
	if err != nil {
		return nil, err
	}
	apex := apexName(spec)
	return []*config.Object{destinationRule(namespace, spec, apex+"-primary"), destinationRule(namespace, spec, apex+"-canary"), virtual}, nil
}

func destinationRule(namespace string, spec *config.CanarySpec, host string) *config.Object {
	rule := &networkingv1.DestinationRule{ObjectMeta: metav1.ObjectMeta{Name: host, Namespace: namespace}}
	rule.Spec.Host = host
	rule.Spec.TrafficPolicy = clone(spec.Service.TrafficPolicy)
	return object("networking.istio.io", "DestinationRule", rule)
}

// clone copies a message, and keeps none.
func clone[M proto.Message](m M) M {
	if reflect.ValueOf(m).IsNil() {
		return m
	}
	return proto.CloneOf(m)
}

func virtualService(namespace string, spec *config.CanarySpec, canary int) (*config.Object, error) {
	s, apex := &spec.Service, apexName(spec)
	route := &networkingpb.HTTPRoute{
		Rewrite: clone(s.Rewrite), Retries: clone(s.Retries), Headers: clone(s.Headers), CorsPolicy: clone(s.CorsPolicy),
		Route: []*networkingpb.HTTPRouteDestination{
			{Destination: &networkingpb.Destination{Host: apex + "-primary"}, Weight: int32(all - canary)},
			{Destination: &networkingpb.Destination{Host: apex + "-canary"}, Weight: int32(canary)},
		},
	}
	for _, m := range s.Match {
		route.Match = append(route.Match, clone(m))
	}
	if s.Timeout != "" {
		d, err := time.ParseDuration(s.Timeout)
		if err != nil {
			return nil, fmt.Errorf("spec.service.timeout: %w", err)
		}
		route.Timeout = durationpb.New(d)
	}
	v := &networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{Name: apex, Namespace: namespace}}
	v.Spec.Hosts = slices.Clone(s.Hosts)
	if !slices.Contains(s.Hosts, apex) && !slices.Contains(s.Hosts, "*") {
		v.Spec.Hosts = append(v.Spec.Hosts, apex)
	}
	v.Spec.Gateways = slices.Clone(s.Gateways)
	if len(v.Spec.Gateways) == 0 {
		v.Spec.Gateways = []string{"mesh"}
	}
	v.Spec.Http = []*networkingpb.HTTPRoute{route}
	return object("networking.istio.io", "VirtualService", v), nil
}
