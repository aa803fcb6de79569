package build

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// setField is a field that is set, with its place.
type setField struct {
	path string
	json string
	verdict
}

// walker finds the fields of values that are not simply supported.
type walker struct {
	*surface
	found []setField
}

// surface is what there is to know about types: the verdicts, and the fields of each
// shape once it has been seen. It is the same for all walkers, and costs more to put
// together than most objects to walk.
type surface struct {
	table  supportTable
	shapes sync.Map // []shapeField by shape
}

var wholeSurface = sync.OnceValue(func() *surface { return &surface{table: newSupportTable()} })

func newWalker() *walker { return &walker{surface: wholeSurface()} }

// object walks an object and returns what it found.
func (w *walker) object(value any) []setField {
	w.found = nil
	if s := shapeOf(reflect.TypeOf(value)); s.structure != nil {
		w.structure(s, reflect.ValueOf(value).Elem(), "")
	}
	return w.found
}

// meshConfig walks what a mesh configuration changes of a default.
func (w *walker) meshConfig(c, defaults proto.Message) []setField {
	w.found = nil
	w.message(c.ProtoReflect(), defaults.ProtoReflect(), "meshConfig")
	return w.found
}

func (w *walker) fields(s shape) []shapeField {
	if list, ok := w.shapes.Load(s); ok {
		return list.([]shapeField)
	}
	list := s.fields()
	w.shapes.Store(s, list)
	return list
}

// enter notes a field that is set, and reports whether there is more to see below it.
func (w *walker) enter(f shapeField, path string) bool {
	v := w.table[f.name]
	if v.support != Supported {
		w.found = append(w.found, setField{path, f.json, v})
		return false
	}
	return !f.below.scalar()
}

func below(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (w *walker) structure(s shape, v reflect.Value, path string) {
	for _, f := range w.fields(s) {
		value := v.FieldByIndex(f.index)
		if value.IsZero() {
			continue
		}
		at := below(path, f.json)
		if w.enter(f, at) {
			w.value(f.below, value, at)
		}
	}
}

// value walks what a field of a Go struct has.
func (w *walker) value(s shape, v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Pointer:
		w.value(s, v.Elem(), path)
	case reflect.Slice:
		for i := range v.Len() {
			w.value(s, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	case reflect.Map:
		panic(fmt.Sprintf("%s: a map of structs", path)) // no supported field has one; the table's test sees to it
	case reflect.Struct:
		if s.message == nil {
			w.structure(s, v, path)
		} else if v.CanAddr() {
			w.message(v.Addr().Interface().(proto.Message).ProtoReflect(), nil, path)
		}
	}
}

// message walks a message; what is as in the defaults (which may be nil) is passed over.
func (w *walker) message(m, defaults protoreflect.Message, path string) {
	for _, f := range w.fields(shapeOfMessage(m.Descriptor())) {
		if !m.Has(f.proto) {
			continue
		}
		value := m.Get(f.proto)
		if defaults != nil && defaults.Has(f.proto) && value.Equal(defaults.Get(f.proto)) {
			continue
		}
		at := path + "." + f.json
		if !w.enter(f, at) {
			continue
		}
		switch {
		case f.proto.IsList():
			w.list(value.List(), defaults, f.proto, at)
		case f.proto.IsMap():
			w.entries(value.Map(), at)
		default:
			var d protoreflect.Message
			if defaults != nil && defaults.Has(f.proto) {
				d = defaults.Get(f.proto).Message()
			}
			w.message(value.Message(), d, at)
		}
	}
}

// list walks the messages of a list; those that the defaults have are passed over.
func (w *walker) list(list protoreflect.List, defaults protoreflect.Message, f protoreflect.FieldDescriptor, path string) {
	for i := range list.Len() {
		if defaults == nil || !has(defaults.Get(f).List(), list.Get(i)) {
			w.message(list.Get(i).Message(), nil, fmt.Sprintf("%s[%d]", path, i))
		}
	}
}

// entries walks the messages of a map, in the order of their keys.
func (w *walker) entries(m protoreflect.Map, path string) {
	values := map[string]protoreflect.Value{}
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		values[k.String()] = v
		return true
	})
	for _, k := range slices.Sorted(maps.Keys(values)) {
		w.message(values[k].Message(), nil, below(path, k))
	}
}

func has(list protoreflect.List, v protoreflect.Value) bool {
	for i := range list.Len() {
		if list.Get(i).Equal(v) {
			return true
		}
	}
	return false
}

// unsupportedFields reports the fields of all objects that have no effect, or are refused.
func (b *builder) unsupportedFields() {
	w := newWalker()
	for _, k := range config.Kinds() {
		name := (&config.Object{Kind: k.Name, Group: k.Group}).StoreKind()
		if k.Value == nil || isRefusedKind(name) {
			continue
		}
		for _, o := range b.view.Of(name) {
			if o.Group == k.Group && !made(o) {
				b.reportFields(o, w.object(o.Value))
			}
		}
	}
	for _, f := range w.meshConfig(b.options.MeshConfig, config.DefaultMeshConfig()) {
		if s := f.severity(); s != config.Info {
			d := meshDiagnostic(f.path, " "+f.message())
			d.Severity, d.Code = s, f.code()
			b.found = append(b.found, d)
		}
	}
}

// made reports whether a controller made the object, or it is a Pod of a cluster, where
// Kubernetes has filled in fields and runs it: who made it answers for it.
func made(o *config.Object) bool {
	if o.Position().Line == 0 && (o.Kind == "EndpointSlice" || o.Kind == "Pod") {
		return true
	}
	pod, ok := o.Value.(*corev1.Pod)
	return ok && metav1.GetControllerOf(pod) != nil
}

// reportFields reports what was found in an object. Of an object that is in no file only
// what is refused: nobody could do anything about the rest.
func (b *builder) reportFields(o *config.Object, found []setField) {
	var elsewhere []setField
	for _, f := range found {
		if o.Position().Line == 0 && f.severity() != config.Error {
			continue
		}
		if f.support == Elsewhere {
			elsewhere = append(elsewhere, f)
			continue
		}
		b.report(o, f.severity(), f.code(), f.path, f.json+" "+f.message(), "")
	}
	if len(elsewhere) == 0 {
		return
	}
	var paths []string
	for _, f := range elsewhere {
		paths = append(paths, f.path)
	}
	b.report(o, config.Info, config.CodeIgnoredFields, elsewhere[0].path, "not about requests, so without effect here: "+strings.Join(paths, ", "), "")
}

func (f setField) severity() config.Severity {
	switch f.support {
	case Elsewhere:
		return config.Info
	case Ineffective:
		return config.Warning
	default:
		return config.Error
	}
}

func (f setField) code() string {
	if f.severity() == config.Error {
		return CodeUnsupported
	}
	return config.CodeIgnoredFields
}

// message is what is wrong with the field, after its name.
func (f setField) message() string {
	switch {
	case f.support == Ineffective:
		return "has no effect here: " + f.why
	case f.why == "":
		return "is not supported yet"
	default:
		return "is not supported yet: " + f.why
	}
}
