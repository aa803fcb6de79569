package expect

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

var releasedType = cel.ObjectType("Released")

// Released is the result of canary.
type Released struct {
	Phase        string
	Weights      []int // the canary's shares in per cent, in their order
	FailedChecks int
	Seconds      float64 // from the detection of the revision to the phase
	Message      string
}

func releasedFields() []structField {
	return []structField{{"phase", cel.StringType}, {"weights", cel.ListType(cel.IntType)}, {"failedChecks", cel.IntType},
		{"seconds", cel.DoubleType}, {"message", cel.StringType}}
}

func (r *Released) value() *object {
	return &object{releasedType, map[string]ref.Val{"phase": types.String(r.Phase),
		"weights":      types.DefaultTypeAdapter.NativeToValue(r.Weights),
		"failedChecks": types.Int(r.FailedChecks), "seconds": types.Double(r.Seconds), "message": types.String(r.Message)}}
}

// JSON implements Result.
func (r *Released) JSON() map[string]any {
	return map[string]any{"phase": r.Phase, "weights": append([]int{}, r.Weights...), "failedChecks": r.FailedChecks,
		"seconds": r.Seconds, "message": r.Message}
}
