// Package capture has the redirect rules of a pod as data: which connections go
// to the sidecar's outbound listener (15001), which to its inbound one (15006), and
// which are left alone. The init container programs them into nftables, the
// simulator interprets them; both read the same value.
//
// It imports the standard library only.
package capture

import "net/netip"

// Packet is the first packet of a connection, as netfilter's nat table sees it.
type Packet struct {
	UID, GID    int // of the process that opens the connection; meaningful for Output
	Source      netip.AddrPort
	Destination netip.AddrPort
	// Loopback tells that the packet leaves (Output) or arrives (Prerouting) on lo.
	Loopback bool
	// UDP tells that it is a datagram, not TCP's.
	UDP bool
	// Interface is the interface's name; where it is empty, "lo" or "eth0" by Loopback.
	Interface string
}

// Verdict is what happens to the connection. The zero value lets it pass.
type Verdict struct {
	// Redirect is the local port that the connection is redirected to; 0: none.
	Redirect uint16
	// Rule is the rule that decided, in iptables' notation, for traces and explain.
	Rule string
}
