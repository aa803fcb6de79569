//go:build !linux

package netx

import (
	"net"
	"net/netip"
)

// systemOriginalDst knows nothing where there is no netfilter.
func systemOriginalDst(net.Conn) (netip.AddrPort, bool) { return netip.AddrPort{}, false }
