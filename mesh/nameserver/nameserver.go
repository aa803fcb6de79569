// Package nameserver answers DNS queries in a pod: what its table knows by itself, and what
// it does not by the pod's own name servers. Capture rules lead the application's queries here.
//
// In: a table, sockets and the servers of resolv.conf. Out: answers. It must not import the
// control plane's packages. It does not run in virtual time: the simulator asks the table.
package nameserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/nametable"
)

// ttl is for how long answers of the table may be kept, in seconds: an address must not
// outlive its Pod for long (Istio's DNS proxy has the same).
const ttl = 30

// Options of a Server. Table, Servers and Dial are needed.
type Options struct {
	// Table returns the names of the moment; nil: they have not come yet.
	Table func() *nametable.Table
	// Servers answer what the table does not know, the first one that answers.
	Servers []netip.AddrPort
	Timeout time.Duration // that each has; default 5 s
	// Dial connects to a server by TCP.
	Dial   func(ctx context.Context, addr string) (net.Conn, error)
	Logger *slog.Logger
}

// Server answers queries.
type Server struct {
	o    Options
	turn atomic.Uint32
}

// New returns a server.
func New(o Options) (*Server, error) {
	if o.Table == nil || o.Dial == nil || len(o.Servers) == 0 {
		return nil, errors.New("a name server needs a table, and a server to ask what the table does not know")
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{o: o}, nil
}

// Sockets are where queries come in on one address.
type Sockets struct {
	Packets net.PacketConn
	Streams net.Listener
}

// Serve answers until the context ends, then closes the sockets. Queries by UDP are passed
// on from the one socket upstream, whose port nobody else in the pod may have: the kernel
// knows a redirected flow by its ports for half a minute, and would take a query of ours from a port
// that an application had a moment ago for that application's, and redirect it back to us.
func (s *Server) Serve(ctx context.Context, sockets []Sockets, upstream net.PacketConn) error {
	f := newForwarder(upstream, s.o.Servers, s.o.Timeout)
	var servers []*dns.Server
	for _, on := range sockets {
		servers = append(servers,
			&dns.Server{PacketConn: on.Packets, Net: "udp", Handler: s.handler(f.exchange, false)},
			&dns.Server{Listener: on.Streams, Net: "tcp", Handler: s.handler(s.exchangeTCP, true)})
	}
	ended := make(chan error, len(servers)+1)
	go func() { ended <- f.run() }()
	for _, server := range servers {
		go func() { ended <- server.ActivateAndServe() }()
	}
	var err error
	left := len(servers) + 1
	select {
	case <-ctx.Done():
	case err = <-ended:
		left--
	}
	for _, on := range sockets {
		_, _ = on.Packets.Close(), on.Streams.Close() // they only have to be closed
	}
	_ = upstream.Close()
	for range left {
		<-ended
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("the DNS server ended: %w", err)
}

// exchange asks the pod's name servers.
type exchange func(q *dns.Msg) (*dns.Msg, error)

func (s *Server) handler(ask exchange, stream bool) dns.Handler {
	return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := s.answer(q, ask)
		size := dns.MaxMsgSize
		if !stream {
			size = dns.MinMsgSize
			if o := q.IsEdns0(); o != nil {
				size = max(size, int(o.UDPSize()))
			}
		}
		m.Truncate(size)
		if err := w.WriteMsg(m); err != nil {
			s.o.Logger.Debug("a DNS answer could not be sent", "error", err)
		}
	})
}

// answer is the table's, else the name servers'.
func (s *Server) answer(q *dns.Msg, ask exchange) *dns.Msg {
	table := s.o.Table()
	if len(q.Question) != 1 || table == nil {
		return failure(q)
	}
	if m := s.known(table, q); m != nil {
		return m
	}
	m, err := ask(q)
	if err != nil {
		s.o.Logger.Info("no name server answered", "name", q.Question[0].Name, "error", err)
		return failure(q)
	}
	return m
}

func failure(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure) }

// known answers for a name of the table; nil: it is none. A name that has addresses of the
// other family only is there all the same: NXDOMAIN would make resolvers give it up. Of
// several addresses each comes first in its turn.
func (s *Server) known(table *nametable.Table, q *dns.Msg) *dns.Msg {
	question := q.Question[0]
	if question.Qclass != dns.ClassINET || question.Qtype != dns.TypeA && question.Qtype != dns.TypeAAAA {
		return nil
	}
	found, ok := table.Lookup(question.Name)
	if !ok {
		return nil
	}
	m := new(dns.Msg).SetReply(q)
	m.Authoritative, m.RecursionAvailable = true, true
	name := question.Name
	if found.Alias != "" {
		m.Answer = append(m.Answer, &dns.CNAME{Hdr: header(name, dns.TypeCNAME), Target: found.Alias})
		name = found.Alias
	}
	var list []dns.RR
	for _, a := range found.Addresses {
		a = a.Unmap()
		switch {
		case a.Is4() && question.Qtype == dns.TypeA:
			list = append(list, &dns.A{Hdr: header(name, dns.TypeA), A: a.AsSlice()})
		case a.Is6() && question.Qtype == dns.TypeAAAA:
			list = append(list, &dns.AAAA{Hdr: header(name, dns.TypeAAAA), AAAA: a.AsSlice()})
		}
	}
	if len(list) > 1 {
		first := int(s.turn.Add(1)) % len(list)
		list = slices.Concat(list[first:], list[:first])
	}
	m.Answer = append(m.Answer, list...)
	return m
}

func header(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
}

// exchangeTCP asks one server after the other, as whoever asked did by TCP.
func (s *Server) exchangeTCP(q *dns.Msg) (*dns.Msg, error) {
	var errs []error
	for _, server := range s.o.Servers {
		m, err := s.askTCP(q, server)
		if err == nil {
			return m, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (s *Server) askTCP(q *dns.Msg, server netip.AddrPort) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.o.Timeout)
	defer cancel()
	conn, err := s.o.Dial(ctx, server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client := &dns.Client{Net: "tcp", Timeout: s.o.Timeout}
	m, _, err := client.ExchangeWithConn(q, &dns.Conn{Conn: conn})
	return m, err
}
