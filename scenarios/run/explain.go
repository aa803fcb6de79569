package run

import (
	"context"
	"errors"

	"github.com/windtunnel-mesh/windtunnel/scenarios/run/expect"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// Explainer is a World that can tell the way of a request: one that can see what its
// proxies run. The result is the object of `windtunnel explain -o json`.
type Explainer interface {
	Explain(ctx context.Context, q *spec.Explain) (map[string]any, error)
}

func (x *execution) explain(ctx context.Context, q *spec.Explain) (expect.Result, error) {
	w, ok := x.world.(Explainer)
	if !ok {
		return nil, errors.New("explain: this environment cannot see what its proxies run")
	}
	way, err := w.Explain(ctx, q)
	if err != nil {
		return nil, wrap("explain", err)
	}
	return expect.Explained(way), nil
}
