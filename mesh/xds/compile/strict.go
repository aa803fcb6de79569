package compile

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	udpapb "github.com/cncf/xds/go/udpa/type/v1"
	xdspb "github.com/cncf/xds/go/xds/type/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// place is where in a resource something is, and where its problems go.
type place struct {
	path    string
	errs    *[]*Problem
	partial bool // of a message that is to be merged: what is missing comes from elsewhere
}

// Problem is one thing that is wrong with a resource.
type Problem struct {
	Type resource.Type
	Name string // of the resource
	Path string // of the field, in protojson's names: "filterChains[2].filters[0]"
	Text string
}

// Error implements error.
func (p *Problem) Error() string {
	var s strings.Builder
	if p.Type != "" {
		fmt.Fprintf(&s, "%s %q: ", words[p.Type], p.Name)
	}
	if p.Path != "" {
		s.WriteString(p.Path + ": ")
	}
	return s.String() + p.Text
}

// Strict returns the problems of a message that is not a resource of a set (but a
// part of a bootstrap): fields that are not understood, and values that the
// protos do not allow.
func Strict(m proto.Message) []*Problem {
	var problems []*Problem
	at := place{errs: &problems}
	strict(at, m.ProtoReflect())
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		invalid(at, v.ValidateAll())
	}
	return problems
}

// Unsupported returns the fields of a message, which may be a part of a resource only,
// that are not understood.
func Unsupported(m proto.Message) []*Problem {
	var problems []*Problem
	strict(place{errs: &problems, partial: true}, m.ProtoReflect())
	return problems
}

func (p place) field(name string) place {
	if p.path != "" {
		name = p.path + "." + name
	}
	p.path = name
	return p
}

func (p place) index(i int) place {
	p.path = fmt.Sprintf("%s[%d]", p.path, i)
	return p
}

func (p place) key(k string) place {
	p.path = fmt.Sprintf("%s[%q]", p.path, k)
	return p
}

func (p place) errorf(format string, args ...any) {
	*p.errs = append(*p.errs, &Problem{Path: p.path, Text: fmt.Sprintf(format, args...)})
}

// strict refuses every field of a message, and of all in it, that the tables do not list.
func strict(at place, m protoreflect.Message) {
	name := string(m.Descriptor().FullName())
	if leaves[name] {
		return
	}
	if body, ok := m.Interface().(*anypb.Any); ok {
		strictAny(at, body)
		return
	}
	list, known := fields[name]
	if !known {
		at.errorf("%s: not supported", name)
		return
	}
	if f, ok := m.Interface().(*hcmpb.HttpFilter); ok && f.GetIsOptional() && !understood(f.GetTypedConfig()) {
		return // the filter may be left out by who does not know it
	}
	if len(m.GetUnknown()) > 0 {
		at.errorf("fields that this version of %s does not have: not supported", name)
	}
	accepted := strings.Fields(list)
	for _, f := range populated(m) {
		value := m.Get(f)
		switch here := at.field(f.JSONName()); {
		case slices.Contains(accepted, string(f.Name())):
			strictValue(here, f, value)
		case slices.Contains(accepted, string(f.Name())+"!") && zero(f, value):
		default:
			here.errorf("not supported")
		}
	}
}

// populated returns the fields that are set, in the order of their numbers.
func populated(m protoreflect.Message) []protoreflect.FieldDescriptor {
	var set []protoreflect.FieldDescriptor
	m.Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		set = append(set, f)
		return true
	})
	slices.SortFunc(set, func(a, b protoreflect.FieldDescriptor) int { return cmp.Compare(a.Number(), b.Number()) })
	return set
}

// zero tells whether a wrapper holds its type's zero value.
func zero(f protoreflect.FieldDescriptor, value protoreflect.Value) bool {
	return f.Message() != nil && !f.IsList() && len(populated(value.Message())) == 0
}

func strictValue(at place, f protoreflect.FieldDescriptor, value protoreflect.Value) {
	switch {
	case f.IsMap():
		if f.MapValue().Message() == nil {
			return
		}
		var keys []string
		value.Map().Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
			keys = append(keys, k.String())
			return true
		})
		slices.Sort(keys)
		for _, k := range keys {
			strict(at.key(k), value.Map().Get(protoreflect.ValueOfString(k).MapKey()).Message())
		}
	case f.Message() == nil:
	case f.IsList():
		for i := range value.List().Len() {
			strict(at.index(i), value.List().Get(i).Message())
		}
	default:
		strict(at, value.Message())
	}
}

// strictAny looks into an extension's configuration.
func strictAny(at place, body *anypb.Any) {
	if body.GetTypeUrl() == "" {
		return
	}
	inner, err := unpack(body)
	if err != nil {
		at.errorf("%v", err)
		return
	}
	if s, ok := inner.(typedStruct); ok {
		if !structs[s.GetTypeUrl()] {
			at.errorf("%s: not supported", bare(s.GetTypeUrl()))
		}
		return
	}
	strict(at, inner.ProtoReflect())
	if v, ok := inner.(interface{ ValidateAll() error }); ok && !at.partial {
		invalid(at, v.ValidateAll())
	}
}

// typedStruct is the configuration of an extension whose protos the sender does not share.
type typedStruct interface {
	proto.Message
	GetTypeUrl() string
}

var (
	_ typedStruct = (*udpapb.TypedStruct)(nil)
	_ typedStruct = (*xdspb.TypedStruct)(nil)
)

// unpack returns the message in an Any.
func unpack(body *anypb.Any) (proto.Message, error) {
	if _, err := protoregistry.GlobalTypes.FindMessageByURL(body.GetTypeUrl()); err != nil {
		return nil, fmt.Errorf("%s: not supported", bare(body.GetTypeUrl()))
	}
	m, err := body.UnmarshalNew()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", bare(body.GetTypeUrl()), err)
	}
	if s, ok := m.(typedStruct); ok && !structs[s.GetTypeUrl()] {
		return untyped(s)
	}
	return m, nil
}

// untyped returns the message that a TypedStruct stands for, where its type is known:
// Envoy reads its value as JSON.
func untyped(s typedStruct) (proto.Message, error) {
	t, err := protoregistry.GlobalTypes.FindMessageByURL(s.GetTypeUrl())
	valued, ok := s.(interface{ GetValue() *structpb.Struct })
	if err != nil || !ok {
		return s, nil // strict refuses it by name
	}
	m := t.New().Interface()
	text, err := json.Marshal(valued.GetValue().AsMap())
	if err == nil {
		err = protojson.Unmarshal(text, m)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", bare(s.GetTypeUrl()), err)
	}
	return m, nil
}

func bare(typeURL string) string { return typeURL[strings.LastIndexByte(typeURL, '/')+1:] }

// understood tells whether an extension's type is one that strict knows.
func understood(body *anypb.Any) bool {
	m, err := unpack(body)
	if err != nil {
		return false
	}
	if s, ok := m.(typedStruct); ok {
		return structs[s.GetTypeUrl()]
	}
	_, known := fields[string(m.ProtoReflect().Descriptor().FullName())]
	return known
}

// invalid reports what the protos' own validation found.
func invalid(at place, err error) {
	if err == nil {
		return
	}
	if multi, ok := err.(interface{ AllErrors() []error }); ok {
		for _, e := range multi.AllErrors() {
			at.errorf("%v", e)
		}
		return
	}
	at.errorf("%v", err)
}
