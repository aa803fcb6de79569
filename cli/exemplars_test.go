package cli

import (
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/windtunnel-mesh/windtunnel/reports"
)

// exemplar sets $ID to the request that shows why an expectation of a run failed, the
// first that has one: exemplar RUN.
func exemplar(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: exemplar RUN")
	}
	run, err := reports.Read(ts.MkAbs(args[0]))
	ts.Check(err)
	for _, s := range run.Scenarios {
		for _, step := range s.Steps {
			for _, c := range step.Checks {
				if c.RequestID != "" {
					ts.Setenv("ID", c.RequestID)
					return
				}
			}
		}
	}
	ts.Fatalf("no check has a request")
}
