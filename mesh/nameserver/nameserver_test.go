package nameserver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/nametable"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// patience is more than any answer takes on whatever machine.
const patience = time.Minute

// lab is a server, and the name server that it asks.
type lab struct {
	at    string
	asked atomic.Int32 // of the name server
}

func packets(t *testing.T) net.PacketConn {
	t.Helper()
	p, err := netx.System{}.ListenPacket(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// streams listens on the port that has been taken for datagrams.
func streams(t *testing.T, p net.PacketConn) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", p.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newLab(t *testing.T, table func() *nametable.Table) *lab {
	t.Helper()
	l := &lab{}
	// The name server: knows far.example.org, truncates what is long.
	up := packets(t)
	upTCP := streams(t, up)
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		l.asked.Add(1)
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Name == "far.example.org." {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5}, A: net.IPv4(192, 0, 2, 1)})
		} else {
			m.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(m)
	})
	for _, s := range []*dns.Server{{PacketConn: up, Handler: answer}, {Listener: upTCP, Handler: answer}} {
		go func() { _ = s.ActivateAndServe() }()
	}
	t.Cleanup(func() { _, _ = up.Close(), upTCP.Close() })
	// A server in front of it that cannot be reached: it is of the other family.
	first := netip.MustParseAddrPort("[::1]:1")
	s, err := New(Options{Table: table, Servers: []netip.AddrPort{first, netip.MustParseAddrPort(up.LocalAddr().String())},
		Timeout: patience, Dial: netx.System{}.Dial})
	if err != nil {
		t.Fatal(err)
	}
	own := packets(t)
	l.at = own.LocalAddr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	sockets := []Sockets{{own, streams(t, own)}}
	go func() { ended <- s.Serve(ctx, sockets, packets(t)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l
}

func (l *lab) ask(t *testing.T, network, name string, kind uint16) *dns.Msg {
	t.Helper()
	c := &dns.Client{Net: network, Timeout: patience}
	m, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, kind), l.at)
	if err != nil {
		t.Fatalf("%s %s: %v", network, name, err)
	}
	return m
}

func table(names ...snapshot.Name) func() *nametable.Table {
	t := nametable.New(names, nametable.Pod{Namespace: "shop", Domain: "svc.cluster.local", Search: []string{"shop.svc.cluster.local"}})
	return func() *nametable.Table { return t }
}

func TestAnswers(t *testing.T) {
	var many []netip.Addr
	for i := range 100 {
		many = append(many, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	l := newLab(t, table(
		snapshot.Name{Host: "db.example.com", Addresses: []netip.Addr{netip.MustParseAddr("240.240.0.1")}},
		snapshot.Name{Host: "*.below.example.com", Addresses: []netip.Addr{netip.MustParseAddr("240.240.0.2"), netip.MustParseAddr("2001:2::f0f0:2")}},
		snapshot.Name{Host: "many.example.com", Addresses: many},
	))
	for _, c := range []struct {
		name string
		kind uint16
		want string // code, then answers
		own  bool
	}{
		{"db.example.com.", dns.TypeA, "NOERROR A 240.240.0.1", true},
		{"DB.Example.com.", dns.TypeA, "NOERROR A 240.240.0.1", true},
		{"db.example.com.", dns.TypeAAAA, "NOERROR", true}, // it is there, without such an address
		{"db.example.com.shop.svc.cluster.local.", dns.TypeA, "NOERROR CNAME db.example.com. A 240.240.0.1", true},
		{"x.y.below.example.com.", dns.TypeAAAA, "NOERROR AAAA 2001:2::f0f0:2", true},
		{"far.example.org.", dns.TypeA, "NOERROR A 192.0.2.1", false},
		{"nobody.example.org.", dns.TypeA, "NXDOMAIN", false},
		{"db.example.com.", dns.TypeMX, "NXDOMAIN", false}, // what the table does not have, others may
	} {
		for _, network := range []string{"udp", "tcp"} {
			before := l.asked.Load()
			m := l.ask(t, network, c.name, c.kind)
			got := dns.RcodeToString[m.Rcode]
			for _, r := range m.Answer {
				got += " " + dns.TypeToString[r.Header().Rrtype] + " " + strings.TrimPrefix(r.String(), r.Header().String())
			}
			if own := l.asked.Load() == before; got != c.want || own != c.own || m.Authoritative != c.own {
				t.Errorf("%s: %s %s: %s (authoritative: %v), want %s", network, c.name, dns.TypeToString[c.kind], got, m.Authoritative, c.want)
			}
		}
	}
	if m := l.ask(t, "udp", "many.example.com.", dns.TypeA); !m.Truncated || len(m.Answer) == 0 {
		t.Errorf("what is too long for a datagram is not marked: %d answers", len(m.Answer))
	}
	first := map[string]bool{}
	for range 3 {
		m := l.ask(t, "tcp", "many.example.com.", dns.TypeA)
		if len(m.Answer) != len(many) {
			t.Fatalf("%d answers", len(m.Answer))
		}
		first[fmt.Sprint(m.Answer[0])] = true
	}
	if len(first) != 3 {
		t.Errorf("three answers begin with %d addresses", len(first))
	}
}

func TestBeforeThereAreNames(t *testing.T) {
	l := newLab(t, func() *nametable.Table { return nil })
	if m := l.ask(t, "udp", "far.example.org.", dns.TypeA); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("%s", dns.RcodeToString[m.Rcode])
	}
}

func TestNobodyAnswers(t *testing.T) {
	s, err := New(Options{Table: table(), Dial: netx.System{}.Dial, Timeout: time.Millisecond,
		Servers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}})
	if err != nil {
		t.Fatal(err)
	}
	socket := packets(t)
	defer socket.Close()
	f := newForwarder(socket, s.o.Servers, s.o.Timeout)
	for _, ask := range []exchange{f.exchange, s.exchangeTCP} {
		if m := s.answer(new(dns.Msg).SetQuestion("a.example.", dns.TypeA), ask); m.Rcode != dns.RcodeServerFailure {
			t.Errorf("%s", dns.RcodeToString[m.Rcode])
		}
	}
}
