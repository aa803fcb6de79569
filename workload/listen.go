package workload

import (
	"context"
	"net"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
)

// everywhere is a network whose servers of 0.0.0.0 take calls of either family, as those of
// the images that are played do: a Pod may have IPv6 addresses only.
type everywhere struct{ netx.Network }

// Listen implements netx.Network.
func (n everywhere) Listen(ctx context.Context, addr string) (net.Listener, error) {
	return n.Network.Listen(ctx, strings.TrimPrefix(addr, "0.0.0.0"))
}
