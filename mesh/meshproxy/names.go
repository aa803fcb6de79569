package meshproxy

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
	"github.com/windtunnel-mesh/windtunnel/mesh/nameserver"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/nametable"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/bootstrap"
)

// resolvConf is the configuration of the pod's resolvers.
const resolvConf = "/etc/resolv.conf"

// resolver is what the proxy knows of the pod's own resolvers.
type resolver struct {
	captured bool // the proxy answers their queries
	pod      nametable.Pod
	servers  []netip.AddrPort // that they would ask
}

// newResolver finds out whether the pod's queries come to the proxy, and who asks.
func (p *Proxy) newResolver() error {
	r, err := resolverOf(p.boot, p.o.ReadFile)
	if err != nil {
		return fmt.Errorf("DNS: %w", err)
	}
	p.resolver = r
	return nil
}

func resolverOf(b *bootstrap.Bootstrap, readFile func(string) ([]byte, error)) (r resolver, err error) {
	meta := b.Node.GetMetadata().AsMap()
	word, _ := meta["DNS_CAPTURE"].(string)
	if word == "" {
		return r, nil
	}
	if r.captured, err = strconv.ParseBool(word); err != nil || !r.captured {
		return r, err
	}
	text, err := readFile(resolvConf)
	if err != nil {
		return r, err
	}
	r.pod.Namespace, _ = meta["NAMESPACE"].(string)
	if parts := strings.Split(b.Node.GetId(), "~"); len(parts) == 4 {
		r.pod.Domain = parts[3]
	}
	r.pod.Search = searchDomains(text)
	for _, a := range capture.NameServers(text) {
		r.servers = append(r.servers, netip.AddrPortFrom(a, 53))
	}
	if len(r.servers) == 0 {
		return r, fmt.Errorf("%s names no server", resolvConf)
	}
	return r, nil
}

// searchDomains are those of a resolv.conf: its last line with them counts.
func searchDomains(text []byte) []string {
	var list []string
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 0 && words[0] == "search" {
			list = words[1:]
		}
	}
	return list
}

// Names are the names that the proxy answers its application's DNS queries for; nil: it
// answers none, or knows none yet.
func (p *Proxy) Names() *nametable.Table {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.names
}

// upstreamPort is where queries by UDP are passed on from: below the ports that the kernel
// gives to who asks for none, so that no application has had it (see nameserver.Serve).
const upstreamPort = 15054

// serveDNS answers the pod's queries, where they come here. In a network without datagrams
// its owner asks for Names.
func (p *Proxy) serveDNS(ctx context.Context, background func(string, func(context.Context) error)) error {
	packets, ok := p.o.Network.(netx.Packets)
	if !p.resolver.captured || !ok {
		return nil
	}
	server, err := nameserver.New(nameserver.Options{Table: p.Names, Servers: p.resolver.servers, Dial: p.o.Network.Dial, Logger: p.o.Logger})
	if err != nil {
		return err
	}
	var opened []interface{ Close() error }
	fail := func(err error) error {
		for _, c := range opened {
			_ = c.Close()
		}
		return fmt.Errorf("listen for DNS: %w", err)
	}
	var sockets []nameserver.Sockets
	for _, a := range p.loopbacks() {
		at := netip.AddrPortFrom(a, capture.DNSPort).String()
		u, err := packets.ListenPacket(ctx, at)
		if err != nil {
			return fail(err)
		}
		opened = append(opened, u)
		t, err := p.o.Network.Listen(ctx, at)
		if err != nil {
			return fail(err)
		}
		opened = append(opened, t)
		sockets = append(sockets, nameserver.Sockets{Packets: u, Streams: t})
	}
	upstream, err := packets.ListenPacket(ctx, ":"+strconv.Itoa(upstreamPort))
	if err != nil {
		return fail(err)
	}
	background("DNS", func(ctx context.Context) error { return server.Serve(ctx, sockets, upstream) })
	return nil
}

// loopbacks are those of the families that the pod has; IPv4's where nobody said.
func (p *Proxy) loopbacks() []netip.Addr {
	var four, six bool
	for _, a := range p.addresses {
		four, six = four || a.Is4(), six || a.Is6()
	}
	var list []netip.Addr
	if four || !six {
		list = append(list, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	if six {
		list = append(list, netip.IPv6Loopback())
	}
	return list
}
