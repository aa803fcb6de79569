package nameserver

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// forwarder passes queries on by one socket of UDP. Answers find their queries by the
// server that they come from and an id that is drawn for each.
type forwarder struct {
	socket  net.PacketConn
	servers []netip.AddrPort
	timeout time.Duration

	mu      sync.Mutex
	waiting map[flight]chan *dns.Msg
}

// flight is a query on its way.
type flight struct {
	server netip.AddrPort
	id     uint16
}

func newForwarder(socket net.PacketConn, servers []netip.AddrPort, timeout time.Duration) *forwarder {
	return &forwarder{socket: socket, servers: servers, timeout: timeout, waiting: map[flight]chan *dns.Msg{}}
}

// run receives answers until the socket is closed.
func (f *forwarder) run() error {
	buffer := make([]byte, dns.MaxMsgSize)
	for {
		n, from, err := f.socket.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			continue // a server that is not there: its port is unreachable
		}
		m := new(dns.Msg)
		if m.Unpack(buffer[:n]) == nil && m.Response {
			f.deliver(flight{addressOf(from), m.Id}, m)
		}
	}
}

func addressOf(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := u.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

func (f *forwarder) deliver(of flight, m *dns.Msg) {
	f.mu.Lock()
	answer := f.waiting[of]
	f.mu.Unlock()
	if answer == nil {
		return // too late, or nobody's
	}
	select {
	case answer <- m:
	default:
	}
}

// exchange asks one server after the other; each has its time.
func (f *forwarder) exchange(q *dns.Msg) (*dns.Msg, error) {
	var errs []error
	for _, server := range f.servers {
		m, err := f.ask(q, server)
		if err == nil {
			m.Id = q.Id
			return m, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (f *forwarder) ask(q *dns.Msg, server netip.AddrPort) (*dns.Msg, error) {
	asked := q.Copy()
	of, answer := f.take(server)
	defer f.leave(of)
	asked.Id = of.id
	packet, err := asked.Pack()
	if err != nil {
		return nil, err
	}
	if _, err := f.socket.WriteTo(packet, net.UDPAddrFromAddrPort(server)); err != nil {
		return nil, err
	}
	timer := time.NewTimer(f.timeout)
	defer timer.Stop()
	for {
		select {
		case m := <-answer:
			if answers(m, asked) {
				return m, nil
			}
		case <-timer.C:
			return nil, fmt.Errorf("%s did not answer in %v", server, f.timeout)
		}
	}
}

// take draws an id that no other query to the server has at the moment.
func (f *forwarder) take(server netip.AddrPort) (flight, chan *dns.Msg) {
	f.mu.Lock()
	defer f.mu.Unlock()
	of := flight{server, dns.Id()}
	for f.waiting[of] != nil {
		of.id = dns.Id()
	}
	answer := make(chan *dns.Msg, 1)
	f.waiting[of] = answer
	return of, answer
}

func (f *forwarder) leave(of flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.waiting, of)
}

// answers tells whether a message is for the question that was asked.
func answers(m, asked *dns.Msg) bool {
	if len(m.Question) != 1 {
		return false
	}
	a, b := m.Question[0], asked.Question[0]
	return strings.EqualFold(a.Name, b.Name) && a.Qtype == b.Qtype && a.Qclass == b.Qclass
}
