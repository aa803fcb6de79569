// Package simnet is a virtual network: hosts, links with latency, jitter, loss and
// bandwidth, names, service addresses, capture rules, and faults as rules. It
// implements fabric.Fabric, and its connections are net.Conns.
//
// One goroutine, the conductor, owns every delivery: it orders them by (instant, link,
// sequence) and delivers no two at one instant. So a run in a bubble with
// GOMAXPROCS=1 is the same on every run of one seed. The network also works in
// real time, where nothing but its order per connection is promised.
//
// What it models of TCP: segments in order, handshakes that cost a round trip, refusal,
// silence of hosts that are not there, retransmission delays for loss, half-close, resets, and
// a window of 256 KiB that makes writers wait. What it does not: congestion control,
// delayed acknowledgements, keep-alive, MTU.
//
// It imports sim/fabric, sim/trace, mesh/netx, mesh/capture and mesh/seed only.
package simnet

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/sim/fabric"
	"github.com/windtunnel-mesh/windtunnel/sim/trace"
)

// Options describe the network. The zero value is a network without latency
// between hosts.
type Options struct {
	// Seed is where jitter and loss are drawn from, by link and segment.
	Seed seed.Seed
	// Latency is the one-way delay between two hosts.
	Latency time.Duration
	// Jitter adds a uniform draw from [0, Jitter) to each segment's delay.
	// Segments of one connection still arrive in order.
	Jitter time.Duration
	// Loss is the probability in [0, 1) that a segment is lost. A lost segment is sent again
	// after 200 ms, 400 ms and so on, and what follows it waits.
	Loss float64
	// Links are exceptions; the first that matches counts.
	Links []Link
	// Loopback is the delay within one host; 0: 10 µs. Nothing is lost there.
	Loopback time.Duration
	// Trace gets an event for each connection that opens, fails or closes; nil: none.
	Trace *trace.Recorder
}

// Link is the exception for one direction between hosts. Zero values mean
// what Options says.
type Link struct {
	// From and To are host names, patterns as of path.Match, or workloads: "reviews-v1"
	// also means "reviews-v1-0". Empty means any.
	From, To string
	Latency  time.Duration
	Jitter   time.Duration
	Loss     float64
	// Bandwidth in bytes per second; 0: unlimited. All connections from one host to
	// another share it, and queue.
	Bandwidth int64
}

// Validate says what is wrong with the options.
func (o Options) Validate() error {
	errs := []error{checkLink("options", Link{Latency: o.Latency, Jitter: o.Jitter, Loss: o.Loss})}
	if o.Loopback < 0 {
		errs = append(errs, fmt.Errorf("options: loopback latency %s is negative", o.Loopback))
	}
	for i, l := range o.Links {
		errs = append(errs, checkLink(fmt.Sprintf("links[%d]", i), l))
	}
	return errors.Join(errs...)
}

func checkLink(what string, l Link) error {
	if l.Latency < 0 || l.Jitter < 0 || l.Bandwidth < 0 {
		return fmt.Errorf("%s: latency, jitter and bandwidth must not be negative", what)
	}
	if l.Loss < 0 || l.Loss >= 1 {
		return fmt.Errorf("%s: loss %v is not in [0, 1)", what, l.Loss)
	}
	for _, pattern := range []string{l.From, l.To} {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("%s: %q: %w", what, pattern, err)
		}
	}
	return nil
}

// matches tells whether a host is meant by a name, a pattern or a workload.
func matches(pattern, host string) bool {
	if pattern == "" || pattern == host {
		return true
	}
	if ok, err := path.Match(pattern, host); ok && err == nil {
		return true
	}
	rest, ok := strings.CutPrefix(host, pattern)
	return ok && strings.HasPrefix(rest, "-")
}

// Net is a virtual network.
type Net struct {
	fabric.Directory
	conductor
	o         Options
	rules     atomic.Pointer[[]*rule]
	throttles atomic.Pointer[[]*throttle]

	mu     sync.Mutex
	byName map[string]*Host
	byAddr map[netip.Addr]*Host
	left   map[netip.Addr]bool // of hosts that were there
	paths  map[[2]string]*route
	closed bool
}

var _ fabric.Fabric = (*Net)(nil)

// New makes a network and starts its conductor; Close ends it. In a bubble, the
// network must be made inside. Options that are not valid are a bug: New panics.
func New(o Options) *Net {
	if err := o.Validate(); err != nil {
		panic("simnet: " + err.Error())
	}
	if o.Loopback == 0 {
		o.Loopback = 10 * time.Microsecond
	}
	n := &Net{
		o:      o,
		byName: make(map[string]*Host),
		byAddr: make(map[netip.Addr]*Host),
		left:   make(map[netip.Addr]bool),
		paths:  make(map[[2]string]*route),
	}
	n.conductor.begin()
	return n
}

// AddHost implements fabric.Fabric. Addresses are unique among hosts that are up, too.
func (n *Net) AddHost(name string, addr netip.Addr) (fabric.Host, error) {
	addr = addr.Unmap()
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed:
		return nil, fmt.Errorf("adding host %q: the network is closed", name)
	case name == "":
		return nil, fmt.Errorf("adding a host with address %s: it has no name", addr)
	case !addr.IsValid() || addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast():
		return nil, fmt.Errorf("adding host %q: %s is no address for a host", name, addr)
	case n.byName[name] != nil:
		return nil, fmt.Errorf("adding host %q: there is one with that name, at %s", name, n.byName[name].Addr())
	case n.byAddr[addr] != nil:
		return nil, fmt.Errorf("adding host %q: its address %s is that of host %q", name, addr, n.byAddr[addr].Name())
	}
	h := newHost(n, name, addr)
	n.byName[name], n.byAddr[addr] = h, h
	return h, nil
}

// Close implements fabric.Fabric. No segment is delivered after it.
func (n *Net) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	hosts := slices.Collect(maps.Values(n.byName))
	n.mu.Unlock()
	slices.SortFunc(hosts, func(a, b *Host) int { return strings.Compare(a.Name(), b.Name()) })
	for _, h := range hosts {
		_ = h.Close() // never fails
	}
	n.conductor.end()
	return nil
}

// Delivered is the number of segments delivered so far.
func (n *Net) Delivered() uint64 { return n.delivered.Load() }

func (n *Net) hostAt(addr netip.Addr) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.byAddr[addr]
}

// hasLeft tells whether the address was a host's.
func (n *Net) hasLeft(addr netip.Addr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.left[addr]
}

func (n *Net) remove(h *Host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.byName[h.Name()] == h {
		delete(n.byName, h.Name())
		delete(n.byAddr, h.Addr())
		n.left[h.Addr()] = true
	}
}

// route is the way from one host to another, with all connections on it.
type route struct {
	from, to  string
	latency   int64 // nanoseconds
	jitter    uint64
	loss      float64
	bandwidth int64
	throttles *atomic.Pointer[[]*throttle] // the network's

	mu    sync.Mutex
	busy  int64 // until when the line is taken
	speed int64 // of the segment that takes it, in bytes per second
	carry int64 // and how much longer, in nanoseconds divided by speed
	conns int   // opened so far
}

// route returns the way between two hosts, by name (by address where there is none).
func (n *Net) route(from, to string) *route {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := [2]string{from, to}
	r := n.paths[key]
	if r == nil {
		r = n.newRoute(from, to)
		n.paths[key] = r
	}
	return r
}

func (n *Net) newRoute(from, to string) *route {
	r := &route{from: from, to: to, throttles: &n.throttles}
	if from == to {
		r.latency = int64(n.o.Loopback)
		return r
	}
	r.latency, r.jitter, r.loss = int64(n.o.Latency), uint64(n.o.Jitter), n.o.Loss
	for _, l := range n.o.Links {
		if !matches(l.From, from) || !matches(l.To, to) {
			continue
		}
		if l.Latency > 0 {
			r.latency = int64(l.Latency)
		}
		if l.Jitter > 0 {
			r.jitter = uint64(l.Jitter)
		}
		if l.Loss > 0 {
			r.loss = l.Loss
		}
		r.bandwidth = l.Bandwidth
		break
	}
	return r
}

// next counts the connections of a route: with the hosts' names, it names the
// link, whatever other hosts do meanwhile.
func (r *route) next() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns++
	return r.conns
}

// transmit takes the line for some bytes and returns the instant at which they have left.
func (r *route) transmit(now int64, size int) int64 {
	speed := r.throttled()
	if speed == 0 {
		return now
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy < now {
		r.busy, r.carry = now, 0
	}
	if speed != r.speed {
		r.speed, r.carry = speed, 0
	}
	// Exact, so that it is the same for a segment at once and in pieces.
	work := int64(size)*int64(time.Second) + r.carry
	r.busy += work / speed
	r.carry = work % speed
	return r.busy
}
