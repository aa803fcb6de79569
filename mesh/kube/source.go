package kube

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// SourceOptions for NewSource.
type SourceOptions struct {
	Logger *slog.Logger
	// OnDiagnostics gets what is wrong with an object each time that it is read and
	// something is: an object with an error keeps what it had when it was last without.
	OnDiagnostics func([]config.Diagnostic)
}

// Source is a store.Source that holds what the control plane reads of a cluster.
//
// Kubernetes' own kinds are there from the start. The custom kinds follow their
// definitions: where a CustomResourceDefinition appears, its objects are read from
// then on; where it goes, they are gone.
type Source struct {
	*store.Memory
	client *Client
	o      SourceOptions

	mu      sync.Mutex
	custom  map[string]custom // by the definition's name
	pending int               // sinks that have not heard of everything yet
	synced  chan struct{}
}

// custom is a custom kind that is being read.
type custom struct {
	version string
	stop    context.CancelFunc
	sink    *kindSink
}

// NewSource reads a cluster, and follows it until the context ends.
func NewSource(ctx context.Context, c *Client, o SourceOptions) *Source {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Source{Memory: store.NewMemory(store.MemoryOptions{}), client: c, o: o,
		custom: make(map[string]custom), synced: make(chan struct{}), pending: 1} // 1: the definitions
	for _, k := range core {
		s.pending++
		go c.reflect(ctx, selection{resource: k.Resource(k.Versions[0]), fields: k.fields}, s.sink(k), o.Logger)
	}
	go c.reflect(ctx, selection{resource: definitions}, &definitionSink{ctx: ctx, s: s, kinds: customKinds()}, o.Logger)
	return s
}

func customKinds() map[string]Kind {
	kinds := make(map[string]Kind)
	for _, k := range Kinds() {
		if k.Custom {
			kinds[k.Plural()+"."+k.Group] = k
		}
	}
	return kinds
}

// Synced is closed when everything that was there at the start has been read.
func (s *Source) Synced() <-chan struct{} { return s.synced }

// done tells that one sink has heard of everything.
func (s *Source) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending--; s.pending == 0 {
		close(s.synced)
	}
}

// kindSink puts the objects of one kind into the source.
type kindSink struct {
	s *Source

	mu   sync.Mutex
	kind Kind
	// keys are the objects that are there, also those that never were without error.
	keys   map[config.Key]bool
	synced bool
	gone   bool // the kind is no longer read
}

func (s *Source) sink(k Kind) *kindSink {
	return &kindSink{s: s, kind: k, keys: make(map[config.Key]bool)}
}

func (k *kindSink) replace(all []*unstructured.Unstructured) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone {
		return
	}
	var apply []*config.Object
	now := make(map[config.Key]bool, len(all))
	for _, u := range all {
		now[k.key(u)] = true
		if o := k.decode(u); o != nil {
			apply = append(apply, o)
		}
	}
	var remove []config.Key
	for key := range k.keys {
		if !now[key] {
			remove = append(remove, key)
		}
	}
	k.keys = now
	k.s.Update(apply, remove)
	k.complete()
}

// complete tells the source once that the sink has heard of everything.
func (k *kindSink) complete() {
	if !k.synced {
		k.synced = true
		k.s.done()
	}
}

func (k *kindSink) put(u *unstructured.Unstructured) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone {
		return
	}
	k.keys[k.key(u)] = true
	if o := k.decode(u); o != nil {
		k.s.Apply(o)
	}
}

func (k *kindSink) drop(u *unstructured.Unstructured) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.gone {
		delete(k.keys, k.key(u))
		k.s.Delete(k.key(u))
	}
}

// end removes all that the sink has brought.
func (k *kindSink) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gone = true
	var remove []config.Key
	for key := range k.keys {
		remove = append(remove, key)
	}
	k.s.Update(nil, remove)
	k.complete()
}

func (k *kindSink) key(u *unstructured.Unstructured) config.Key {
	return config.Key{Group: k.kind.Group, Kind: k.kind.Name, Namespace: u.GetNamespace(), Name: u.GetName()}
}

// decode makes an object of what the API server has; nil where it has an error.
func (k *kindSink) decode(u *unstructured.Unstructured) *config.Object {
	o, findings := decode(k.kind, u)
	if len(findings) > 0 && k.s.o.OnDiagnostics != nil {
		k.s.o.OnDiagnostics(findings)
	}
	return o
}

// decode reads an object. Kubernetes' own kinds are believed: the API server has
// checked them, and fields that a newer one has do not concern us. The custom kinds
// are read as strictly as files, from the YAML that somebody could have written:
// their definitions may let anything through.
func decode(k Kind, u *unstructured.Unstructured) (*config.Object, []config.Diagnostic) {
	if !k.Custom {
		o, err := believe(k, u)
		if err != nil {
			key := config.Key{Group: k.Group, Kind: k.Name, Namespace: u.GetNamespace(), Name: u.GetName()}
			return nil, []config.Diagnostic{{Severity: config.Error, Code: config.CodeFormat, Object: key, Message: fmt.Sprintf("%s: %v", key, err)}}
		}
		return o, nil
	}
	text, err := document(u)
	key := config.Key{Group: k.Group, Kind: k.Name, Namespace: u.GetNamespace(), Name: u.GetName()}
	if err != nil {
		return nil, []config.Diagnostic{{Severity: config.Error, Code: config.CodeFormat, Object: key, Message: fmt.Sprintf("%s: %v", key, err)}}
	}
	name := k.Name + "/" + u.GetNamespace() + "/" + u.GetName()
	if k.Cluster {
		name = k.Name + "/" + u.GetName()
	}
	objects, findings := config.Decode(name, 1, text)
	findings = slices.DeleteFunc(findings, func(d config.Diagnostic) bool { return d.Severity == config.Info })
	if len(objects) != 1 {
		return nil, findings
	}
	o := *objects[0]
	o.Created = u.GetCreationTimestamp().Time
	return &o, findings
}

// Read reads an object of a kind that the control plane reads, as it does: with the
// places that it writes into its answers.
func Read(u *unstructured.Unstructured) (*config.Object, bool) {
	group := u.GroupVersionKind().Group
	for _, k := range Kinds() {
		if k.Group == group && k.Name == u.GetKind() {
			o, _ := decode(k, u)
			return o, o != nil
		}
	}
	return nil, false
}

func believe(k Kind, u *unstructured.Unstructured) (*config.Object, error) {
	value := config.New(k.Group, k.Name)
	if value == nil {
		return nil, fmt.Errorf("kind %s is not known", k.Name)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, value); err != nil {
		return nil, err
	}
	meta, ok := value.(metav1.Object)
	if !ok {
		return nil, fmt.Errorf("%T is no object", value)
	}
	// What changes with every write, or is bookkeeping, is not kept: an object that
	// says the same as before is no change.
	meta.SetManagedFields(nil)
	meta.SetResourceVersion("")
	meta.SetGeneration(0)
	if annotations := meta.GetAnnotations(); annotations[corev1.LastAppliedConfigAnnotation] != "" {
		delete(annotations, corev1.LastAppliedConfigAnnotation)
		meta.SetAnnotations(annotations)
	}
	if node, ok := value.(*corev1.Node); ok {
		// Of Nodes, where they are is all that matters; their status changes all the time.
		value = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node.Name, Labels: node.Labels, CreationTimestamp: node.CreationTimestamp}}
	}
	return &config.Object{Kind: k.Name, Group: k.Group, Version: k.Versions[0], Namespace: u.GetNamespace(), Name: u.GetName(),
		Created: u.GetCreationTimestamp().Time, Value: value}, nil
}

// document writes an object as the YAML that somebody could have written.
func document(u *unstructured.Unstructured) ([]byte, error) {
	plain := u.DeepCopy()
	unstructured.RemoveNestedField(plain.Object, "status")
	for _, field := range []string{"managedFields", "resourceVersion", "uid", "generation", "selfLink", "finalizers"} {
		unstructured.RemoveNestedField(plain.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(plain.Object, "metadata", "annotations", corev1.LastAppliedConfigAnnotation)
	return yaml.Marshal(plain.Object)
}
