package expect

import (
	"fmt"
	"maps"
	"math"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Queried is the result of query.
type Queried struct{ Series []Sample }

// Sample is one element of a query's result.
type Sample struct {
	Labels map[string]string
	Value  float64
}

func (q *Queried) value() *object {
	list := make([]ref.Val, 0, len(q.Series))
	for _, s := range q.Series {
		list = append(list, &object{sampleType, map[string]ref.Val{"labels": headerMap(s.Labels), "value": types.Double(s.Value)}})
	}
	return &object{queriedType, map[string]ref.Val{"value": q.only(), "series": types.NewRefValList(types.DefaultTypeAdapter, list)}}
}

// only is the value of the only sample; where there is none, or several, who asks for
// it gets an error.
func (q *Queried) only() ref.Val {
	switch len(q.Series) {
	case 1:
		return types.Double(q.Series[0].Value)
	case 0:
		return types.NewErr("value: the query found nothing")
	default:
		return types.NewErr("value: the query found %d series: sum them, or read series", len(q.Series))
	}
}

// JSON implements Result. What JSON has no number for is a text, as in Prometheus' API.
func (q *Queried) JSON() map[string]any {
	number := func(v float64) any {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprint(v)
		}
		return v
	}
	series := []any{}
	for _, s := range q.Series {
		series = append(series, map[string]any{"labels": maps.Clone(s.Labels), "value": number(s.Value)})
	}
	m := map[string]any{"series": series}
	if len(q.Series) == 1 {
		m["value"] = number(q.Series[0].Value)
	}
	return m
}
