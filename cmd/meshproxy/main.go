// Command meshproxy is the sidecar and gateway: a proxy that starts from an Envoy bootstrap.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/windtunnel-mesh/windtunnel/mesh/meshproxy"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := meshproxy.Main(ctx, os.Args[1:], os.Stdout, os.Stderr); {
	case err == nil, errors.Is(err, meshproxy.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "meshproxy:", err)
		os.Exit(1)
	}
}
