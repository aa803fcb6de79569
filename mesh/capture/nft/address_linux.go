package nft

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
)

// in6Ifreq is struct in6_ifreq of linux/ipv6.h.
type in6Ifreq struct {
	address [16]byte
	prefix  uint32
	index   int32
}

// ownSource gives the loopback interface the address from which the proxy reaches the
// application. That of IPv4 is the interface's anyway, as all of 127.0.0.0/8 is; IPv6 has
// one loopback address only. It may be there already.
func ownSource() error {
	err := loopback(unix.SIOCSIFADDR)
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
	err := loopback(unix.SIOCDIFADDR)
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EACCES) {
		return nil
	}
	return err
}

// loopback asks the kernel to give the proxy's address to the loopback interface, or to
// take it away.
func loopback(request uintptr) error {
	source := netip.MustParsePrefix(capture.InboundSource6)
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return fmt.Errorf("the loopback interface: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("a socket of IPv6: %w", err)
	}
	defer unix.Close(fd)
	r := in6Ifreq{source.Addr().As16(), uint32(source.Bits()), int32(lo.Index)}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&r)))
	switch errno {
	case 0:
		return nil
	case unix.EPERM:
		return fmt.Errorf("%s on the loopback interface: %w: the container needs the capability NET_ADMIN", source, errno)
	}
	return fmt.Errorf("%s on the loopback interface: %w", source, errno)
}
