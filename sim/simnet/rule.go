package simnet

import (
	"net/netip"
	"slices"
	"time"
)

// Kind is what a segment does.
type Kind string

// The kinds of segments.
const (
	SYN    Kind = "SYN"
	SYNACK Kind = "SYN-ACK"
	ACK    Kind = "ACK" // the last of the handshake; others are not modelled
	Data   Kind = "DATA"
	FIN    Kind = "FIN"
	RST    Kind = "RST"
)

// Segment is what a rule decides about, each time that it is sent. What is written
// later in the same instant goes with it, up to 64 KiB in all, and is in no Size.
type Segment struct {
	From, To            string // hosts; an address where there is no host
	Source, Destination netip.AddrPort
	Link                string // "from>to#n" of the connection, for both directions
	Kind                Kind
	Size                int // bytes of payload
}

// Action is what a rule does with a segment.
type Action int

// The actions of rules.
const (
	Pass  Action = iota
	Drop         // it is lost, and sent again after TCP's retransmission timeout
	Reset        // both ends get a reset in its place
)

// Verdict is a rule's answer. The zero value lets the segment pass as it is.
type Verdict struct {
	Action Action
	Delay  time.Duration // added to the segment's latency
}

// rule has an identity, so that it can be removed.
type rule struct{ decide func(Segment) Verdict }

// AddRule installs a fault. Rules are asked in the order of their installation:
// delays add up, the first Drop or Reset counts. A rule is called with a
// connection locked: it must decide at once, from what it is given, and be quick. Window
// updates are no segments here, and loopback traffic (From equal to To) is asked about too.
func (n *Net) AddRule(decide func(Segment) Verdict) (remove func()) {
	r := &rule{decide}
	n.mu.Lock()
	defer n.mu.Unlock()
	rules := append(slices.Clone(n.currentRules()), r)
	n.rules.Store(&rules)
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		rest := slices.DeleteFunc(slices.Clone(n.currentRules()), func(x *rule) bool { return x == r })
		n.rules.Store(&rest)
	}
}

// throttle has an identity, so that it can be removed.
type throttle struct{ limit func(from, to string) int64 }

// Throttle installs a limit for the lines between hosts, in bytes per second for all
// connections from one host to another; 0 is none. What a line is too slow for waits in
// front of it. Of several limits, the link's own among them, the least counts.
func (n *Net) Throttle(limit func(from, to string) int64) (remove func()) {
	t := &throttle{limit}
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []*throttle
	if current := n.throttles.Load(); current != nil {
		all = slices.Clone(*current)
	}
	all = append(all, t)
	n.throttles.Store(&all)
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		rest := slices.DeleteFunc(slices.Clone(*n.throttles.Load()), func(x *throttle) bool { return x == t })
		n.throttles.Store(&rest)
	}
}

// throttled is how fast the line is now, in bytes per second; 0 is no limit.
func (r *route) throttled() int64 {
	speed := r.bandwidth
	if all := r.throttles.Load(); all != nil && r.from != r.to {
		for _, t := range *all {
			if limit := t.limit(r.from, r.to); limit > 0 && (speed == 0 || limit < speed) {
				speed = limit
			}
		}
	}
	return speed
}

// Partition cuts hosts off from each other, in both directions. Names are as in Link.
func Partition(a, b string) func(Segment) Verdict {
	return func(s Segment) Verdict {
		if s.From != s.To && (matches(a, s.From) && matches(b, s.To) || matches(b, s.From) && matches(a, s.To)) {
			return Verdict{Action: Drop}
		}
		return Verdict{}
	}
}

// Slow adds a delay from one host to another, in that direction. Names are as in Link.
func Slow(from, to string, d time.Duration) func(Segment) Verdict {
	return func(s Segment) Verdict {
		if s.From != s.To && matches(from, s.From) && matches(to, s.To) {
			return Verdict{Delay: d}
		}
		return Verdict{}
	}
}

func (n *Net) currentRules() []*rule {
	if rules := n.rules.Load(); rules != nil {
		return *rules
	}
	return nil
}

// verdict asks all rules.
func (s *stream) verdict(kind Kind, size int) Verdict {
	rules := s.net.currentRules()
	if len(rules) == 0 {
		return Verdict{}
	}
	segment := Segment{
		From: s.route.from, To: s.route.to, Source: s.source, Destination: s.destination,
		Link: s.link, Kind: kind, Size: size,
	}
	var sum Verdict
	for _, r := range rules {
		v := r.decide(segment)
		sum.Delay += max(v.Delay, 0)
		if v.Action != Pass {
			sum.Action = v.Action
			break
		}
	}
	return sum
}
