//go:build !unix

package cli

import "github.com/rogpeppe/go-internal/testscript"

func interruptsReading(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Fatalf("there are no named pipes")
}
