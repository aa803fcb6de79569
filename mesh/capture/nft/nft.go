// Package nft puts a pod's capture rules into the kernel: rules as data come in, and
// what is in force afterwards is known, because it was read back. It speaks netlink
// itself; only where the kernel has no nftables does it run iptables-restore.
//
// It acts on the network namespace of the calling thread and needs CAP_NET_ADMIN there.
// It must import nothing of ours but mesh/capture.
package nft

import (
	"errors"
	"fmt"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
)

// Table is the name of the tables, one per address family; nothing else may use it.
const Table = "windtunnel"

// Ways by which rules were programmed.
const (
	ByNftables = "nftables"
	ByIptables = "iptables"
)

// Report says what is in force.
type Report struct {
	By         string // ByNftables or ByIptables
	IPv4, IPv6 int    // number of rules; IPv6 is 0 where the namespace has no IPv6
}

// String is the report as a sentence.
func (r Report) String() string {
	ipv6 := fmt.Sprintf("%d for IPv6", r.IPv6)
	if r.IPv6 == 0 {
		ipv6 = "none for IPv6, which this pod does not have"
	}
	return fmt.Sprintf("capture rules are in force by %s: %d for IPv4, %s", r.By, r.IPv4, ipv6)
}

// errMissing marks the errors of a kernel without nftables, or without its nat chains.
var errMissing = errors.New("the kernel has no nftables with nat chains")

// Program replaces what an earlier call has programmed by the rules, in one transaction,
// and verifies them; a namespace with IPv6 gets the address that they know the proxy by. An
// error means that the pod must not start: nothing was changed, or
// what is there cannot be trusted.
func Program(rules *capture.Rules) (Report, error) {
	report := Report{By: ByNftables, IPv4: count(rules.IPv4)}
	ipv6 := hasIPv6()
	if ipv6 {
		report.IPv6 = count(rules.IPv6)
	}
	err := program(rules, ipv6)
	if errors.Is(err, errMissing) {
		return fallback(rules, ipv6, err)
	}
	if err != nil {
		return Report{}, fmt.Errorf("capture: %w", err)
	}
	return report, nil
}

// fallback is by iptables; why tells what nftables lacks.
func fallback(rules *capture.Rules, ipv6 bool, why error) (Report, error) {
	report := Report{By: ByIptables, IPv4: count(rules.IPv4)}
	if ipv6 {
		report.IPv6 = count(rules.IPv6)
	}
	if err := restore(rules, ipv6); err != nil {
		return Report{}, fmt.Errorf("capture: %w; instead: %w", why, err)
	}
	return report, nil
}

func count(chains []capture.Chain) int {
	n := 0
	for _, c := range chains {
		n += len(c.Rules)
	}
	return n
}
