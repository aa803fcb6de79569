// Command meshd is the control plane.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/windtunnel-mesh/windtunnel/mesh/incluster"
	"github.com/windtunnel-mesh/windtunnel/mesh/meshd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := meshd.Main(ctx, os.Args[1:], os.Stderr, incluster.Open); {
	case err == nil, errors.Is(err, meshd.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "meshd:", err)
		os.Exit(1)
	}
}
