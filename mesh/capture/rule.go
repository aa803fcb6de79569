package capture

import (
	"fmt"
	"net/netip"
	"strings"
)

// Names of chains and verdicts, as istio-iptables has them. Prerouting and Output
// are netfilter's own chains, whose policy is to accept.
const (
	Prerouting = "PREROUTING"
	Output     = "OUTPUT"
	Inbound    = "ISTIO_INBOUND"
	OutputOwn  = "ISTIO_OUTPUT"
	ToOutbound = "ISTIO_REDIRECT"
	ToInbound  = "ISTIO_IN_REDIRECT"
	OutputDNS  = "ISTIO_OUTPUT_DNS"

	Return   = "RETURN"
	Redirect = "REDIRECT"
)

// Chain is a named list of rules; the first that matches decides.
type Chain struct {
	Name  string
	Rules []Rule
}

// Rule is one rule: all conditions that are set have to hold, then Target is what
// happens: Return (to the calling chain, here always: accept), Redirect (to ToPort
// on this host), or the name of a chain. A rule is for TCP, or for UDP.
type Rule struct {
	UDP     bool
	In, Out string // interface; "" is any
	// Source and Destination are prefixes; the zero value is any.
	Source, Destination netip.Prefix
	NotDestination      bool   // matches outside Destination
	Port                uint16 // of the destination; 0 is any
	NotPort             bool   // matches any other port
	UID, GID            Owner
	Target              string
	ToPort              uint16
}

// Owner matches the user or group of the process that opens the connection.
type Owner struct {
	Set bool
	Not bool
	ID  int
}

func (o Owner) matches(id int) bool { return !o.Set || (o.ID == id) != o.Not }

func (r *Rule) matches(p *Packet, in, out string) bool {
	return r.UDP == p.UDP &&
		(r.In == "" || r.In == in) &&
		(r.Out == "" || r.Out == out) &&
		(!r.Source.IsValid() || r.Source.Contains(p.Source.Addr())) &&
		(!r.Destination.IsValid() || r.Destination.Contains(p.Destination.Addr()) != r.NotDestination) &&
		(r.Port == 0 || (r.Port == p.Destination.Port()) != r.NotPort) &&
		r.UID.matches(p.UID) && r.GID.matches(p.GID)
}

// text is the rule in the notation of iptables-save, in the given chain.
func (r *Rule) text(chain string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "-A %s", chain)
	if r.Source.IsValid() {
		fmt.Fprintf(&b, " -s %s", r.Source)
	}
	if r.Destination.IsValid() {
		fmt.Fprintf(&b, " %s-d %s", not(r.NotDestination), r.Destination)
	}
	if r.In != "" {
		fmt.Fprintf(&b, " -i %s", r.In)
	}
	if r.Out != "" {
		fmt.Fprintf(&b, " -o %s", r.Out)
	}
	protocol := "tcp"
	if r.UDP {
		protocol = "udp"
	}
	b.WriteString(" -p " + protocol)
	if r.Port != 0 {
		fmt.Fprintf(&b, " -m %s %s--dport %d", protocol, not(r.NotPort), r.Port)
	}
	if r.UID.Set {
		fmt.Fprintf(&b, " -m owner %s--uid-owner %d", not(r.UID.Not), r.UID.ID)
	}
	if r.GID.Set {
		fmt.Fprintf(&b, " -m owner %s--gid-owner %d", not(r.GID.Not), r.GID.ID)
	}
	fmt.Fprintf(&b, " -j %s", r.Target)
	if r.Target == Redirect {
		fmt.Fprintf(&b, " --to-ports %d", r.ToPort)
	}
	return b.String()
}

func not(n bool) string {
	if n {
		return "! "
	}
	return ""
}
