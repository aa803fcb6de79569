package netx

import (
	"encoding/binary"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// soOriginalDst is SO_ORIGINAL_DST of linux/netfilter_ipv4.h, and
// IP6T_SO_ORIGINAL_DST of linux/netfilter_ipv6/ip6_tables.h.
const soOriginalDst = 80

// systemOriginalDst asks netfilter's connection tracking for the address before
// a REDIRECT. Without such a rule the kernel answers ENOENT or the local address.
func systemOriginalDst(c net.Conn) (netip.AddrPort, bool) {
	var tcp *net.TCPConn
	switch c := c.(type) {
	case *net.TCPConn:
		tcp = c
	case *Socket:
		tcp = c.TCPConn
	default:
		return netip.AddrPort{}, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, false
	}
	local := AddrPort(tcp.LocalAddr())
	var dst netip.AddrPort
	err = raw.Control(func(fd uintptr) {
		if local.Addr().Is4() {
			dst = originalDst4(fd)
		} else {
			dst = originalDst6(fd)
		}
	})
	return dst, err == nil && dst.IsValid() && dst != local
}

func originalDst4(fd uintptr) netip.AddrPort {
	var sa unix.RawSockaddrInet4
	size := uint32(unsafe.Sizeof(sa))
	if !getsockopt(fd, unix.SOL_IP, unsafe.Pointer(&sa), &size) {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), networkOrder(sa.Port))
}

func originalDst6(fd uintptr) netip.AddrPort {
	var sa unix.RawSockaddrInet6
	size := uint32(unsafe.Sizeof(sa))
	if !getsockopt(fd, unix.SOL_IPV6, unsafe.Pointer(&sa), &size) {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), networkOrder(sa.Port))
}

func getsockopt(fd uintptr, level int, value unsafe.Pointer, size *uint32) bool {
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, uintptr(level), soOriginalDst,
		uintptr(value), uintptr(unsafe.Pointer(size)), 0)
	return errno == 0
}

func networkOrder(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}
