package compile

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// TestCleanIsStrict sets every field of every message that is known, one at a time:
// what clean lets pass, strict has nothing to say about; and fields that are
// understood are let pass, or else there would be no point in it.
func TestCleanIsStrict(t *testing.T) {
	c := NewCompiler().cleaner
	passed := 0
	for name := range fields {
		known, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		all := known.Descriptor().Fields()
		for i := range all.Len() {
			m := known.New()
			set(m, all.Get(i))
			raw, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m.Interface())
			if err != nil {
				t.Fatal(err)
			}
			if !c.clean(raw, m.Descriptor()) {
				continue
			}
			passed++
			var problems []*Problem
			if strict(place{errs: &problems}, m); len(problems) > 0 {
				t.Errorf("%s: clean lets pass what strict refuses: %v", all.Get(i).FullName(), problems[0])
			}
		}
	}
	if passed < len(fields) {
		t.Errorf("clean let %d of the fields of %d messages pass", passed, len(fields))
	}
}

// set gives a field something: an empty message, a list or map of one.
func set(m protoreflect.Message, f protoreflect.FieldDescriptor) {
	switch {
	case f.IsMap():
		entries := m.Mutable(f).Map()
		entries.Set(scalar(f.MapKey()).MapKey(), element(f.MapValue(), entries.NewValue))
	case f.IsList():
		list := m.Mutable(f).List()
		list.Append(element(f, list.NewElement))
	default:
		m.Set(f, element(f, func() protoreflect.Value { return m.NewField(f) }))
	}
}

func element(f protoreflect.FieldDescriptor, empty func() protoreflect.Value) protoreflect.Value {
	if f.Message() != nil {
		return empty()
	}
	return scalar(f)
}

func scalar(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("x")
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte("x"))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(1)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(1)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(1)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(1)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(1)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(1)
	default:
		return protoreflect.ValueOfUint32(1)
	}
}
