//go:build unix

package cli

import (
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// interruptsReading presses Ctrl-C while a command reads the file "pipe", which is one that
// does not end, and wants 130: interruptsreading PROGRAM ARGS. What it says goes to the file interrupted.
func interruptsReading(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: interruptsreading PROGRAM ARGS")
	}
	self, err := os.Executable()
	ts.Check(err)
	pipe := ts.MkAbs("pipe.yaml")
	_ = os.Remove(pipe) // of the time before
	ts.Check(syscall.Mkfifo(pipe, 0o600))
	c := exec.Command(self, args[1:]...)
	c.Args[0], c.Dir = args[0], ts.MkAbs(".")
	said, err := os.Create(ts.MkAbs("interrupted"))
	ts.Check(err)
	defer said.Close()
	c.Stdout, c.Stderr = said, said
	ts.Check(c.Start())
	deadline := time.AfterFunc(time.Minute, func() { c.Process.Kill() })
	defer deadline.Stop()
	writer, err := os.OpenFile(pipe, os.O_WRONLY, 0) // returns when somebody reads
	ts.Check(err)
	defer writer.Close()
	ts.Check(c.Process.Signal(os.Interrupt))
	c.Wait() // its exit code is looked at
	if code := c.ProcessState.ExitCode(); code != 130 {
		ts.Fatalf("exit code %d, want 130", code)
	}
}
