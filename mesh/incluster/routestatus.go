package incluster

import (
	"context"
	"errors"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/windtunnel-mesh/windtunnel/mesh/build"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

// routeKinds have parents in their status.
var routeKinds = []string{"HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute"}

// told is what a route's status was last made of.
type told struct {
	route   *config.Object
	parents []build.Parent
}

// routes tells the routes of the Gateway API what became of them at each parent of ours.
func (g *gateways) routes(ctx context.Context, v *store.View, attached *build.Attachments) error {
	there := make(map[config.Key]bool)
	var errs []error
	for _, kind := range routeKinds {
		for _, o := range v.Of(kind) {
			key := o.Key()
			there[key] = true
			parents := attached.Parents[key]
			if was := g.told[key]; was.route == o && reflect.DeepEqual(was.parents, parents) {
				continue
			}
			if err := g.route(ctx, o, parents); err != nil {
				errs = append(errs, err)
				continue
			}
			g.told[key] = told{o, parents}
		}
	}
	for key := range g.told {
		if !there[key] {
			delete(g.told, key)
		}
	}
	return errors.Join(errs...)
}

// route writes the status of one route: what other controllers say of it stays.
func (g *gateways) route(ctx context.Context, o *config.Object, parents []build.Parent) error {
	now, err := g.client.Get(ctx, kube.Resource(o.Group+"/"+o.Version, o.Kind), o.Namespace, o.Name)
	if err != nil || now == nil || now.GetDeletionTimestamp() != nil {
		return err // a view without it follows
	}
	live, _, _ := unstructured.NestedSlice(now.Object, "status", "parents")
	list := []any{}
	var ours []map[string]any
	for _, p := range live {
		if m, ok := p.(map[string]any); ok && m["controllerName"] == config.GatewayController {
			ours = append(ours, m)
		} else {
			list = append(list, p)
		}
	}
	for i := range parents {
		m, err := parentStatus(now, ours, &parents[i])
		if err != nil {
			return err
		}
		list = append(list, m)
	}
	return g.write(ctx, now, map[string]any{"parents": list}, now.GetResourceVersion())
}

// parentStatus is what became of a route at one parent.
func parentStatus(route *unstructured.Unstructured, ours []map[string]any, p *build.Parent) (map[string]any, error) {
	reference, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&p.Reference)
	if err != nil {
		return nil, err
	}
	var live any
	for _, m := range ours {
		if agrees(m["parentRef"], reference) && agrees(reference["sectionName"], m["parentRef"].(map[string]any)["sectionName"]) {
			live = m["conditions"]
		}
	}
	return map[string]any{"parentRef": reference, "controllerName": config.GatewayController,
		"conditions": stamped(route, live, []condition{
			conditionOf("Accepted", p.Accepted, "the parent takes the route"),
			conditionOf("ResolvedRefs", p.Resolved, "all backends are there"),
		})}, nil
}
