package listen

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// proxied is what a header of the PROXY protocol says: where a connection came from, and
// where it went, before the proxies that passed it on. Both are zero where it says nothing.
type proxied struct {
	source, destination netip.AddrPort
	length              int // of the header, in bytes
}

// errNoHeader is for bytes that are no header of the PROXY protocol, errBadHeader for a
// header that is not valid.
var (
	errNoHeader  = errors.New("there is no header of the PROXY protocol")
	errBadHeader = errors.New("the header of the PROXY protocol is not valid")
)

const (
	lineStart     = "PROXY "
	lineMost      = 107 // with the line's end
	binaryStart   = "\r\n\r\n\x00\r\nQUIT\n"
	binaryMinimum = 16
)

// parseProxied reads a header of version 1 or 2 (HAProxy's proxy-protocol.txt).
// errUndecided asks for more bytes.
func parseProxied(b []byte) (proxied, error) {
	switch {
	case begins(b, lineStart):
		return parseProxyLine(b)
	case begins(b, binaryStart):
		return parseProxyBinary(b)
	default:
		return proxied{}, errNoHeader
	}
}

// begins tells whether b begins with a text, as far as it goes.
func begins(b []byte, text string) bool {
	n := min(len(b), len(text))
	return string(b[:n]) == text[:n]
}

// parseProxyLine reads "PROXY TCP4 SOURCE DESTINATION PORT PORT\r\n". What follows UNKNOWN
// is not read.
func parseProxyLine(b []byte) (proxied, error) {
	end := bytes.Index(b, []byte("\r\n"))
	switch {
	case end < 0 && len(b) < lineMost:
		return proxied{}, errUndecided
	case end < 0 || end+2 > lineMost:
		return proxied{}, errBadHeader
	}
	p := proxied{length: end + 2}
	words := strings.Split(string(b[len(lineStart):max(end, len(lineStart))]), " ")
	if words[0] == "UNKNOWN" {
		return p, nil
	}
	if len(words) != 5 || words[0] != "TCP4" && words[0] != "TCP6" {
		return proxied{}, errBadHeader
	}
	for i, into := range []*netip.AddrPort{&p.source, &p.destination} {
		address, err := netip.ParseAddr(words[1+i])
		if err != nil || address.Is4() != (words[0] == "TCP4") || address.Zone() != "" {
			return proxied{}, errBadHeader
		}
		port, err := strconv.ParseUint(words[3+i], 10, 16)
		if err != nil || strconv.FormatUint(port, 10) != words[3+i] {
			return proxied{}, errBadHeader
		}
		*into = netip.AddrPortFrom(address, uint16(port))
	}
	return p, nil
}

// The numbers of version 2.
const (
	commandLocal, commandProxy = 0x20, 0x21
	familyUnspecified          = 0x0
	familyTCP4, familyTCP6     = 0x11, 0x21
	lengthTCP4, lengthTCP6     = 12, 36
)

// parseProxyBinary reads version 2. Extensions behind the addresses are passed over. A
// LOCAL header, a health check's of the proxy before, says nothing.
func parseProxyBinary(b []byte) (proxied, error) {
	if len(b) < binaryMinimum {
		return proxied{}, errUndecided
	}
	command, family := b[12], b[13]
	length := int(binary.BigEndian.Uint16(b[14:]))
	p := proxied{length: binaryMinimum + length}
	addresses := 0
	switch {
	case command == commandLocal, command == commandProxy && family>>4 == familyUnspecified:
	case command == commandProxy && family == familyTCP4:
		addresses = lengthTCP4
	case command == commandProxy && family == familyTCP6:
		addresses = lengthTCP6
	default:
		return proxied{}, errBadHeader
	}
	if length < addresses {
		return proxied{}, errBadHeader
	}
	if len(b) < p.length {
		return proxied{}, errUndecided
	}
	if addresses > 0 {
		block := b[binaryMinimum : binaryMinimum+addresses]
		size := (addresses - 4) / 2
		source, _ := netip.AddrFromSlice(block[:size])
		destination, _ := netip.AddrFromSlice(block[size : 2*size])
		p.source = netip.AddrPortFrom(source, binary.BigEndian.Uint16(block[2*size:]))
		p.destination = netip.AddrPortFrom(destination, binary.BigEndian.Uint16(block[2*size+2:]))
	}
	return p, nil
}

// unwrap reads the header that a connection begins with and notes in its facts what that
// says. Envoy closes a connection without one, unless the listener says that it may be missing.
func unwrap(c *peekConn, l *snapshot.Listener, facts *message.Conn) error {
	if l.InspectTimeout > 0 {
		_ = c.SetReadDeadline(time.Now().Add(l.InspectTimeout))
		defer func() { _ = c.SetReadDeadline(time.Time{}) }()
	}
	for {
		p, err := proxied{}, errUndecided
		if len(c.ahead) > 0 {
			p, err = parseProxied(c.ahead)
		}
		switch {
		case err == nil:
			c.ahead = c.ahead[p.length:]
			if p.source.IsValid() {
				facts.Restored = facts.Restored || p.destination != facts.Local
				facts.Peer, facts.Remote, facts.Local = facts.Remote, p.source, p.destination
			}
			return nil
		case err == errNoHeader && l.ProxyProtocolOptional:
			return nil
		case err != errUndecided:
			return err
		}
		if _, err := c.more(); err != nil {
			if t, ok := err.(interface{ Timeout() bool }); ok && t.Timeout() && l.ContinueOnTimeout {
				return nil
			}
			return err
		}
	}
}
