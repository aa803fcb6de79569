package run

import (
	"context"
	"errors"
	"time"

	"github.com/windtunnel-mesh/windtunnel/scenarios/run/expect"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// Tracer is a World that collects spans.
type Tracer interface {
	// Traces returns the spans of the traces that are asked for, the latest trace
	// first, each by start; traces is how many these are.
	Traces(ctx context.Context, q *spec.Traces) (traces int, spans []Span, err error)
}

// Span is one span. Parent is the service of its parent's span.
type Span struct {
	Trace, ID, ParentID   string
	Service, Name, Parent string
	Kind                  string // "client" or "server"
	Duration              time.Duration
	Tags                  map[string]string
}

func (x *execution) traces(ctx context.Context, q *spec.Traces) (expect.Result, error) {
	world, ok := x.world.(Tracer)
	if !ok {
		return nil, errors.New("traces: this world collects no spans")
	}
	n, spans, err := world.Traces(ctx, q)
	if err != nil {
		return nil, wrap("traces", err)
	}
	found := &expect.Traced{Traces: n}
	for _, s := range spans {
		found.Spans = append(found.Spans, expect.Span(s))
	}
	return found, nil
}
