package incluster

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"time"

	meshpb "istio.io/api/mesh/v1alpha1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/build"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

const (
	gatewayGroup   = "gateway.networking.k8s.io"
	gatewayVersion = gatewayGroup + "/v1"
	ourClass       = "istio"
)

// gateways deploys Gateways of the Gateway API, as istiod's controller does: each of
// Istio's classes gets a ServiceAccount, a Service and a Deployment, unless it names the
// Service that it is served by, and learns in its status what became of it. What was made
// belongs to the Gateway and goes with it.
//
// It tells routes, listeners and Ingresses in their status what became of them, too. Of
// several control planes one does all of this (kube.Client.Lead).
type gateways struct {
	client *kube.Client
	source store.Source
	inject inject.Options
	mesh   func() *meshpb.MeshConfig // the one in force
	logger *slog.Logger
	// done is what each Gateway's objects and status were last made of; of classes, the
	// object that was last accepted.
	done map[config.Key]basis
	told map[config.Key]told
}

// basis is all that a Gateway's objects and status follow from.
type basis struct {
	gateway, class, service *config.Object
	pods, ready             int
	listeners               []build.Listener
}

func (g *gateways) run(ctx context.Context) {
	g.done, g.told = make(map[config.Key]basis), make(map[config.Key]told)
	store.Watch(ctx, g.source, store.WatchOptions{}, func(v *store.View) {
		for {
			err := g.follow(ctx, v)
			if err == nil || ctx.Err() != nil {
				return
			}
			g.logger.Error("deploy gateways of the Gateway API", "error", err)
			timer := time.NewTimer(retry)
			select {
			case <-timer.C:
			case <-g.source.Changed(v):
				timer.Stop()
				return // the next view comes at once
			case <-ctx.Done():
			}
		}
	})
}

// follow makes the cluster what a view's Gateways ask for.
func (g *gateways) follow(ctx context.Context, v *store.View) error {
	errs := []error{g.classes(ctx, v), g.ingresses(ctx, v)}
	attached := &build.Attachments{}
	if len(v.Of(gatewayGroup+"/Gateway")) > 0 || slices.ContainsFunc(routeKinds, func(k string) bool { return len(v.Of(k)) > 0 }) {
		attached = build.Attach(v, build.Options{MeshConfig: g.mesh()})
	}
	there := make(map[config.Key]bool)
	for _, kind := range []string{"GatewayClass", gatewayGroup + "/Gateway"} {
		for _, o := range v.Of(kind) {
			there[o.Key()] = true
		}
	}
	for _, o := range v.Of(gatewayGroup + "/Gateway") {
		now, ok := basisOf(v, o)
		now.listeners = attached.Listeners[o.Key()]
		if !ok || reflect.DeepEqual(g.done[o.Key()], now) {
			continue
		}
		if err := g.gateway(ctx, o, now); err != nil {
			errs = append(errs, err)
			continue
		}
		g.done[o.Key()] = now
	}
	for k := range g.done {
		if !there[k] {
			delete(g.done, k)
		}
	}
	return errors.Join(append(errs, g.routes(ctx, v, attached))...)
}

// basisOf finds what a Gateway's objects follow from; false where it is not ours.
func basisOf(v *store.View, o *config.Object) (basis, bool) {
	b := basis{gateway: o}
	g, ok := o.Value.(*gatewayv1.Gateway)
	if !ok {
		return b, false
	}
	b.class = v.Get("GatewayClass", "", string(g.Spec.GatewayClassName))
	var class *gatewayv1.GatewayClass
	if b.class != nil {
		class, _ = b.class.Value.(*gatewayv1.GatewayClass)
	}
	if !config.GatewayClassOurs(string(g.Spec.GatewayClassName), class) {
		return b, false
	}
	namespace, name, _ := config.GatewayServiceIn(o.Namespace, o.Name, g)
	b.service = v.Get("Service", namespace, name)
	for _, s := range v.Of("EndpointSlice") {
		slice, ok := s.Value.(*discoveryv1.EndpointSlice)
		if !ok || s.Namespace != namespace || slice.Labels[discoveryv1.LabelServiceName] != name {
			continue
		}
		for _, e := range slice.Endpoints {
			b.pods++
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				b.ready++
			}
		}
	}
	return b, true
}

// gateway makes one Gateway's objects, removes those that it no longer wants, and
// writes its status.
func (g *gateways) gateway(ctx context.Context, o *config.Object, b basis) error {
	spec := o.Value.(*gatewayv1.Gateway)
	now, err := g.client.Get(ctx, kube.Resource(gatewayVersion, "Gateway"), o.Namespace, o.Name)
	if err != nil || now == nil || now.GetDeletionTimestamp() != nil {
		return err // a view without it follows
	}
	name, made := config.GatewayService(o.Name, spec)
	var objects []*unstructured.Unstructured
	if made {
		all, problems := inject.GatewayAPI(spec, o.Name, o.Namespace, name, g.inject)
		if len(problems) > 0 { // what was made before stays as it is
			return g.status(ctx, now, b, problems.Error())
		}
		for _, m := range all {
			u, err := kube.From(m)
			if err != nil {
				return err
			}
			own(u, now)
			objects = append(objects, u)
		}
	}
	problem := ""
	for _, u := range objects {
		taken, err := g.apply(ctx, u)
		if err != nil {
			return err
		}
		if taken {
			problem = kube.Name(u) + " is there already, and was not made for a Gateway: it is left alone"
		}
	}
	if err := g.prune(ctx, now, objects); err != nil {
		return err
	}
	return g.status(ctx, now, b, problem)
}

// own makes an object the Gateway's, with which Kubernetes removes it. How many replicas
// there are is not ours to say again and again: people and autoscalers change it.
func own(u, gateway *unstructured.Unstructured) {
	labels := u.GetLabels()
	labels[kube.OwnerLabel] = kube.OwnerValue
	u.SetLabels(labels)
	unstructured.RemoveNestedField(u.Object, "spec", "replicas")
	_ = unstructured.SetNestedSlice(u.Object, []any{map[string]any{"apiVersion": gatewayVersion, "kind": "Gateway",
		"name": gateway.GetName(), "uid": string(gateway.GetUID())}}, "metadata", "ownerReferences") // metadata is a mapping
}

// apply writes an object, unless somebody has one of that name that no controller made.
func (g *gateways) apply(ctx context.Context, u *unstructured.Unstructured) (taken bool, err error) {
	now, err := g.client.Get(ctx, kube.Resource(u.GetAPIVersion(), u.GetKind()), u.GetNamespace(), u.GetName())
	if err != nil {
		return false, err
	}
	if now != nil && now.GetLabels()[inject.ManagedLabel] != inject.ManagedValue {
		return true, nil
	}
	_, err = g.client.Apply(ctx, u, owner)
	return false, err
}

// prune removes what was made for a Gateway and is not among its objects now: those of
// another name, or all where it is served by others.
func (g *gateways) prune(ctx context.Context, gateway *unstructured.Unstructured, keep []*unstructured.Unstructured) error {
	selector := inject.ManagedLabel + "=" + inject.ManagedValue + "," + config.GatewayNameLabel + "=" + gateway.GetName()
	for _, kind := range [][2]string{{"apps/v1", "Deployment"}, {"v1", "Service"}, {"v1", "ServiceAccount"}} {
		list, err := g.client.List(ctx, kube.Resource(kind[0], kind[1]), gateway.GetNamespace(), selector)
		if err != nil {
			return err
		}
		for i := range list {
			u := &list[i]
			u.SetAPIVersion(kind[0])
			u.SetKind(kind[1])
			mine := slices.ContainsFunc(u.GetOwnerReferences(), owns(gateway))
			if !mine || slices.ContainsFunc(keep, func(k *unstructured.Unstructured) bool { return kube.Name(k) == kube.Name(u) }) {
				continue
			}
			if _, err := g.client.Delete(ctx, u); err != nil {
				return err
			}
		}
	}
	return nil
}

// classes makes Istio's class where nobody has, and tells the classes of our
// controller that they are accepted. Without the Gateway API's definitions there is
// nothing to do.
func (g *gateways) classes(ctx context.Context, v *store.View) error {
	if v.Get("GatewayClass", "", ourClass) == nil {
		class := &unstructured.Unstructured{Object: map[string]any{"apiVersion": gatewayVersion, "kind": "GatewayClass",
			"metadata": map[string]any{"name": ourClass, "labels": map[string]any{kube.OwnerLabel: kube.OwnerValue}},
			"spec": map[string]any{"controllerName": config.GatewayController,
				"description": "Gateways of this class get proxies of the mesh."}}}
		if _, err := g.client.Apply(ctx, class, owner); err != nil {
			if apierrors.IsNotFound(err) {
				return nil
			}
			return err
		}
	}
	for _, o := range v.Of("GatewayClass") {
		class, ok := o.Value.(*gatewayv1.GatewayClass)
		if !ok || class.Spec.ControllerName != config.GatewayController || g.done[o.Key()].class == o {
			continue
		}
		now, err := g.client.Get(ctx, kube.Resource(gatewayVersion, "GatewayClass"), "", o.Name)
		if err != nil {
			return err
		}
		if now != nil {
			live, _, _ := unstructured.NestedSlice(now.Object, "status", "conditions")
			accepted := condition{"Accepted", true, "Accepted", "the mesh deploys Gateways of this class"}
			if err := g.write(ctx, now, map[string]any{"conditions": stamped(now, live, []condition{accepted})}, ""); err != nil {
				return err
			}
		}
		g.done[o.Key()] = basis{class: o}
	}
	return nil
}
