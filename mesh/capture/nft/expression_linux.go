package nft

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
)

// register is where each condition loads what it compares.
const register = 1

// Offsets in the header of the network layer, in bytes.
const (
	source4, destination4 = 12, 16
	source6, destination6 = 8, 24
)

// expressions are a rule as the kernel's little programs: load, compare, go on while
// equal, and a verdict at the end.
func expressions(r *capture.Rule, family nftables.TableFamily) []expr.Any {
	source, destination := uint32(source4), uint32(destination4)
	if family == nftables.TableFamilyIPv6 {
		source, destination = source6, destination6
	}
	protocol := byte(unix.IPPROTO_TCP)
	if r.UDP {
		protocol = unix.IPPROTO_UDP
	}
	// The kernel compares the protocol before what only headers with ports have.
	list := []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register}, equal(false, []byte{protocol})}
	if r.In != "" {
		list = append(list, &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: register}, equal(false, device(r.In)))
	}
	if r.Out != "" {
		list = append(list, &expr.Meta{Key: expr.MetaKeyOIFNAME, Register: register}, equal(false, device(r.Out)))
	}
	if r.Source.IsValid() {
		list = append(list, within(r.Source, source, false)...)
	}
	if r.Destination.IsValid() {
		list = append(list, within(r.Destination, destination, r.NotDestination)...)
	}
	if r.Port != 0 {
		list = append(list, &expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			equal(r.NotPort, binaryutil.BigEndian.PutUint16(r.Port)))
	}
	list = append(list, owner(expr.MetaKeySKUID, r.UID)...)
	list = append(list, owner(expr.MetaKeySKGID, r.GID)...)
	return append(list, verdict(r)...)
}

func equal(not bool, data []byte) *expr.Cmp {
	op := expr.CmpOpEq
	if not {
		op = expr.CmpOpNeq
	}
	return &expr.Cmp{Op: op, Register: register, Data: data}
}

// device is an interface's name as the kernel keeps it, in 16 bytes.
func device(name string) []byte {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return padded
}

// within compares an address with a prefix; a whole address needs no mask.
func within(p netip.Prefix, offset uint32, not bool) []expr.Any {
	address := p.Addr().AsSlice()
	size := uint32(len(address))
	list := []expr.Any{&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}}
	if !p.IsSingleIP() {
		mask := make([]byte, size)
		for i := range p.Bits() {
			mask[i/8] |= 0x80 >> (i % 8)
		}
		list = append(list, &expr.Bitwise{SourceRegister: register, DestRegister: register, Len: size, Mask: mask, Xor: make([]byte, size)})
	}
	return append(list, equal(not, address))
}

// owner compares the user or group of a socket, which the kernel has in its own byte order.
func owner(key expr.MetaKey, o capture.Owner) []expr.Any {
	if !o.Set {
		return nil
	}
	id := make([]byte, 4)
	binary.NativeEndian.PutUint32(id, uint32(o.ID))
	return []expr.Any{&expr.Meta{Key: key, Register: register}, equal(o.Not, id)}
}

func verdict(r *capture.Rule) []expr.Any {
	switch r.Target {
	case capture.Return:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}
	case capture.Redirect:
		return []expr.Any{
			&expr.Immediate{Register: register, Data: binaryutil.BigEndian.PutUint16(r.ToPort)},
			&expr.Redir{RegisterProtoMin: register, RegisterProtoMax: register, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED},
		}
	}
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: r.Target}}
}
