package cli

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"windtunnel": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		os.Exit(Main(ctx, os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, wrap: accidents}))
	}})
}

// TestScripts runs the command line as a user would: testdata/*.txtar.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:  "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "programs": programs, "uptest": uptest, "taken": taken, "interrupts": interrupts, "hostile": hostile, "exemplar": exemplar, "interruptsreading": interruptsReading},
		Setup: func(e *testscript.Env) error {
			dir, err := os.Getwd()
			e.Setenv("REPO", dir+"/..")
			return err
		},
	})
}

// exits runs a command and compares its exit code: exits CODE PROGRAM ARGS.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		code = ended.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// interrupts runs a command until its stdout has a word, presses Ctrl-C, and wants it to
// end with 130: interrupts WORD PROGRAM ARGS. Its output goes to the file interrupted.
func interrupts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: interrupts WORD PROGRAM ARGS")
	}
	self, err := os.Executable()
	ts.Check(err)
	c := exec.Command(self, args[2:]...)
	c.Args[0], c.Dir = args[1], ts.MkAbs(".")
	out, err := c.StdoutPipe()
	ts.Check(err)
	c.Stderr = c.Stdout
	ts.Check(c.Start())
	deadline := time.AfterFunc(5*time.Minute, func() { c.Process.Kill() })
	defer deadline.Stop()
	var text strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), args[0]) {
			ts.Check(c.Process.Signal(os.Interrupt))
		}
	}
	c.Wait() // its exit code is looked at
	ts.Check(os.WriteFile(ts.MkAbs("interrupted"), []byte(text.String()), 0o644))
	if code := c.ProcessState.ExitCode(); code != 130 {
		ts.Fatalf("exit code %d, want 130\n%s", code, text.String())
	}
}

// programs makes a folder of programs as a benchmark measures them; meshproxy is there
// to be asked for its version only.
func programs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: programs DIR")
	}
	self, err := os.Executable()
	ts.Check(err)
	data, err := os.ReadFile(self)
	ts.Check(err)
	ts.Check(os.MkdirAll(ts.MkAbs(args[0]), 0o755))
	for _, name := range []string{"windtunnel", "meshproxy"} {
		ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[0]), name), data, 0o755))
	}
}
