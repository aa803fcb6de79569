package world

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// Apply implements run.World. What cannot be read, or what the control plane's
// validation refuses, is rejected as the API server would; the rest is applied.
func (w *World) Apply(ctx context.Context, docs []spec.Document) (*run.Applied, error) {
	leave, err := w.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	applied := &run.Applied{}
	var objects []*config.Object
	for _, d := range docs {
		decoded, findings := config.Decode(d.File, d.Line, d.Text)
		for _, f := range findings {
			sortInto(applied, f)
		}
		objects = append(objects, decoded...)
	}
	for _, f := range w.meshd.Check(w.store.View(), objects) {
		if f.Severity == config.Error {
			objects = slices.DeleteFunc(objects, func(o *config.Object) bool { return o.Key() == f.Object })
		}
		sortInto(applied, f)
	}
	for _, f := range slices.Concat(w.checkCanaries(objects), w.cluster.Uninjectable(objects)) {
		objects = slices.DeleteFunc(objects, func(o *config.Object) bool { return o.Key() == f.Object })
		sortInto(applied, f)
	}
	objects, refused := immutable(w.cluster.Object, objects)
	for _, f := range refused {
		sortInto(applied, f)
	}
	applied.Objects = len(objects)
	for _, o := range objects {
		w.log.event("apply", "", o.Key().String())
	}
	if err := w.cluster.Apply(ctx, objects); err != nil {
		return nil, err
	}
	w.noteStalled(&applied.Warnings)
	w.updateCanaries()
	w.late = ""
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	if w.late != "" {
		applied.Warnings = append(applied.Warnings, w.late)
	}
	return applied, nil
}

// sortInto sorts a finding into warnings and refusals.
func sortInto(a *run.Applied, f config.Diagnostic) {
	var text bytes.Buffer
	config.Print(&text, []config.Diagnostic{f})
	switch f.Severity {
	case config.Error:
		a.Rejected = append(a.Rejected, text.String())
	case config.Warning:
		a.Warnings = append(a.Warnings, text.String())
	}
}

// Delete implements run.World.
func (w *World) Delete(ctx context.Context, refs []spec.Ref, docs []spec.Document) error {
	leave, err := w.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	var keys []config.Key
	for _, d := range docs {
		objects, findings := config.Decode(d.File, d.Line, d.Text)
		for _, f := range findings {
			if f.Severity == config.Error {
				return fmt.Errorf("%s: %s", f.Position, f.Message)
			}
		}
		for _, o := range objects {
			keys = append(keys, o.Key())
		}
	}
	for _, r := range refs {
		k, err := w.find(r)
		if err != nil {
			return err
		}
		keys = append(keys, k)
	}
	return w.remove(ctx, keys)
}

// remove deletes objects that are there.
func (w *World) remove(ctx context.Context, keys []config.Key) error {
	for _, k := range keys {
		w.log.event("delete", "", k.String())
	}
	if err := w.cluster.Delete(ctx, keys); err != nil {
		return err
	}
	if err := w.collect(ctx, w.updateCanaries()); err != nil {
		return err
	}
	return w.settle(ctx)
}

// find returns the key of the object that a scenario names by kind and name.
func (w *World) find(r spec.Ref) (config.Key, error) {
	namespace := r.Namespace
	if namespace == "" {
		namespace = "default"
	}
	for _, k := range w.cluster.Keys() {
		if k.Kind == r.Kind && k.Name == r.Name && (k.Namespace == namespace || k.Namespace == "") {
			return k, nil
		}
	}
	return config.Key{}, fmt.Errorf("there is no %s", config.Key{Kind: r.Kind, Namespace: namespace, Name: r.Name})
}

// Scale implements run.World.
func (w *World) Scale(ctx context.Context, workload string, replicas int) error {
	leave, err := w.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	k, err := w.workload(workload)
	if err != nil {
		return err
	}
	w.log.event("scale", workload, fmt.Sprintf("to %d", replicas))
	if err := w.cluster.Scale(ctx, k, replicas); err != nil {
		return err
	}
	w.noteStalled(nil)
	return w.settle(ctx)
}
