//go:build netns && linux

package nft

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/windtunnel-mesh/windtunnel/mesh/nameserver"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/nametable"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

func (w inside) ListenPacket(ctx context.Context, addr string) (p net.PacketConn, err error) {
	failed := on(w.ns, proxy, proxy, func() error { p, err = w.System.ListenPacket(ctx, addr); return err })
	return p, failed
}

// An application asks the name server of its pod, by UDP and TCP, of both families: the
// proxy answers what it knows, and asks that very server for the rest, from a port that the
// kernel does not take for the application's.
func TestQueriesOfAPod(t *testing.T) {
	l := newPods(t)
	ctx := context.Background()
	listen := func(w inside, at string) nameserver.Sockets {
		p, err := w.ListenPacket(ctx, at)
		if err != nil {
			t.Fatal(err)
		}
		s, err := w.Listen(ctx, at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = p.Close(), s.Close() })
		return nameserver.Sockets{Packets: p, Streams: s}
	}
	var servers []netip.AddrPort
	for _, a := range []string{service4, service6} {
		server := netip.AddrPortFrom(netip.MustParseAddr(a), 53)
		servers = append(servers, server)
		s := listen(inside{ns: l.remote}, server.String())
		handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, 1)}}
			_ = w.WriteMsg(m)
		})
		go func() { _ = (&dns.Server{PacketConn: s.Packets, Handler: handler}).ActivateAndServe() }()
		go func() { _ = (&dns.Server{Listener: s.Streams, Handler: handler}).ActivateAndServe() }()
	}
	for i := range flowSets {
		if flowSets[i].name == "DNS" {
			if err := on(l.pod, 0, 0, func() error { _, err := Program(flowSets[i].rules(t)); return err }); err != nil {
				t.Fatal(err)
			}
		}
	}
	table := nametable.New([]snapshot.Name{{Host: "db.example.com", Addresses: []netip.Addr{netip.MustParseAddr("240.240.0.1")}}}, nametable.Pod{})
	pod := inside{ns: l.pod}
	own, err := nameserver.New(nameserver.Options{Table: func() *nametable.Table { return table }, Servers: servers, Dial: pod.Dial})
	if err != nil {
		t.Fatal(err)
	}
	upstream, err := pod.ListenPacket(ctx, ":15054")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	sockets := []nameserver.Sockets{listen(pod, "127.0.0.1:15053"), listen(pod, "[::1]:15053")}
	go func() { ended <- own.Serve(ctx, sockets, upstream) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for _, network := range []string{"udp", "tcp"} {
		for _, server := range servers {
			for name, want := range map[string]string{"db.example.com.": "240.240.0.1", "far.example.org.": "192.0.2.1"} {
				for range 3 {
					var m *dns.Msg
					err := on(l.pod, app, app, func() (err error) {
						c := &dns.Client{Net: network, Timeout: time.Minute}
						m, _, err = c.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), server.String())
						return err
					})
					if err != nil || len(m.Answer) != 1 || !strings.HasSuffix(m.Answer[0].String(), want) {
						t.Errorf("%s of %s by %s: %v, %v", name, server, network, m, err)
					}
				}
			}
		}
	}
}
