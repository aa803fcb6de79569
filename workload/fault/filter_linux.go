package fault

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// table is the name of the tables, one per address family; nothing else may use it.
const table = "windtunnel-fault"

const register = 1

// Offsets of the source and the destination in a header of the network layer, in bytes.
var (
	offsets4 = [2]uint32{12, 16}
	offsets6 = [2]uint32{8, 24}
)

// filter replaces what is filtered in the network namespace of a process.
func filter(pid int, drop []netip.Addr, refuse []uint16) error {
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	defer namespace.Close()
	conn, err := nftables.New(nftables.WithNetNSFd(int(namespace.Fd())))
	if err != nil {
		return fmt.Errorf("filter the packets of process %d: %w", pid, err)
	}
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		t := &nftables.Table{Name: table, Family: family}
		conn.AddTable(t) // only what exists can be deleted
		conn.DelTable(t)
		if len(drop)+len(refuse) > 0 {
			conn.AddTable(t)
			program(conn, t, drop, refuse)
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("filter the packets of process %d: %w", pid, err)
	}
	return nil
}

// program adds the rules of one family, after all translation of addresses.
func program(conn *nftables.Conn, t *nftables.Table, drop []netip.Addr, refuse []uint16) {
	accept := nftables.ChainPolicyAccept
	in := conn.AddChain(&nftables.Chain{Name: "input", Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput,
		Priority: nftables.ChainPriorityFilter, Policy: &accept})
	out := conn.AddChain(&nftables.Chain{Name: "output", Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput,
		Priority: nftables.ChainPriorityFilter, Policy: &accept})
	offsets := offsets4
	if t.Family == nftables.TableFamilyIPv6 {
		offsets = offsets6
	}
	for _, addr := range drop {
		if addr.Is4() != (t.Family == nftables.TableFamilyIPv4) {
			continue
		}
		for i, chain := range []*nftables.Chain{in, out} {
			conn.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{
				&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offsets[i], Len: uint32(addr.BitLen() / 8)},
				&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: addr.AsSlice()},
				&expr.Verdict{Kind: expr.VerdictDrop}}})
		}
	}
	for _, port := range refuse {
		conn.AddRule(&nftables.Rule{Table: t, Chain: in, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
			&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{unix.IPPROTO_TCP}},
			&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: binary.BigEndian.AppendUint16(nil, port)},
			&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}})
	}
}
