package patch

import (
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	udpapb "github.com/cncf/xds/go/udpa/type/v1"
	xdspb "github.com/cncf/xds/go/xds/type/v3"
)

// replaced are values: merging their halves would make another value.
var replaced = map[protoreflect.FullName]bool{
	"google.protobuf.Duration": true, "google.protobuf.Timestamp": true, "google.protobuf.BoolValue": true,
	"google.protobuf.UInt32Value": true, "google.protobuf.UInt64Value": true, "google.protobuf.Int32Value": true,
	"google.protobuf.Int64Value": true, "google.protobuf.DoubleValue": true, "google.protobuf.FloatValue": true,
	"google.protobuf.StringValue": true, "google.protobuf.BytesValue": true,
}

// merge puts what src has into dst: lists grow, the entries of maps are replaced by
// key, messages are merged, and so are the messages in two Anys of one type.
func merge(dst, src protoreflect.Message) {
	src.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsList():
			list := dst.Mutable(fd).List()
			for i := range v.List().Len() {
				list.Append(cloned(fd, v.List().Get(i)))
			}
		case fd.IsMap():
			into := dst.Mutable(fd).Map()
			v.Map().Range(func(k protoreflect.MapKey, item protoreflect.Value) bool {
				into.Set(k, cloned(fd.MapValue(), item))
				return true
			})
		case fd.Message() == nil || replaced[fd.Message().FullName()] || !dst.Has(fd):
			dst.Set(fd, cloned(fd, v))
		case fd.Message().FullName() == "google.protobuf.Any":
			dst.Set(fd, protoreflect.ValueOfMessage(mergeAny(dst.Get(fd).Message().Interface().(*anypb.Any), v.Message().Interface().(*anypb.Any)).ProtoReflect()))
		default:
			merge(dst.Mutable(fd).Message(), v.Message())
		}
		return true
	})
}

func cloned(fd protoreflect.FieldDescriptor, v protoreflect.Value) protoreflect.Value {
	if fd.Message() == nil {
		return v
	}
	return protoreflect.ValueOfMessage(proto.Clone(v.Message().Interface()).ProtoReflect())
}

// mergeAny merges what two Anys hold. Of different types, the second one's holds.
func mergeAny(dst, src *anypb.Any) *anypb.Any {
	a, errA := unpack(dst)
	b, errB := unpack(src)
	if errA != nil || errB != nil || a.ProtoReflect().Descriptor() != b.ProtoReflect().Descriptor() {
		return proto.Clone(src).(*anypb.Any)
	}
	merge(a.ProtoReflect(), b.ProtoReflect())
	return pack(a)
}

// unpack returns the message in an Any, or that which a TypedStruct in it stands for.
func unpack(body *anypb.Any) (proto.Message, error) {
	m, err := body.UnmarshalNew()
	if err != nil {
		return nil, err
	}
	url, value := "", []byte(nil)
	switch s := m.(type) {
	case *udpapb.TypedStruct:
		url = s.GetTypeUrl()
		value, err = protojson.Marshal(s.GetValue())
	case *xdspb.TypedStruct:
		url = s.GetTypeUrl()
		value, err = protojson.Marshal(s.GetValue())
	default:
		return m, nil
	}
	if err != nil {
		return nil, err
	}
	t, err := protoregistry.GlobalTypes.FindMessageByURL(url)
	if err != nil {
		return m, nil // a type of the proxy's own stays a TypedStruct
	}
	typed := t.New().Interface()
	return typed, protojson.Unmarshal(value, typed)
}

// pack is deterministic, so that equal content has an equal version.
func pack(m proto.Message) *anypb.Any {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err) // only a message with broken strings cannot be marshalled, and those were read
	}
	return &anypb.Any{TypeUrl: "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()), Value: value}
}
