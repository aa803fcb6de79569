package kube

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// definitionSink starts and ends the reading of custom kinds as their definitions
// come and go.
type definitionSink struct {
	ctx    context.Context
	s      *Source
	kinds  map[string]Kind // by the definition's name
	synced bool
}

func (d *definitionSink) replace(all []*unstructured.Unstructured) {
	there := make(map[string]bool, len(all))
	for _, u := range all {
		there[u.GetName()] = true
		d.put(u)
	}
	for name := range d.kinds {
		if !there[name] {
			d.end(name)
		}
	}
	if !d.synced {
		d.synced = true
		d.s.done()
	}
}

func (d *definitionSink) drop(u *unstructured.Unstructured) { d.end(u.GetName()) }

func (d *definitionSink) put(u *unstructured.Unstructured) {
	k, ok := d.kinds[u.GetName()]
	if !ok {
		return
	}
	version := served(k, u)
	d.s.mu.Lock()
	now, running := d.s.custom[u.GetName()]
	d.s.mu.Unlock()
	if running && now.version == version {
		return
	}
	d.end(u.GetName())
	if version != "" {
		d.begin(u.GetName(), k, version)
	}
}

func (d *definitionSink) begin(name string, k Kind, version string) {
	sink := d.s.sink(k)
	ctx, stop := context.WithCancel(d.ctx)
	d.s.mu.Lock()
	d.s.custom[name] = custom{version, stop, sink}
	if d.synced {
		sink.synced = true // who waits for the start does not wait for what came later
	} else {
		d.s.pending++
	}
	d.s.mu.Unlock()
	go d.s.client.reflect(ctx, selection{resource: k.Resource(version)}, sink, d.s.o.Logger)
}

func (d *definitionSink) end(name string) {
	d.s.mu.Lock()
	now, running := d.s.custom[name]
	delete(d.s.custom, name)
	d.s.mu.Unlock()
	if running {
		now.stop()
		now.sink.end()
	}
}

// served is the version in which a kind can be read; "" where there is none, or the
// definition is not established yet.
func served(k Kind, u *unstructured.Unstructured) string {
	if !Condition(u, "Established") {
		return ""
	}
	versions, _, _ := unstructured.NestedSlice(u.Object, "spec", "versions")
	var names []string
	for _, v := range versions {
		if m, ok := v.(map[string]any); ok && m["served"] == true {
			if name, ok := m["name"].(string); ok {
				names = append(names, name)
			}
		}
	}
	for _, v := range k.Versions {
		if slices.Contains(names, v) {
			return v
		}
	}
	return ""
}

// Condition tells whether a condition of an object's status is true.
func Condition(u *unstructured.Unstructured, kind string) bool {
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range list {
		if m, ok := c.(map[string]any); ok && m["type"] == kind {
			return m["status"] == "True"
		}
	}
	return false
}
