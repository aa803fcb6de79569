package capture

import (
	"net/netip"
	"slices"
	"strings"
)

// domain is the port of name servers.
const domain = 53

// NameServers are the name servers in the text of a resolv.conf, in their order. Lines that
// say something else, or nothing that is an address, are the resolver's affair.
func NameServers(resolvConf []byte) []netip.Addr {
	var list []netip.Addr
	for line := range strings.Lines(string(resolvConf)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil && !slices.Contains(list, a.Unmap().WithZone("")) {
			list = append(list, a.Unmap().WithZone(""))
		}
	}
	return list
}

// servers are the name servers of a family whose queries are redirected.
func (o *Options) servers(f family) []netip.Prefix {
	if !o.RedirectDNS {
		return nil
	}
	var all []netip.Prefix
	for _, a := range o.DNSServers {
		all = append(all, netip.PrefixFrom(a, a.BitLen()))
	}
	return f.of(all)
}

// toDNS redirects queries to the proxy. Those to other servers than the pod's own go where
// they are sent: a name server of the pod may ask them on behalf of the proxy.
func toDNS(servers []netip.Prefix) []Rule {
	var rules []Rule
	for _, udp := range []bool{false, true} {
		for _, s := range servers {
			rules = append(rules, Rule{UDP: udp, Destination: s, Port: domain, Target: Redirect, ToPort: DNSPort})
		}
	}
	return rules
}

// captureUDP adds to the chains of TCP what is needed for UDP: of what the pod sends only
// queries are captured, but not the proxy's own.
func (o *Options) captureUDP(chains []Chain) {
	for i := range chains {
		switch c := &chains[i]; c.Name {
		case Output:
			for _, name := range o.ExcludeInterfaces {
				c.Rules = append(c.Rules, Rule{UDP: true, Out: name, Target: Return})
			}
			c.Rules = append(c.Rules, Rule{UDP: true, Target: OutputOwn})
		case OutputOwn:
			for _, p := range o.ExcludeOutboundPorts {
				c.Rules = append(c.Rules, Rule{UDP: true, Port: p, Target: Return})
			}
			c.Rules = append(c.Rules,
				Rule{UDP: true, UID: Owner{true, false, o.ProxyUID}, Target: Return},
				Rule{UDP: true, GID: Owner{true, false, o.ProxyGID}, Target: Return},
				Rule{UDP: true, Target: OutputDNS})
		}
	}
}
