package run

import (
	"context"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// Witness is a World that can write down what is in it, for those who look for the reason
// of a failure.
type Witness interface {
	// Testify writes into a folder, and returns its path below the report's; "" where
	// nobody asked for it.
	Testify(ctx context.Context) (folder string, err error)
}

// testify keeps what a world knows of a scenario that did not pass.
func (x *execution) testify(ctx context.Context, out *result.Scenario) {
	w, ok := x.world.(Witness)
	if !ok || out.Status != result.Failed && out.Status != result.Error {
		return
	}
	folder, err := w.Testify(context.WithoutCancel(ctx))
	if err != nil {
		x.notes = append(x.notes, result.Event{Seconds: x.world.Now().Sub(x.start).Seconds(), Kind: "warning", Text: "evidence: " + err.Error()})
	}
	out.Evidence = folder
}
