package kube

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// sink takes the objects of one kind as a reflector tells of them: first all, then
// each change.
type sink interface {
	replace(all []*unstructured.Unstructured)
	put(*unstructured.Unstructured)
	drop(*unstructured.Unstructured)
}

// selection is what of a resource is watched.
type selection struct {
	resource  schema.GroupVersionResource
	namespace string // "": all
	fields    string
}

// reflect feeds a sink until the context ends. Lost connections, expired watches and
// refusals are tried again, with growing pauses; the logger hears of them.
func (c *Client) reflect(ctx context.Context, what selection, to sink, logger *slog.Logger) {
	client := c.dynamic.Resource(what.resource).Namespace(what.namespace)
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = what.fields
			return client.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = what.fields
			return client.Watch(ctx, o)
		},
	}
	log := klog.Logger(logr.FromSlogHandler(logger.With("resource", what.resource.GroupResource().String()).Handler()))
	// A fake API server has no streaming lists; it says so.
	r := cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(lw, c.dynamic), &unstructured.Unstructured{}, adapter{to},
		cache.ReflectorOptions{Name: what.resource.Resource, TypeDescription: what.resource.String(), Logger: &log})
	r.RunWithContext(klog.NewContext(ctx, log))
}

// adapter makes a sink what client-go's reflector wants.
type adapter struct{ to sink }

var _ cache.ReflectorStore = adapter{}

func (a adapter) Add(o any) error    { return with(o, a.to.put) }
func (a adapter) Update(o any) error { return with(o, a.to.put) }
func (a adapter) Delete(o any) error { return with(o, a.to.drop) }
func (a adapter) Resync() error      { return nil }

func (a adapter) Replace(list []any, _ string) error {
	all := make([]*unstructured.Unstructured, 0, len(list))
	for _, o := range list {
		if err := with(o, func(u *unstructured.Unstructured) { all = append(all, u) }); err != nil {
			return err
		}
	}
	a.to.replace(all)
	return nil
}

func with(o any, f func(*unstructured.Unstructured)) error {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("expected an object, got %T", o)
	}
	f(u)
	return nil
}

// Mirror is a copy of some objects of a cluster that follows them.
type Mirror struct {
	mu      sync.Mutex
	objects map[string]*unstructured.Unstructured // by namespace/name
	synced  bool
	changed chan struct{}
}

// Watch mirrors a resource, or what a field selector leaves of it, until the context
// ends.
func (c *Client) Watch(ctx context.Context, resource schema.GroupVersionResource, namespace, fields string, logger *slog.Logger) *Mirror {
	m := &Mirror{objects: make(map[string]*unstructured.Unstructured), changed: make(chan struct{})}
	go c.reflect(ctx, selection{resource, namespace, fields}, m, logger)
	return m
}

// Get returns an object, or nil. Objects must not be changed.
func (m *Mirror) Get(namespace, name string) *unstructured.Unstructured {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.objects[namespace+"/"+name]
}

// State returns all objects, sorted by namespace and name, whether they are all that
// there are, and a channel that is closed when they change.
func (m *Mirror) State() (all []*unstructured.Unstructured, synced bool, changed <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all = slices.SortedFunc(maps.Values(m.objects), func(a, b *unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return all, m.synced, m.changed
}

func (m *Mirror) edit(f func()) {
	m.mu.Lock()
	f()
	announce := m.changed
	m.changed = make(chan struct{})
	m.mu.Unlock()
	close(announce)
}

func place(u *unstructured.Unstructured) string { return u.GetNamespace() + "/" + u.GetName() }

func (m *Mirror) replace(all []*unstructured.Unstructured) {
	m.edit(func() {
		m.synced = true
		clear(m.objects)
		for _, u := range all {
			m.objects[place(u)] = u
		}
	})
}

func (m *Mirror) put(u *unstructured.Unstructured) { m.edit(func() { m.objects[place(u)] = u }) }

func (m *Mirror) drop(u *unstructured.Unstructured) { m.edit(func() { delete(m.objects, place(u)) }) }

// Follow calls f at once and after every change of the mirrors, and tries again after
// a pause where f fails, until the context ends. It waits until every mirror has
// everything.
func Follow(ctx context.Context, pause time.Duration, f func(context.Context) error, failed func(error), mirrors ...*Mirror) {
	for ctx.Err() == nil {
		ready, wake := true, make(chan struct{}, len(mirrors))
		round, stop := context.WithCancel(ctx)
		for _, m := range mirrors {
			_, synced, changed := m.State()
			ready = ready && synced
			go func() {
				select {
				case <-changed:
					wake <- struct{}{}
				case <-round.Done():
				}
			}()
		}
		var retry <-chan time.Time
		if ready {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				failed(err)
				retry = time.After(pause)
			}
		}
		select {
		case <-wake:
		case <-retry:
		case <-ctx.Done():
		}
		stop()
	}
}
