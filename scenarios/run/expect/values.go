package expect

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// The types of the language. Their fields are in structs.
var (
	trafficType     = cel.ObjectType("Traffic")
	latencyType     = cel.ObjectType("Latency")
	percentilesType = cel.ObjectType("Percentiles")
	tlsType         = cel.ObjectType("TLS")
	appliedType     = cel.ObjectType("Applied")
	endpointType    = cel.ObjectType("Endpoint")
	queriedType     = cel.ObjectType("Queried")
	sampleType      = cel.ObjectType("Sample")
	tracedType      = cel.ObjectType("Traced")
	spanType        = cel.ObjectType("Span")
	secondType      = cel.ObjectType("Second")
	countsType      = cel.MapType(cel.StringType, cel.IntType)
)

// structField is one field of a type.
type structField struct {
	name string
	typ  *cel.Type
}

var percentileFields = []structField{
	{"min", cel.DurationType}, {"avg", cel.DurationType}, {"p50", cel.DurationType}, {"p90", cel.DurationType},
	{"p99", cel.DurationType}, {"p999", cel.DurationType}, {"max", cel.DurationType},
}

// structs is the table of types by name.
var structs = map[string][]structField{
	"Explained": explainedFields(),
	"Released":  releasedFields(),
	"Traffic": {
		{"count", cel.IntType}, {"errors", cel.IntType}, {"error", cel.StringType}, {"status", countsType}, {"grpc", countsType}, {"flags", countsType},
		{"workloads", countsType}, {"pods", countsType}, {"attempts", countsType}, {"latency", latencyType}, {"qps", cel.DoubleType},
		{"seconds", cel.DoubleType}, {"body", cel.StringType}, {"headers", cel.MapType(cel.StringType, cel.StringType)},
		{"protocol", cel.StringType}, {"tls", tlsType},
		{"errorKinds", countsType}, {"sockets", cel.IntType}, {"perSecond", cel.ListType(secondType)},
	},
	"Second":      {{"calls", cel.IntType}, {"errors", cel.IntType}, {"p50", cel.DurationType}, {"p99", cel.DurationType}},
	"Latency":     append(slices.Clone(percentileFields), structField{"service", percentilesType}),
	"Percentiles": percentileFields,
	"TLS":         {{"version", cel.StringType}, {"peer", cel.StringType}},
	"Applied":     {{"objects", cel.IntType}, {"warnings", cel.ListType(cel.StringType)}, {"rejected", cel.ListType(cel.StringType)}},
	"Queried":     {{"value", cel.DoubleType}, {"series", cel.ListType(sampleType)}},
	"Sample":      {{"labels", cel.MapType(cel.StringType, cel.StringType)}, {"value", cel.DoubleType}},
	"Traced":      {{"count", cel.IntType}, {"spans", cel.ListType(spanType)}, {"services", cel.ListType(cel.StringType)}},
	"Span": {
		{"trace", cel.StringType}, {"id", cel.StringType}, {"parentId", cel.StringType}, {"service", cel.StringType}, {"name", cel.StringType},
		{"parent", cel.StringType}, {"kind", cel.StringType}, {"duration", cel.DurationType}, {"tags", cel.MapType(cel.StringType, cel.StringType)},
	},
	"Endpoint": {{"ejected", cel.BoolType}, {"healthy", cel.BoolType}, {"active", cel.IntType}},
}

// provider tells CEL the types of structs beside its own.
type provider struct{ *types.Registry }

func (p provider) FindStructType(name string) (*types.Type, bool) {
	if _, ok := structs[name]; ok {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return p.Registry.FindStructType(name)
}

func (p provider) FindStructFieldNames(name string) ([]string, bool) {
	fields, ok := structs[name]
	if !ok {
		return p.Registry.FindStructFieldNames(name)
	}
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
	}
	return names, true
}

func (p provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	fields, ok := structs[name]
	if !ok {
		return p.Registry.FindStructFieldType(name, field)
	}
	i := slices.IndexFunc(fields, func(f structField) bool { return f.name == field })
	if i < 0 {
		return nil, false
	}
	return &types.FieldType{
		Type:  fields[i].typ,
		IsSet: func(target any) bool { _, ok := target.(*object); return ok },
		GetFrom: func(target any) (any, error) {
			o, ok := target.(*object)
			if !ok {
				return nil, fmt.Errorf("%s.%s: no such value", name, field)
			}
			return o.fields[field], nil
		},
	}, true
}

// object is a value of one of the types.
type object struct {
	typ    *types.Type
	fields map[string]ref.Val
}

// ConvertToNative implements ref.Val; results stay in the language.
func (o *object) ConvertToNative(t reflect.Type) (any, error) {
	return nil, errors.New("a result has no native form: " + t.String())
}

// ConvertToType implements ref.Val.
func (o *object) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return o.typ
	}
	return types.NewErr("a result cannot become a %s", t.TypeName())
}

// Equal implements ref.Val: results are equal where all fields are.
func (o *object) Equal(other ref.Val) ref.Val {
	p, ok := other.(*object)
	if !ok || o.typ != p.typ {
		return types.False
	}
	for name, v := range o.fields {
		if v.Equal(p.fields[name]) != types.True {
			return types.False
		}
	}
	return types.True
}

// Type implements ref.Val.
func (o *object) Type() ref.Type { return o.typ }

// Value implements ref.Val.
func (o *object) Value() any { return o }

// countMap is a map of counts in which an absent key reads 0, while `in` and
// iteration know only the keys that are there, sorted.
type countMap struct {
	traits.Mapper
	counts map[string]int64
}

func newCountMap(counts map[string]int64) countMap {
	if counts == nil {
		counts = map[string]int64{}
	}
	return countMap{types.NewMap(types.DefaultTypeAdapter, counts), counts}
}

// Find implements traits.Mapper.
func (m countMap) Find(key ref.Val) (ref.Val, bool) {
	s, ok := key.(types.String)
	if !ok {
		return types.NewErr("the keys of counts are strings: write status[\"200\"]"), false
	}
	return types.Int(m.counts[string(s)]), true
}

// Get implements traits.Indexer.
func (m countMap) Get(key ref.Val) ref.Val {
	v, _ := m.Find(key)
	return v
}

// Contains implements traits.Container.
func (m countMap) Contains(key ref.Val) ref.Val {
	s, ok := key.(types.String)
	_, there := m.counts[string(s)]
	return types.Bool(ok && there)
}

// Iterator implements traits.Iterable.
func (m countMap) Iterator() traits.Iterator {
	return types.NewStringList(types.DefaultTypeAdapter, slices.Sorted(maps.Keys(m.counts))).Iterator()
}

func (m countMap) total() int64 {
	var sum int64
	for _, n := range m.counts {
		sum += n
	}
	return sum
}
