package meshproxy

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/accesslog"
)

// Main runs a proxy on the operating system's network, or what the first argument
// names: "capture" programs the capture rules, "wait" waits until the proxy is ready.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && commands[args[0]] != nil {
		return commands[args[0]](ctx, args[1:], stdout, stderr)
	}
	o, err := ParseArgs(args, stderr)
	if err != nil {
		return err
	}
	// The heap is a few megabytes: collecting it each time it doubles costs more
	// processor time than the memory is worth. An idle proxy is trimmed all the same.
	debug.SetGCPercent(400)
	if o.Concurrency > 0 {
		runtime.GOMAXPROCS(o.Concurrency)
	}
	o.OpenLog = func(path string) (io.Writer, error) {
		switch path {
		case "/dev/stdout":
			return stdout, nil
		case "/dev/stderr":
			return stderr, nil
		}
		return accesslog.Files(path)
	}
	if err := o.environment(os.Getenv); err != nil {
		return err
	}
	p, err := New(o)
	if err != nil {
		return err
	}
	if o.Validate {
		fmt.Fprintln(stdout, "configuration OK")
		return nil
	}
	go func() {
		select {
		case <-p.Ready():
			trim()
		case <-ctx.Done():
		}
	}()
	return p.Run(ctx)
}
