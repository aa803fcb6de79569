package build

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Support says what becomes of a field that somebody sets.
type Support uint8

// What may become of a field. The zero value is for fields that the table does not
// name; they are refused, too.
const (
	Unlisted    Support = iota // refused: the table does not know it
	Refused                    // refused by name, as an error
	Supported                  // has its documented effect
	Ineffective                // accepted with a warning: would have an effect in a real cluster
	Elsewhere                  // accepted: is not about requests (machines, storage, what a cluster writes)
)

// String is the word that the documentation has for it.
func (s Support) String() string {
	return [...]string{"refused", "refused", "supported", "no effect", "not about requests"}[s]
}

// verdict is what the table says of one field.
type verdict struct {
	support Support
	why     string
}

// supportTable has the verdict about every "Message.field".
type supportTable map[string]verdict

// newSupportTable puts the parts of the table together.
func newSupportTable() supportTable {
	t := supportTable{}
	for _, m := range supportedFields {
		for name := range strings.FieldsSeq(m.fields) {
			t[m.message+"."+name] = verdict{support: Supported}
		}
	}
	for _, f := range partlySupported {
		t[f.name] = verdict{Supported, f.why}
	}
	for _, m := range elsewhereFields {
		for name := range strings.FieldsSeq(m.fields) {
			t[m.message+"."+name] = verdict{Elsewhere, m.why}
		}
	}
	for _, f := range ineffectiveFields {
		t[f.name] = verdict{Ineffective, f.why}
	}
	for _, f := range refusedFields {
		t[f.name] = verdict{Refused, f.why}
	}
	return t
}

// shapeField is a field of a Go struct or of a message.
type shapeField struct {
	name  string // "ServiceSpec.sessionAffinity", "TrafficPolicy.tunnel"
	json  string // as people write it
	index []int  // of a Go struct
	proto protoreflect.FieldDescriptor
	below shape // of what the field has: one, or the items of a list or map; zero for scalars
}

// shape is the type of an object or of a part of it: a Go struct or a message.
type shape struct {
	structure reflect.Type
	message   protoreflect.MessageDescriptor
}

func (s shape) scalar() bool { return s.structure == nil && s.message == nil }

func (s shape) name() string {
	if s.message != nil {
		return strings.TrimPrefix(string(s.message.FullName()), string(s.message.ParentFile().Package())+".")
	}
	return s.structure.Name()
}

var (
	protoMessage    = reflect.TypeFor[proto.Message]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
)

// shapeOf is the shape of the values of a Go type, the items of lists and maps.
func shapeOf(t reflect.Type) shape {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	pointer := reflect.PointerTo(t)
	switch {
	case t.Kind() != reflect.Struct:
		return shape{}
	case pointer.Implements(protoMessage):
		return shapeOfMessage(reflect.New(t).Interface().(proto.Message).ProtoReflect().Descriptor())
	case pointer.Implements(jsonUnmarshaler): // times, quantities, ports: scalars as people write them
		return shape{}
	}
	return shape{structure: t}
}

// shapeOfMessage is a message's shape. Protobuf's own types are scalars as people write them.
func shapeOfMessage(m protoreflect.MessageDescriptor) shape {
	if m == nil || strings.HasPrefix(string(m.FullName()), "google.protobuf.") {
		return shape{}
	}
	return shape{message: m}
}

// fields lists what can be set.
func (s shape) fields() []shapeField {
	if s.message != nil {
		return messageFields(s)
	}
	return structFields(s.structure, s.structure.Name(), nil)
}

func messageFields(s shape) []shapeField {
	var list []shapeField
	for i := range s.message.Fields().Len() {
		f := s.message.Fields().Get(i)
		below := f.Message()
		if f.IsMap() {
			below = f.MapValue().Message()
		}
		list = append(list, shapeField{name: s.name() + "." + string(f.Name()), json: f.JSONName(), proto: f, below: shapeOfMessage(below)})
	}
	return list
}

// structFields lists a struct's fields under their JSON names, those of embedded structs included.
func structFields(t reflect.Type, name string, index []int) []shapeField {
	var list []shapeField
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(slices.Clone(index), i)
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case tag == "-" || f.Type == reflect.TypeFor[metav1.TypeMeta]():
		case f.Anonymous && tag == "":
			list = append(list, structFields(f.Type, name, at)...)
		case f.IsExported() && tag != "":
			list = append(list, shapeField{name: name + "." + tag, json: tag, index: at, below: shapeOf(f.Type)})
		}
	}
	return list
}
