package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/windtunnel-mesh/windtunnel/scenarios/run/expect"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// Releaser is a World whose cluster has a canary controller.
type Releaser interface {
	// Release waits until a Canary is in the phase, or its release has ended otherwise,
	// or the time is over, and tells how it is then.
	Release(ctx context.Context, c *spec.Canary) (Release, error)
}

// Release is how a Canary is.
type Release struct {
	Phase        string
	Weights      []int   // its shares in per cent, in their order
	FailedChecks int     // of the analysis
	Seconds      float64 // from the detection of the revision to the phase
	Message      string  // what happened last
}

// canary waits for a release.
func (x *execution) canary(ctx context.Context, c *spec.Canary) (expect.Result, error) {
	world, ok := x.world.(Releaser)
	if !ok {
		return nil, errors.New("canary: this world has no canary controller")
	}
	found, err := world.Release(ctx, c)
	if err != nil {
		return nil, wrap("canary", err)
	}
	return &expect.Released{Phase: found.Phase, Weights: found.Weights, FailedChecks: found.FailedChecks, Seconds: found.Seconds, Message: found.Message}, nil
}

// otherwise tells how a release ended that was to end in another phase; "" where it did not.
func otherwise(c *spec.Canary, found expect.Result) string {
	r, ok := found.(*expect.Released)
	if !ok || c == nil || r.Phase == c.Until {
		return ""
	}
	return fmt.Sprintf("the canary %s is %s, not %s, with the shares %v: %s", c.Name, r.Phase, c.Until, r.Weights, r.Message)
}
