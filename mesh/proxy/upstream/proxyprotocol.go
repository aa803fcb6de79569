package upstream

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// Told are the ends of a downstream connection, as a header of the PROXY protocol tells
// a host of them; zero: there is none, as with health checks and the proxy's own requests.
type Told struct{ Source, Destination netip.AddrPort }

func (t Told) known() bool { return t.Source.IsValid() && t.Destination.IsValid() }

// tell writes the header of the PROXY protocol that a connection begins with, ahead of any
// handshake.
func tell(raw net.Conn, version uint8, t Told) error {
	_, err := raw.Write(proxyHeader(version, t, Told{netx.AddrPort(raw.LocalAddr()), netx.AddrPort(raw.RemoteAddr())}))
	return err
}

// proxyHeader makes a header of version 1 or 2 (HAProxy's proxy-protocol.txt). Without a
// downstream connection Envoy writes its own addresses in version 1, and in version 2 that the
// connection is its own (LOCAL).
func proxyHeader(version uint8, t, own Told) []byte {
	if version == 1 {
		if !t.known() {
			t = own
		}
		return proxyLine(t)
	}
	header := []byte("\r\n\r\n\x00\r\nQUIT\n")
	if !t.known() {
		return append(header, 0x20, 0, 0, 0)
	}
	source, destination := t.Source.Addr().Unmap(), t.Destination.Addr().Unmap()
	if source.Is4() && destination.Is4() {
		header = append(header, 0x21, 0x11, 0, 12)
	} else {
		header = append(header, 0x21, 0x21, 0, 36)
		source, destination = netip.AddrFrom16(source.As16()), netip.AddrFrom16(destination.As16())
	}
	header = append(header, source.AsSlice()...)
	header = append(header, destination.AsSlice()...)
	header = binary.BigEndian.AppendUint16(header, t.Source.Port())
	return binary.BigEndian.AppendUint16(header, t.Destination.Port())
}

func proxyLine(t Told) []byte {
	source, destination, family := t.Source.Addr().Unmap(), t.Destination.Addr().Unmap(), "TCP4"
	switch {
	case source.Is4() != destination.Is4():
		return []byte("PROXY UNKNOWN\r\n")
	case source.Is6():
		family = "TCP6"
	}
	return fmt.Appendf(nil, "PROXY %s %s %s %d %d\r\n", family, source, destination, t.Source.Port(), t.Destination.Port())
}

// ToldOf are the ends of a downstream connection, which may be nil.
func ToldOf(c *message.Conn) Told {
	if c == nil {
		return Told{}
	}
	return Told{Source: c.Remote, Destination: c.Local}
}
