package capture

import (
	"fmt"
	"net/netip"
	"strings"
)

// The source addresses of the proxy's connections to its own application, by which the rules
// know them. That of IPv6 is no address of a host until somebody gives it one.
const (
	InboundSource  = "127.0.0.6/32"
	InboundSource6 = "::6/128"
)

// Rules is a pod's rule set: the chains of the nat table, once per address family.
// It does not change after New.
type Rules struct{ IPv4, IPv6 []Chain }

// New makes the rules that istio-iptables programs in REDIRECT mode.
func New(o Options) (*Rules, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	return &Rules{
		IPv4: o.chains(family{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix(InboundSource)}),
		IPv6: o.chains(family{netip.MustParsePrefix("::1/128"), netip.MustParsePrefix(InboundSource6)}),
	}, nil
}

// family has the two addresses that rules name in each family.
type family struct {
	localhost netip.Prefix
	// passthrough is the source address of the proxy's connections to its own
	// application: they must reach it, not the inbound listener again.
	passthrough netip.Prefix
}

func (f family) of(list []netip.Prefix) []netip.Prefix {
	var own []netip.Prefix
	for _, p := range list {
		if p.Addr().Is4() == f.localhost.Addr().Is4() {
			own = append(own, p)
		}
	}
	return own
}

func (o *Options) chains(f family) []Chain {
	var prerouting, output []Rule
	for _, name := range o.ExcludeInterfaces {
		prerouting = append(prerouting, Rule{In: name, Target: Return})
		output = append(output, Rule{Out: name, Target: Return})
	}
	if o.InboundPorts.All || len(o.InboundPorts.List) > 0 {
		prerouting = append(prerouting, Rule{Target: Inbound})
	}
	output = append(output, Rule{Target: OutputOwn})
	chains := []Chain{
		{Prerouting, prerouting},
		{Output, output},
		{Inbound, o.inbound()},
		{OutputOwn, o.output(f)},
		{ToOutbound, []Rule{{Target: Redirect, ToPort: o.OutboundPort}}},
		{ToInbound, []Rule{{Target: Redirect, ToPort: o.InboundPort}}},
	}
	if servers := o.servers(f); servers != nil {
		o.captureUDP(chains)
		chains = append(chains, Chain{OutputDNS, toDNS(servers)})
	}
	return chains
}

func (o *Options) inbound() []Rule {
	rules := []Rule{{Port: o.TunnelPort, Target: Return}}
	if !o.InboundPorts.All {
		for _, p := range o.InboundPorts.List {
			rules = append(rules, Rule{Port: p, Target: ToInbound})
		}
		return rules
	}
	for _, p := range o.ExcludeInboundPorts {
		rules = append(rules, Rule{Port: p, Target: Return})
	}
	return append(rules, Rule{Target: ToInbound})
}

// output is in the order that matters: what is never captured, the proxy's own
// connections, localhost, then what is captured.
func (o *Options) output(f family) []Rule {
	var rules []Rule
	for _, p := range o.ExcludeOutboundPorts {
		rules = append(rules, Rule{Port: p, Target: Return})
	}
	rules = append(rules, Rule{Out: "lo", Source: f.passthrough, Target: Return})
	captureLoopback := false
	for _, p := range f.of(o.IncludeOutbound.List) {
		captureLoopback = captureLoopback || p.Overlaps(f.localhost)
	}
	rules = append(rules, o.owned(f, captureLoopback, func(r *Rule, not bool) { r.UID = Owner{true, not, o.ProxyUID} })...)
	rules = append(rules, o.owned(f, captureLoopback, func(r *Rule, not bool) { r.GID = Owner{true, not, o.ProxyGID} })...)
	if len(o.servers(f)) > 0 {
		rules = append(rules, Rule{Target: OutputDNS})
	}
	rules = append(rules, Rule{Destination: f.localhost, Target: Return})
	for _, p := range f.of(o.ExcludeOutbound) {
		rules = append(rules, Rule{Destination: p, Target: Return})
	}
	for _, p := range o.IncludeOutboundPorts {
		rules = append(rules, Rule{Port: p, Target: ToOutbound})
	}
	if o.IncludeOutbound.All {
		return append(rules, Rule{Target: ToOutbound})
	}
	for _, p := range f.of(o.IncludeOutbound.List) {
		rules = append(rules, Rule{Destination: p, Target: ToOutbound})
	}
	return rules
}

// owned makes the rules about connections of the proxy's user (or group). From the
// proxy to an address of its own pod: the application calls itself through its
// Service, and the inbound listener has its turn. From anyone else over lo: left
// alone. All else of the proxy: left alone, or it would call itself for ever.
func (o *Options) owned(f family, captureLoopback bool, owner func(r *Rule, not bool)) []Rule {
	self := Rule{Out: "lo", Destination: f.localhost, NotDestination: true, Port: o.TunnelPort, NotPort: true, Target: ToInbound}
	owner(&self, false)
	others := Rule{Out: "lo", Target: Return}
	owner(&others, true)
	rest := Rule{Target: Return}
	owner(&rest, false)
	dns := len(o.servers(f)) > 0
	if dns {
		// A name server may be on this host: what asks it is to be captured like any other,
		// and what the proxy asks it is no call of the application to itself.
		others.Port, others.NotPort = domain, true
	}
	rules := []Rule{self, others, rest}
	if captureLoopback {
		rules = []Rule{self, rest}
	}
	if dns {
		own := Rule{Out: "lo", Port: domain, Target: Return}
		owner(&own, false)
		return append([]Rule{own}, rules...)
	}
	return rules
}

// Output decides about a connection that a process of the pod opens.
func (r *Rules) Output(p Packet) Verdict { return r.decide(Output, p, "", p.device()) }

// Prerouting decides about a connection that comes in from outside.
func (r *Rules) Prerouting(p Packet) Verdict { return r.decide(Prerouting, p, p.device(), "") }

func (p *Packet) device() string {
	switch {
	case p.Interface != "":
		return p.Interface
	case p.Loopback:
		return "lo"
	}
	return "eth0"
}

func (r *Rules) decide(start string, p Packet, in, out string) Verdict {
	p.Source = netip.AddrPortFrom(p.Source.Addr().Unmap(), p.Source.Port())
	p.Destination = netip.AddrPortFrom(p.Destination.Addr().Unmap(), p.Destination.Port())
	chains := r.IPv6
	if p.Destination.Addr().Is4() {
		chains = r.IPv4
	}
	if v, ok := walk(chains, start, &p, in, out); ok {
		return v
	}
	return Verdict{Rule: "-P " + start + " ACCEPT"}
}

// walk interprets a chain; ok tells that a rule decided. A RETURN ends the walk:
// what it returns to is a base chain where nothing follows the jump. For a redirect,
// Verdict.Rule is the rule that jumped to the redirecting chain: that is the one
// which tells why.
func walk(chains []Chain, name string, p *Packet, in, out string) (v Verdict, ok bool) {
	for i := range chains {
		if chains[i].Name != name {
			continue
		}
		for j := range chains[i].Rules {
			rule := &chains[i].Rules[j]
			if !rule.matches(p, in, out) {
				continue
			}
			switch rule.Target {
			case Return:
				return Verdict{Rule: rule.text(name)}, true
			case Redirect:
				return Verdict{Redirect: rule.ToPort, Rule: rule.text(name)}, true
			}
			if v, ok := walk(chains, rule.Target, p, in, out); ok {
				if rule.Target == ToInbound || rule.Target == ToOutbound {
					v.Rule = rule.text(name)
				}
				return v, true
			}
		}
	}
	return Verdict{}, false
}

// String prints the rules in the notation of iptables-save and ip6tables-save.
func (r *Rules) String() string {
	var b strings.Builder
	for _, t := range []struct {
		name   string
		chains []Chain
	}{{"IPv4", r.IPv4}, {"IPv6", r.IPv6}} {
		fmt.Fprintf(&b, "# %s\n*nat\n", t.name)
		for _, c := range t.chains {
			policy := "-"
			if c.Name == Prerouting || c.Name == Output {
				policy = "ACCEPT"
			}
			fmt.Fprintf(&b, ":%s %s\n", c.Name, policy)
		}
		for _, c := range t.chains {
			for i := range c.Rules {
				b.WriteString(c.Rules[i].text(c.Name) + "\n")
			}
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}
