package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// message checks a mapping against a protobuf message and returns it as the message's
// JSON. Fields go by their JSON names or their proto names.
func (d *document) message(n *yaml.Node, md protoreflect.MessageDescriptor, path string) (any, bool) {
	n = d.enter(n, path)
	if n == nil {
		return nil, false
	}
	defer d.leave()
	if isNull(n) {
		return nil, false
	}
	if v, ok, known := d.wellKnown(n, md, path); known {
		return v, ok
	}
	if n.Kind != yaml.MappingNode {
		return d.wrong(n, path, "a mapping", inFull(n, md.Name()))
	}
	m := make(map[string]any, len(n.Content)/2)
	given := make(map[protoreflect.FullName]pair)
	var legacy []func()
	for _, p := range d.pairs(n, path) {
		if f, ok := legacyFields[legacyKey{md.FullName(), p.name}]; ok {
			if !isNull(p.value) {
				d.mark(join(path, p.name), p.key, p.value)
				legacy = append(legacy, func() { f(d, p, m, path) })
			}
			continue
		}
		fd := field(md, p.name)
		if fd == nil {
			d.unknown(p, path, string(md.Name()), jsonNames(md))
			continue
		}
		at := join(path, fd.JSONName())
		if !d.single(given, fd, p, at) {
			continue
		}
		d.mark(at, p.key, p.value)
		if v, ok := d.protoField(p.value, fd, at); ok {
			m[fd.JSONName()] = v
		}
		if isDeprecated(fd) {
			d.report(Warning, CodeDeprecatedField, p.key, "", "%s is deprecated", at)
		}
	}
	// Successors that are written win over the old spellings, wherever they stand.
	for _, translate := range legacy {
		translate()
	}
	d.checkRequired(n, md, given, path)
	return m, true
}

// single reports a field that is given under two names, and a second field of a oneof.
func (d *document) single(given map[protoreflect.FullName]pair, fd protoreflect.FieldDescriptor, p pair, at string) bool {
	if first, ok := given[fd.FullName()]; ok {
		d.errorf(CodeDuplicateKey, p.key, "", "%s is given twice, as %q in line %d and as %q", at, first.name, d.position(first.key).Line, p.name)
		return false
	}
	given[fd.FullName()] = p
	oneof := fd.ContainingOneof()
	if oneof == nil || oneof.IsSynthetic() || isNull(p.value) {
		return true
	}
	if first, ok := given[oneof.FullName()]; ok {
		var names []string
		for i := range oneof.Fields().Len() {
			names = append(names, oneof.Fields().Get(i).JSONName())
		}
		d.errorf(CodeOneof, p.key, "", "%s: only one of %s may be set, and %s is set in line %d",
			at, strings.Join(names, ", "), first.name, d.position(first.key).Line)
		return false
	}
	given[oneof.FullName()] = p
	return true
}

// checkRequired reports the fields that the API marks as required and that are not there.
func (d *document) checkRequired(n *yaml.Node, md protoreflect.MessageDescriptor, given map[protoreflect.FullName]pair, path string) {
	for _, fd := range d.requiredFields(md) {
		if p, ok := given[fd.FullName()]; !ok || isNull(p.value) {
			d.errorf(CodeRequired, n, "", "%s: %q is required in %s", shown(path), fd.JSONName(), md.Name())
		}
	}
}

func (s *schemas) requiredFields(md protoreflect.MessageDescriptor) []protoreflect.FieldDescriptor {
	if known, ok := s.required[md.FullName()]; ok {
		return known
	}
	var list []protoreflect.FieldDescriptor
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		options, ok := fd.Options().(*descriptorpb.FieldOptions)
		if !ok || options == nil || !proto.HasExtension(options, annotations.E_FieldBehavior) {
			continue
		}
		behaviour, ok := proto.GetExtension(options, annotations.E_FieldBehavior).([]annotations.FieldBehavior)
		if ok && slices.Contains(behaviour, annotations.FieldBehavior_REQUIRED) {
			list = append(list, fd)
		}
	}
	s.required[md.FullName()] = list
	return list
}

func isDeprecated(fd protoreflect.FieldDescriptor) bool {
	options, ok := fd.Options().(*descriptorpb.FieldOptions)
	return ok && options.GetDeprecated()
}

func field(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if fd := md.Fields().ByJSONName(name); fd != nil {
		return fd
	}
	return md.Fields().ByName(protoreflect.Name(name))
}

func jsonNames(md protoreflect.MessageDescriptor) []string {
	names := make([]string, md.Fields().Len())
	for i := range names {
		names[i] = md.Fields().Get(i).JSONName()
	}
	return names
}

// wellKnown reads the messages of google.protobuf that have a JSON form of their own.
func (d *document) wellKnown(n *yaml.Node, md protoreflect.MessageDescriptor, path string) (value any, ok, known bool) {
	switch md.FullName() {
	case "google.protobuf.Duration":
		var v time.Duration
		v, ok = d.duration(n, path)
		value = seconds(v)
	case "google.protobuf.Timestamp":
		value, ok = d.time(n, path)
	case "google.protobuf.Struct":
		if n.Kind != yaml.MappingNode {
			value, ok = d.wrong(n, path, "a mapping", "")
		} else {
			value, ok = d.anything(n, path)
		}
	case "google.protobuf.ListValue":
		if n.Kind != yaml.SequenceNode {
			value, ok = d.wrong(n, path, "a list", "")
		} else {
			value, ok = d.anything(n, path)
		}
	case "google.protobuf.Value", "google.protobuf.Any":
		value, ok = d.anything(n, path)
	case "google.protobuf.BoolValue", "google.protobuf.StringValue", "google.protobuf.BytesValue",
		"google.protobuf.Int32Value", "google.protobuf.Int64Value", "google.protobuf.UInt32Value", "google.protobuf.UInt64Value",
		"google.protobuf.FloatValue", "google.protobuf.DoubleValue":
		value, ok = d.protoScalar(n, md.Fields().ByName("value"), path)
	default:
		return nil, false, false
	}
	return value, ok, true
}

func (d *document) protoField(n *yaml.Node, fd protoreflect.FieldDescriptor, path string) (any, bool) {
	n = d.enter(n, path)
	if n == nil {
		return nil, false
	}
	defer d.leave()
	switch {
	case isNull(n):
		return nil, false
	case fd.IsMap():
		return d.protoMap(n, fd, path)
	case fd.IsList():
		return d.list(n, path, func(item *yaml.Node, at string) (any, bool) { return d.protoSingle(item, fd, at) })
	}
	return d.protoSingle(n, fd, path)
}

// inFull is a hint for what people write in short, as if the mapping were its value.
func inFull(n *yaml.Node, name protoreflect.Name) string {
	switch {
	case n.Kind != yaml.ScalarNode:
	case name == "PortSelector":
		return "write {number: " + clip(n.Value) + "}"
	case name == "StringMatch":
		return fmt.Sprintf("write {exact: %s}, or prefix or regex in the place of exact", clip(n.Value))
	}
	return ""
}

func (d *document) protoMap(n *yaml.Node, fd protoreflect.FieldDescriptor, path string) (any, bool) {
	if n.Kind != yaml.MappingNode {
		return d.wrong(n, path, "a mapping", "")
	}
	m := make(map[string]any, len(n.Content)/2)
	for _, p := range d.pairs(n, path) {
		at := join(path, p.name)
		d.mark(at, p.key, p.value)
		switch fd.MapKey().Kind() {
		case protoreflect.StringKind:
		default: // the APIs' other keys are all uint32
			if _, err := strconv.ParseUint(p.name, 10, 32); err != nil {
				d.errorf(CodeType, p.key, "", "%s: expected a number as key, got %q", shown(path), clip(p.name))
				continue
			}
		}
		if v, ok := d.protoSingle(p.value, fd.MapValue(), at); ok {
			m[p.name] = v
		}
	}
	return m, true
}

func (d *document) protoSingle(n *yaml.Node, fd protoreflect.FieldDescriptor, path string) (any, bool) {
	if fd.Kind() == protoreflect.MessageKind || fd.Kind() == protoreflect.GroupKind {
		return d.message(n, fd.Message(), path)
	}
	n = d.enter(n, path)
	if n == nil {
		return nil, false
	}
	defer d.leave()
	if isNull(n) {
		return nil, false
	}
	return d.protoScalar(n, fd, path)
}

func (d *document) protoScalar(n *yaml.Node, fd protoreflect.FieldDescriptor, path string) (any, bool) {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return d.boolean(n, path)
	case protoreflect.StringKind:
		return d.text(n, path)
	case protoreflect.BytesKind:
		return d.base64(n, path)
	case protoreflect.EnumKind:
		return d.protoEnum(n, fd.Enum(), path)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return d.number(n, path)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return d.integer(n, path, 32, true)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return d.integer(n, path, 32, false)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return d.integer(n, path, 64, true)
	default:
		return d.integer(n, path, 64, false)
	}
}

// protoEnum reads a value of an enum by its name or its number.
func (d *document) protoEnum(n *yaml.Node, ed protoreflect.EnumDescriptor, path string) (any, bool) {
	values := ed.Values()
	if n.Kind == yaml.ScalarNode && tagOf(n) == "!!int" {
		if i, err := strconv.ParseInt(n.Value, 10, 32); err == nil {
			if v := values.ByNumber(protoreflect.EnumNumber(i)); v != nil {
				return d.enumValue(n, v, path), true
			}
		}
	}
	var names []string
	for i := range values.Len() {
		if !isDeprecatedValue(values.Get(i)) {
			names = append(names, string(values.Get(i).Name()))
		}
	}
	if n.Kind != yaml.ScalarNode || tagOf(n) != "!!str" {
		return d.wrong(n, path, "one of "+strings.Join(names, ", "), "")
	}
	if v := values.ByName(protoreflect.Name(n.Value)); v != nil {
		return d.enumValue(n, v, path), true
	}
	d.errorf(CodeEnum, n, enumHint(n.Value, names), "%s: %q is not allowed; expected one of %s", shown(path), clip(n.Value), strings.Join(names, ", "))
	return nil, false
}

// enumValue is the name of a value, or of its successor where it is out of use.
func (d *document) enumValue(n *yaml.Node, v protoreflect.EnumValueDescriptor, path string) string {
	if successor, ok := legacyValues[v.FullName()]; ok {
		d.report(Warning, CodeDeprecatedValue, n, "write "+successor, "%s: %s is deprecated and means %s", path, v.Name(), successor)
		return successor
	}
	if isDeprecatedValue(v) {
		d.report(Warning, CodeDeprecatedValue, n, "", "%s: %s is deprecated", path, v.Name())
	}
	return string(v.Name())
}

func isDeprecatedValue(v protoreflect.EnumValueDescriptor) bool {
	options, ok := v.Options().(*descriptorpb.EnumValueOptions)
	return ok && options.GetDeprecated()
}
