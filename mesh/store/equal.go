package store

import (
	"bytes"
	"reflect"

	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// equal reports whether two objects of one key say the same, in the same words.
func equal(a, b *config.Object) bool {
	return a.Version == b.Version && bytes.Equal(a.Raw, b.Raw) && equalValues(a.Value, b.Value)
}

// equalInPlace is equal, and the objects stand at the same place.
func equalInPlace(a, b *config.Object) bool {
	return a.Position() == b.Position() && equal(a, b)
}

// equalValues compares typed objects: protobuf messages as messages (they keep state
// of their own that does not count), quantities and times by what they mean.
func equalValues(a, b any) bool {
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	if !va.IsValid() || !vb.IsValid() || va.Type() != vb.Type() {
		return va.IsValid() == vb.IsValid() && !va.IsValid()
	}
	if va.Kind() != reflect.Pointer || va.Elem().Kind() != reflect.Struct {
		return reflect.DeepEqual(a, b)
	}
	if va.Pointer() == vb.Pointer() {
		return true
	}
	va, vb = va.Elem(), vb.Elem()
	for i := range va.NumField() {
		if !equalFields(va.Field(i), vb.Field(i)) {
			return false
		}
	}
	return true
}

// equalFields compares fields of the outermost struct; below it there are either
// messages only or none.
func equalFields(a, b reflect.Value) bool {
	if a.CanAddr() && a.Kind() == reflect.Struct {
		if ma, ok := a.Addr().Interface().(proto.Message); ok {
			return proto.Equal(ma, b.Addr().Interface().(proto.Message))
		}
	}
	if ma, ok := a.Interface().(proto.Message); ok {
		return proto.Equal(ma, b.Interface().(proto.Message))
	}
	return equality.Semantic.DeepEqual(a.Interface(), b.Interface())
}
