package nft

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
)

// ownSource gives the loopback interface the address from which the proxy reaches the
// application. That of IPv4 is the interface's anyway, as all of 127.0.0.0/8 is; IPv6 has
// one loopback address only. It may be there already.
func ownSource() error {
	err := loopback(netlink.AddrAdd)
	switch {
	case errors.Is(err, unix.EEXIST):
		return nil
	case errors.Is(err, unix.EACCES):
		return nil // IPv6 is switched off on it: nothing in the pod can be reached from there
	}
	return err
}

// disownSource takes the address away again, where it is.
func disownSource() error {
	err := loopback(netlink.AddrDel)
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EACCES) {
		return nil
	}
	return err
}

// loopback asks the kernel to give the proxy's address to the loopback interface, or to
// take it away. It can be used at once: without NODAD it would be tentative for a moment,
// in which nobody can bind to it.
func loopback(ask func(netlink.Link, *netlink.Addr) error) error {
	source := netip.MustParsePrefix(capture.InboundSource6)
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("the loopback interface: %w", err)
	}
	address := &net.IPNet{IP: source.Addr().AsSlice(), Mask: net.CIDRMask(source.Bits(), source.Addr().BitLen())}
	err = ask(lo, &netlink.Addr{IPNet: address, Flags: unix.IFA_F_NODAD})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s on the loopback interface: %w: the container needs the capability NET_ADMIN", source, err)
	}
	return fmt.Errorf("%s on the loopback interface: %w", source, err)
}
