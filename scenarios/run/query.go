package run

import (
	"context"
	"errors"

	"github.com/windtunnel-mesh/windtunnel/scenarios/run/expect"
)

// Querier is a World that keeps metrics.
type Querier interface {
	// Query answers PromQL as of now: a scalar as one sample without labels.
	Query(ctx context.Context, text string) ([]Sample, error)
}

// Sample is one element of a query's result.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// query asks the world's metrics.
func (x *execution) query(ctx context.Context, text string) (expect.Result, error) {
	world, ok := x.world.(Querier)
	if !ok {
		return nil, errors.New("query: this world keeps no metrics")
	}
	samples, err := world.Query(ctx, text)
	if err != nil {
		return nil, wrap("query", err)
	}
	found := &expect.Queried{}
	for _, s := range samples {
		found.Series = append(found.Series, expect.Sample{Labels: s.Labels, Value: s.Value})
	}
	return found, nil
}
