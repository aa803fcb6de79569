package compile

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
)

// cleaner tells from a message's bytes that strict would find nothing in it, at a
// fraction of what reading its fields by reflection costs. Most resources of most
// proxies are so; the others go to strict, which says what is wrong and where.
// It is for one goroutine.
type cleaner struct {
	messages map[protoreflect.FullName]accepted
}

// accepted has the fields of a message that are understood, by number; a nil map
// accepts whatever the message holds.
type accepted map[protowire.Number]protoreflect.FieldDescriptor

// clean tells whether all that is in a message is understood. False may mean that it was not looked at closely.
func (c *cleaner) clean(raw []byte, d protoreflect.MessageDescriptor) bool {
	known, ok := c.of(d)
	if !ok || known == nil {
		return ok
	}
	for len(raw) > 0 {
		number, wireType, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return false
		}
		f := known[number]
		size := protowire.ConsumeFieldValue(number, wireType, raw[n:])
		if f == nil || size < 0 {
			return false
		}
		value := raw[n : n+size]
		raw = raw[n+size:]
		if f.Message() == nil {
			continue
		}
		body, n := protowire.ConsumeBytes(value)
		if n < 0 || wireType != protowire.BytesType || !c.cleanMessage(body, f.Message()) {
			return false
		}
	}
	return true
}

func (c *cleaner) cleanMessage(raw []byte, d protoreflect.MessageDescriptor) bool {
	switch {
	case d.IsMapEntry():
		return c.cleanEntry(raw, d.Fields().ByNumber(2).Message())
	case d.FullName() == anyName:
		return c.cleanAny(raw)
	default:
		return c.clean(raw, d)
	}
}

// cleanEntry looks into the value of a map's entry.
func (c *cleaner) cleanEntry(raw []byte, value protoreflect.MessageDescriptor) bool {
	for len(raw) > 0 && value != nil {
		number, wireType, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return false
		}
		size := protowire.ConsumeFieldValue(number, wireType, raw[n:])
		if size < 0 {
			return false
		}
		if number == 2 {
			if body, m := protowire.ConsumeBytes(raw[n:]); m < 0 || !c.cleanMessage(body, value) {
				return false
			}
		}
		raw = raw[n+size:]
	}
	return true
}

var anyName = (*anypb.Any)(nil).ProtoReflect().Descriptor().FullName()

// cleanAny looks into an extension's configuration, and asks the protos' own validation about it.
func (c *cleaner) cleanAny(raw []byte) bool {
	var body anypb.Any
	if err := proto.Unmarshal(raw, &body); err != nil || body.GetTypeUrl() == "" {
		return err == nil
	}
	t, err := protoregistry.GlobalTypes.FindMessageByURL(body.GetTypeUrl())
	if err != nil {
		return false
	}
	inner := t.New().Interface()
	if proto.Unmarshal(body.GetValue(), inner) != nil {
		return false
	}
	if s, ok := inner.(typedStruct); ok {
		return structs[s.GetTypeUrl()]
	}
	v, ok := inner.(interface{ ValidateAll() error })
	return c.clean(body.GetValue(), t.Descriptor()) && (!ok || v.ValidateAll() == nil)
}

// of returns what is understood of a message; false where the message is not.
func (c *cleaner) of(d protoreflect.MessageDescriptor) (accepted, bool) {
	name := d.FullName()
	if known, ok := c.messages[name]; ok {
		return known, true
	}
	var known accepted
	if !leaves[string(name)] {
		list, ok := fields[string(name)]
		if !ok {
			return nil, false
		}
		known = accepted{}
		for word := range strings.FieldsSeq(list) {
			if f := d.Fields().ByName(protoreflect.Name(word)); f != nil { // those with a "!" are strict's
				known[f.Number()] = f
			}
		}
	}
	c.messages[name] = known
	return known, true
}
