// Command workload plays the images of test pods, and makes calls from them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/windtunnel-mesh/windtunnel/workload"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	args := os.Args[1:]
	// Manifests run /bin/sleep, which is a link to this program.
	if filepath.Base(os.Args[0]) == "sleep" {
		args = append([]string{"sleep"}, args...)
	}
	switch err := workload.Main(ctx, args, workload.System()); {
	case err == nil, errors.Is(err, workload.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "workload:", err)
		os.Exit(1)
	}
}
