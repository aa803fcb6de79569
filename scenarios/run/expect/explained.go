package expect

import (
	"maps"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

var explainedType = cel.ObjectType("Explained")

// Explained is the result of explain: an object as JSON has it. Its fields are dynamic.
type Explained map[string]any

// ExplainedFields are the object's: those of mesh/explain's Way.
func ExplainedFields() []string {
	return []string{"from", "client", "scheme", "method", "authority", "path", "address", "error", "hops", "virtualHost", "route",
		"source", "cluster", "clusters", "status", "flags", "location", "workloads", "mutualTLS"}
}

func explainedFields() (fields []structField) {
	for _, name := range ExplainedFields() {
		fields = append(fields, structField{name, cel.DynType})
	}
	return fields
}

// JSON implements Result.
func (e Explained) JSON() map[string]any { return maps.Clone(e) }

func (e Explained) value() *object {
	fields := map[string]ref.Val{}
	for name, v := range e {
		fields[name] = types.DefaultTypeAdapter.NativeToValue(v)
	}
	return &object{explainedType, fields}
}
