// Command workload plays the images of test pods, and makes calls from them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/windtunnel-mesh/windtunnel/workload"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	args := os.Args[1:]
	// Manifests run /bin/sleep, and people curl and fortio, which are links to this program.
	if name := filepath.Base(os.Args[0]); slices.Contains([]string{"sleep", "curl", "fortio"}, name) {
		args = append([]string{name}, args...)
	}
	switch err := workload.Main(ctx, args, workload.System()); {
	case err == nil, errors.Is(err, workload.ErrHelp):
	case errors.Is(err, workload.ErrSilent):
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "workload:", err)
		os.Exit(1)
	}
}
