package store

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// MemoryOptions for NewMemory.
type MemoryOptions struct {
	// Now tells when an object was created that does not say so itself; time.Now
	// where it is nil. No two objects get the same time: each is at least a
	// nanosecond after the one before, in the order in which they were applied.
	Now func() time.Time
}

// Memory is a Source that holds what it is told to hold. Its methods may be called by
// several goroutines.
type Memory struct {
	now    func() time.Time
	closed chan struct{} // what Changed returns where there is already a newer View

	mu      sync.Mutex
	view    *View
	changed chan struct{} // closed when view is replaced
	created time.Time     // the latest time given out
}

// NewMemory returns an empty Memory. Its first View has revision 0.
func NewMemory(o MemoryOptions) *Memory {
	m := &Memory{now: o.Now, closed: make(chan struct{}), changed: make(chan struct{}), view: &View{}}
	if m.now == nil {
		m.now = time.Now
	}
	close(m.closed)
	return m
}

// NewView returns a View of some objects. Of several with one key the last counts. An
// object without a time of its own is newer than all that have one, and than those
// before it.
func NewView(objects ...*config.Object) *View {
	newest := time.Unix(0, 0).UTC()
	for _, o := range objects {
		if o.Created.After(newest) {
			newest = o.Created
		}
	}
	m := NewMemory(MemoryOptions{Now: func() time.Time { return newest.Add(time.Nanosecond) }})
	return m.Update(objects, nil)
}

// Apply adds or replaces objects.
func (m *Memory) Apply(objects ...*config.Object) *View { return m.Update(objects, nil) }

// Delete removes objects. A key that is not there is ignored.
func (m *Memory) Delete(keys ...config.Key) *View { return m.Update(nil, keys) }

// Update removes and applies objects in one step and returns the View after it: no
// View has one without the other. A key that is both removed and applied is applied.
// An object that equals the one that is there changes nothing, and where nothing
// changes, there is no new revision.
//
// An object keeps the time of its creation when it is replaced. Objects are not
// changed: one that needs a time is copied.
func (m *Memory) Update(apply []*config.Object, remove []config.Key) *View {
	return m.update(apply, remove, equal)
}

func (m *Memory) update(apply []*config.Object, remove []config.Key, same func(a, b *config.Object) bool) *View {
	m.mu.Lock()
	next := m.next(apply, remove, same)
	if next == m.view {
		m.mu.Unlock()
		return next
	}
	announce := m.changed
	m.view, m.changed = next, make(chan struct{})
	m.mu.Unlock()
	close(announce)
	return next
}

// next is the View after an update; the current one where nothing changes.
func (m *Memory) next(apply []*config.Object, remove []config.Key, same func(a, b *config.Object) bool) *View {
	e := edit{view: m.view}
	applied := make(map[config.Key]bool, len(apply))
	for _, o := range apply {
		applied[o.Key()] = true
	}
	for _, k := range remove {
		if !applied[k] {
			e.remove(k)
		}
	}
	for _, o := range apply {
		old := e.get(o)
		if old != nil && (old == o || same(old, o)) {
			continue
		}
		e.put(m.dated(o, old))
	}
	return e.done()
}

// dated is the object with the time of its creation.
func (m *Memory) dated(o, old *config.Object) *config.Object {
	created := o.Created
	switch {
	case old != nil:
		created = old.Created
	case created.IsZero():
		created = m.now()
		if !created.After(m.created) {
			created = m.created.Add(time.Nanosecond)
		}
		m.created = created
	}
	if created.Equal(o.Created) {
		return o
	}
	copied := *o
	copied.Created = created
	return &copied
}

// View implements Source.
func (m *Memory) View() *View {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.view
}

// Changed implements Source. A nil View is older than any.
func (m *Memory) Changed(since *View) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if since == nil || since.Revision < m.view.Revision {
		return m.closed
	}
	return m.changed
}

// edit makes a View of another. Kinds that do not change share their slices.
type edit struct {
	view    *View
	objects map[string][]*config.Object // nil as long as nothing has changed
	copied  map[string]bool
}

func (e *edit) list(kind string) []*config.Object {
	if e.objects == nil {
		return e.view.objects[kind]
	}
	return e.objects[kind]
}

// own returns a kind's objects for changing.
func (e *edit) own(kind string) []*config.Object {
	if e.objects == nil {
		e.copied = make(map[string]bool)
		e.objects = make(map[string][]*config.Object, len(e.view.objects)+1)
		for k, list := range e.view.objects {
			e.objects[k] = list
		}
	}
	if !e.copied[kind] {
		e.copied[kind] = true
		e.objects[kind] = slices.Clone(e.objects[kind])
	}
	return e.objects[kind]
}

func (e *edit) get(o *config.Object) *config.Object {
	list := e.list(o.StoreKind())
	if i, ok := search(list, o.Namespace, o.Name); ok && list[i].Group == o.Group {
		return list[i]
	}
	return nil
}

func (e *edit) put(o *config.Object) {
	kind := o.StoreKind()
	list := e.own(kind)
	i, ok := search(list, o.Namespace, o.Name)
	if ok {
		list[i] = o
		return
	}
	e.objects[kind] = slices.Insert(list, i, o)
}

func (e *edit) remove(k config.Key) {
	kind := (&config.Object{Kind: k.Kind, Group: k.Group}).StoreKind()
	i, ok := search(e.list(kind), k.Namespace, k.Name)
	if !ok {
		return
	}
	list := slices.Delete(e.own(kind), i, i+1)
	if e.objects[kind] = list; len(list) == 0 {
		delete(e.objects, kind)
		delete(e.copied, kind)
	}
}

func (e *edit) done() *View {
	if e.objects == nil {
		return e.view
	}
	return &View{Revision: e.view.Revision + 1, objects: e.objects}
}

// search finds an object, or where it belongs, in a list sorted by namespace and name.
func search(list []*config.Object, namespace, name string) (int, bool) {
	return slices.BinarySearchFunc(list, config.Key{Namespace: namespace, Name: name}, func(o *config.Object, k config.Key) int {
		return cmp.Or(cmp.Compare(o.Namespace, k.Namespace), cmp.Compare(o.Name, k.Name))
	})
}
