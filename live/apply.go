package live

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// webhook tells whether a message is of an admission webhook.
func webhook(message string) bool { return strings.Contains(message, "admission webhook") }

// read decodes what is to be applied: as objects with places for what is said of them,
// and as they are written for the API server, in the order in which they have to come.
// What nobody can read is among the rejected.
func read(docs []spec.Document) (applied *run.Applied, placed []*config.Object, objects []document, err error) {
	applied = &run.Applied{}
	var good []spec.Document
	for _, d := range docs {
		decoded, findings := config.Decode(d.File, d.Line, d.Text)
		placed = append(placed, decoded...)
		readable := true
		for _, f := range findings {
			var text bytes.Buffer
			config.Print(&text, []config.Diagnostic{f})
			switch f.Severity {
			case config.Error:
				applied.Rejected = append(applied.Rejected, text.String())
				readable = false
			case config.Warning:
				applied.Warnings = append(applied.Warnings, text.String())
			}
		}
		if readable {
			good = append(good, d)
		}
	}
	objects, err = decode(good)
	slices.SortStableFunc(objects, func(a, b document) int { return rank(a.object.GetKind()) - rank(b.object.GetKind()) })
	return applied, placed, objects, err
}

// Apply implements run.World.
func (w *World) Apply(ctx context.Context, docs []spec.Document) (*run.Applied, error) {
	applied, placed, objects, err := read(docs)
	if err != nil {
		return nil, err
	}
	var workloads, gateways []*unstructured.Unstructured
	var warnings []*warned
	for i, d := range objects {
		// Injection and routes have to be known before the first Pod asks for them.
		if rank(d.object.GetKind()) == 4 && (i == 0 || rank(objects[i-1].object.GetKind()) < 4) {
			if err := w.converge(ctx); err != nil {
				return nil, err
			}
		}
		o := &warned{position: d.position, object: d.object, written: objectOf(d, placed)}
		w.prepare(d.object)
		if err := w.behave(d.object); err != nil {
			return nil, fmt.Errorf("%s: %w", d.position, err)
		}
		now, err := w.client.Apply(o.listen(ctx), d.object, owner)
		if len(o.said) > 0 || len(objects) > 1 && reviewed(d.object) {
			warnings = append(warnings, o)
		}
		if err != nil {
			if message, ok := refused(err); ok {
				applied.Rejected = append(applied.Rejected, placeOf(err, o)+": "+w.names.scenario(message))
				continue
			}
			if apierrors.IsNotFound(err) {
				return nil, &run.UnfitError{Reason: fmt.Sprintf("%s: the cluster does not know the kind %s: its definition has to be installed first", d.position, d.object.GetKind())}
			}
			return nil, fmt.Errorf("%s: %w", d.position, err)
		}
		applied.Objects++
		if o.written != nil {
			w.written[o.written.Kind+"/"+o.written.Namespace+"/"+o.written.Name] = o.written
		}
		w.log.event("apply", "%s", w.names.scenario(kube.Name(d.object)))
		if now.GetNamespace() == w.env.System {
			w.applied = append(w.applied, now)
		}
		if rank(d.object.GetKind()) == 4 {
			workloads = append(workloads, now)
		}
		if made, err := w.deployment(ctx, d.object); err != nil {
			return nil, err
		} else if made != nil {
			gateways = append(gateways, made)
		}
	}
	for _, d := range gateways {
		if err := w.deployed(ctx, d); err != nil {
			return nil, err
		}
	}
	for _, o := range workloads {
		if err := w.rollout(ctx, o); err != nil {
			return nil, err
		}
	}
	if err := w.converge(ctx); err != nil {
		return nil, err
	}
	return applied, w.warn(ctx, applied, warnings, len(objects) > 1)
}

// reviewed tells whether the control plane's webhook sees an object.
func reviewed(u *unstructured.Unstructured) bool {
	group, _, _ := strings.Cut(u.GetAPIVersion(), "/")
	return strings.HasSuffix(group, ".istio.io") || group == gatewayGroup
}

// Delete implements run.World.
func (w *World) Delete(ctx context.Context, refs []spec.Ref, docs []spec.Document) error {
	objects, err := decode(docs)
	if err != nil {
		return err
	}
	for _, r := range refs {
		u, err := w.referred(ctx, r)
		if err != nil {
			return err
		}
		objects = append(objects, document{object: u})
	}
	for _, d := range objects {
		w.prepare(d.object)
		made, err := w.gone(ctx, d.object)
		if err != nil {
			return err
		}
		removed, err := w.client.Delete(ctx, d.object)
		if err != nil {
			return err
		}
		if !removed {
			return fmt.Errorf("there is no %s", w.names.scenario(kube.Name(d.object)))
		}
		w.log.event("delete", "%s", w.names.scenario(kube.Name(d.object)))
		if made != nil {
			if err := w.noPods(ctx, made); err != nil {
				return err
			}
		}
	}
	return w.converge(ctx)
}

// gone is whose Pods go with an object; nil where none do.
func (w *World) gone(ctx context.Context, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if rank(u.GetKind()) == 4 {
		return u, nil
	}
	if !strings.HasPrefix(u.GetAPIVersion(), gatewayGroup+"/") || u.GetKind() != "Gateway" {
		return nil, nil
	}
	now, err := w.client.Get(ctx, kube.Resource(u.GetAPIVersion(), u.GetKind()), u.GetNamespace(), u.GetName())
	if now == nil {
		return nil, err
	}
	return w.deployment(ctx, now)
}

// referred is the object that a scenario names by its kind: of kinds of one name, the one
// that is there.
func (w *World) referred(ctx context.Context, r spec.Ref) (*unstructured.Unstructured, error) {
	var first *unstructured.Unstructured
	for _, version := range apiVersions(r.Kind) {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": version, "kind": r.Kind}}
		u.SetName(r.Name)
		u.SetNamespace(r.Namespace)
		if first == nil {
			first = u.DeepCopy()
		}
		placed := u.DeepCopy()
		w.prepare(placed)
		now, err := w.client.Get(ctx, kube.Resource(version, r.Kind), placed.GetNamespace(), placed.GetName())
		if err != nil {
			return nil, err
		}
		if now != nil {
			return u, nil
		}
	}
	if first == nil {
		return nil, fmt.Errorf("there is no kind %s", r.Kind)
	}
	return first, nil
}

// apiVersions are the preferred versions of the kinds of a name.
func apiVersions(kind string) []string {
	var list []string
	for _, k := range config.Kinds() {
		switch {
		case k.Name != kind || len(k.Versions) == 0:
		case k.Group == "":
			list = append(list, k.Versions[0])
		default:
			list = append(list, k.Group+"/"+k.Versions[0])
		}
	}
	return list
}

// Scale implements run.World.
func (w *World) Scale(ctx context.Context, workload string, replicas int) error {
	o, err := w.controller(ctx, workload)
	if err != nil {
		return err
	}
	w.log.event("scale", "%s to %d", workload, replicas)
	if err := w.scale(ctx, o, replicas); err != nil {
		return err
	}
	return w.converge(ctx)
}

func (w *World) scale(ctx context.Context, o *unstructured.Unstructured, replicas int) error {
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	if err := w.client.Merge(ctx, o.GetAPIVersion(), o.GetKind(), o.GetNamespace(), o.GetName(), patch, ""); err != nil {
		return err
	}
	return w.rollout(ctx, o)
}

// controller finds the object that has a workload's Pods, of which there may be none.
func (w *World) controller(ctx context.Context, name string) (*unstructured.Unstructured, error) {
	var found []*unstructured.Unstructured
	asked := w.names.workload(name)
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet"} {
		list, err := w.client.List(ctx, kube.Resource("apps/v1", kind), "", "")
		if err != nil {
			return nil, err
		}
		for i := range list {
			list[i].SetAPIVersion("apps/v1")
			list[i].SetKind(kind)
			u := &list[i]
			if !w.mine(u.GetNamespace()) && u.GetNamespace() != w.env.System {
				continue
			}
			p := &pod{workload: u.GetName()}
			p.Pod = emptyPod(u.GetNamespace())
			if means(asked, p) {
				found = append(found, u)
			}
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%d workloads are called %q", len(found), name)
	}
	return found[0], nil
}
