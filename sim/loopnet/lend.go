package loopnet

import (
	"fmt"
	"os"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx/broker"
)

// Lend is the host's network, as a process of that user sees it, for another process
// of this machine.
func (h *Host) Lend(uid, gid int) broker.Source { return &lender{h.Network(uid, gid), h} }

// lender gives a host's sockets away.
type lender struct {
	netx.Network
	host *Host
}

// Hand implements broker.Source. What a dialled connection announced to the accepting
// end stays announced: that may look later.
func (l *lender) Hand(socket any) (*os.File, broker.Flow, error) {
	switch s := socket.(type) {
	case *conn:
		file, err := s.TCPConn.File()
		if err != nil {
			return nil, broker.Flow{}, err
		}
		s.host.forget(s)
		_ = s.TCPConn.Close()
		return file, broker.Flow{Local: s.local.AddrPort(), Remote: s.remote.AddrPort(), Original: s.original}, nil
	case *listener:
		file, err := s.TCPListener.File()
		return file, broker.Flow{Local: netx.AddrPort(s.Addr())}, err
	}
	return nil, broker.Flow{}, fmt.Errorf("%T is no socket of host %s", socket, l.host.Name())
}

// Accepted implements broker.Source.
func (l *lender) Accepted(real broker.Flow) broker.Flow {
	a := l.host.net.arrived(flow{from: real.Remote, to: real.Local})
	return broker.Flow{Local: a.local, Remote: a.remote, Original: a.original}
}

var _ broker.Source = (*lender)(nil)
