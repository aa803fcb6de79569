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
	var workloads []*unstructured.Unstructured
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
		if len(o.said) > 0 {
			warnings = append(warnings, o)
		}
		if err != nil {
			if message, ok := refused(err); ok {
				applied.Rejected = append(applied.Rejected, d.position+": "+w.names.scenario(message))
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

// Delete implements run.World.
func (w *World) Delete(ctx context.Context, refs []spec.Ref, docs []spec.Document) error {
	objects, err := decode(docs)
	if err != nil {
		return err
	}
	for _, r := range refs {
		version, ok := apiVersion(r.Kind)
		if !ok {
			return fmt.Errorf("there is no kind %s", r.Kind)
		}
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": version, "kind": r.Kind}}
		u.SetName(r.Name)
		u.SetNamespace(r.Namespace)
		objects = append(objects, document{object: u})
	}
	for _, d := range objects {
		w.prepare(d.object)
		removed, err := w.client.Delete(ctx, d.object)
		if err != nil {
			return err
		}
		if !removed {
			return fmt.Errorf("there is no %s", w.names.scenario(kube.Name(d.object)))
		}
		w.log.event("delete", "%s", w.names.scenario(kube.Name(d.object)))
		if rank(d.object.GetKind()) == 4 {
			if err := w.noPods(ctx, d.object); err != nil {
				return err
			}
		}
	}
	return w.converge(ctx)
}

// apiVersion is the preferred version of a kind.
func apiVersion(kind string) (string, bool) {
	for _, k := range config.Kinds() {
		if k.Name != kind || len(k.Versions) == 0 {
			continue
		}
		if k.Group == "" {
			return k.Versions[0], true
		}
		return k.Group + "/" + k.Versions[0], true
	}
	return "", false
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
