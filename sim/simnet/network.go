package simnet

import (
	"context"
	"net"
	"net/netip"

	"github.com/windtunnel-mesh/windtunnel/sim/fabric"
)

// Connect implements fabric.Wire. Without a deadline, an address that does not answer
// fails after 127 s, as in Linux.
func (h *Host) Connect(ctx context.Context, source netip.Addr, t fabric.Target) (net.Conn, error) {
	shake, err := h.open(source, t)
	if err != nil {
		return nil, err
	}
	shake.sendSYN()
	select {
	case err = <-shake.result:
	case <-ctx.Done():
		if err = shake.abandon(ctx.Err()); err == nil {
			_ = shake.client.Close()
			err = ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	return shake.client, nil
}
