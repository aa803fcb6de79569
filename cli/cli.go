// Package cli has the commands of windtunnel. Each command is a file: flags become
// options, options go to the package that does the work. stdout is data, stderr is
// progress; exit codes are the same for every output format.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"
)

// The exit codes.
const (
	codeOK          = 0
	codeFailed      = 1   // an expectation failed
	codeUsage       = 2   // bad input or usage
	codeEnvironment = 3   // the environment failed
	codeRegression  = 4   // bench compare found a regression
	codeNothing     = 5   // nothing was tested
	codeInterrupted = 130 // Ctrl-C
)

// Streams are where a command reads and writes.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer

	// wrap is world.Sim's, for tests.
	wrap func(workload string, h http.Handler) http.Handler
}

// exit ends a command with a code; a nil error says nothing more.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// Main runs one command line and returns the exit code.
func Main(ctx context.Context, args []string, s Streams) int {
	out := &checked{w: s.Out}
	s.Out = out
	root := newRoot(s)
	root.SetArgs(args)
	ran, err := root.ExecuteContextC(ctx)
	if out.err != nil {
		err = &exit{codeEnvironment, fmt.Errorf("write to stdout: %w", out.err)}
	}
	var e *exit
	switch {
	case err == nil:
		return codeOK
	case errors.As(err, &e):
		if e.err != nil {
			fmt.Fprintln(s.Err, "windtunnel:", e.err)
		}
		return e.code
	default: // unknown commands and flags, and what flags do not take
		fmt.Fprintf(s.Err, "windtunnel: %v\nRun '%s --help' for usage.\n", err, ran.CommandPath())
		return codeUsage
	}
}

// checked remembers the first error of a writer: what did not get out is no success.
type checked struct {
	w   io.Writer
	err error
}

func (c *checked) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if c.err == nil {
		c.err = err
	}
	return n, err
}

func newRoot(s Streams) *cobra.Command {
	root := &cobra.Command{
		Use:           "windtunnel",
		Short:         "A wind tunnel for service meshes",
		Long:          "windtunnel runs what your mesh must do, written as Kubernetes and Istio YAML plus steps and\nexpectations, against a real control plane and a real proxy: in virtual time, or on loopback sockets.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.SetFlagErrorFunc(flagProblem)
	root.AddCommand(newRunCommand(s), interruptible(newListCommand(s)), newSchemaCommand(s), interruptible(newReportCommand(s)), newVersionCommand(s), newWorkerCommand(s))
	root.AddCommand(interruptible(newExplainCommand(s)), interruptible(newTranslateCommand(s)), newBenchCommand(s))
	root.AddCommand(interruptible(newAnalyzeCommand(s)), interruptible(newDiffCommand(s)))
	root.AddCommand(newInstallCommand(s), newUninstallCommand(s), newInjectCommand(s), newProxyConfigCommand(s), newProxyStatusCommand(s), newDoctorCommand(s))
	root.AddCommand(newKindCommand(s))
	root.AddCommand(newUpCommand(s))
	return root
}
