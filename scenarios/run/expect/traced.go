package expect

import (
	"maps"
	"slices"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Traced is the result of traces.
type Traced struct {
	Traces int
	Spans  []Span
}

// Span is one span of a result. Parent is the service of its parent's span.
type Span struct {
	Trace, ID, ParentID   string
	Service, Name, Parent string
	Kind                  string
	Duration              time.Duration
	Tags                  map[string]string
}

func (t *Traced) services() []string {
	services := make([]string, 0, len(t.Spans))
	for _, s := range t.Spans {
		services = append(services, s.Service)
	}
	slices.Sort(services)
	return slices.Compact(services)
}

func (t *Traced) value() *object {
	list := make([]ref.Val, 0, len(t.Spans))
	for _, s := range t.Spans {
		list = append(list, &object{spanType, map[string]ref.Val{
			"trace": types.String(s.Trace), "id": types.String(s.ID), "parentId": types.String(s.ParentID), "service": types.String(s.Service),
			"name": types.String(s.Name), "parent": types.String(s.Parent), "kind": types.String(s.Kind),
			"duration": types.Duration{Duration: s.Duration}, "tags": headerMap(s.Tags)}})
	}
	return &object{tracedType, map[string]ref.Val{"count": types.Int(t.Traces), "spans": types.NewRefValList(types.DefaultTypeAdapter, list),
		"services": types.NewStringList(types.DefaultTypeAdapter, t.services())}}
}

// JSON implements Result.
func (t *Traced) JSON() map[string]any {
	spans := []any{}
	for _, s := range t.Spans {
		spans = append(spans, map[string]any{"trace": s.Trace, "id": s.ID, "parentId": s.ParentID, "service": s.Service, "name": s.Name,
			"parent": s.Parent, "kind": s.Kind, "duration": s.Duration.Seconds(), "tags": maps.Clone(s.Tags)})
	}
	return map[string]any{"count": t.Traces, "spans": spans, "services": t.services()}
}
