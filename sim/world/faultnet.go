package world

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/simnet"
)

// rule decides about a segment from one Pod to another.
type rule func(from, to place, s simnet.Segment) simnet.Verdict

// networkFault installs a fault of links, which needs a network that obeys.
func (w *World) networkFault(f *spec.Fault) error {
	net, ok := w.o.Fabric.(*simnet.Net)
	if !ok {
		return errors.New("pause, partition, slow and xds are not supported on real sockets: run the scenario in the simulator (environments: [sim])")
	}
	w.faults++
	decide, lasts, text, err := w.rule(f)
	if err != nil {
		return err
	}
	start := time.Now()
	if lasts > 0 {
		text += fmt.Sprintf(" for %v", lasts)
	}
	w.log.event("fault", "", text)
	w.cutOff = w.cutOff || lasts == 0 && (f.Pause != nil || f.Partition != nil || f.XDS != nil && f.XDS.Drop)
	w.rules = append(w.rules, net.AddRule(func(s simnet.Segment) simnet.Verdict {
		if s.From == s.To || lasts > 0 && time.Since(start) >= lasts {
			return simnet.Verdict{}
		}
		return decide(w.log.place(s.Source.Addr()), w.log.place(s.Destination.Addr()), s)
	}))
	if f.Slow != nil && f.Slow.Bandwidth > 0 {
		return w.throttle(net, f.Slow, start)
	}
	return nil
}

// throttle limits the lines of a slow link, each from one Pod to another.
func (w *World) throttle(net *simnet.Net, f *spec.Slow, start time.Time) error {
	a, err := w.who(f.From)
	if err != nil {
		return err
	}
	b, err := w.who(f.To)
	if err != nil {
		return err
	}
	w.rules = append(w.rules, net.Throttle(func(from, to string) int64 {
		if f.For > 0 && time.Since(start) >= f.For || !a(w.log.named(from)) || !b(w.log.named(to)) {
			return 0
		}
		return f.Bandwidth
	}))
	return nil
}

// rule makes a fault's rule, with its time and its line in the timeline.
func (w *World) rule(f *spec.Fault) (decide rule, lasts time.Duration, text string, err error) {
	var names []string
	switch {
	case f.Pause != nil:
		names = []string{f.Pause.Workload, f.Pause.Workload}
	case f.Partition != nil:
		names = []string{f.Partition.From, f.Partition.To}
	case f.Slow != nil:
		names = []string{f.Slow.From, f.Slow.To}
	case f.XDS != nil:
		names = []string{f.XDS.Workload, systemNamespace + "/" + controlPlane}
	}
	a, err := w.who(names[0])
	if err != nil {
		return nil, 0, "", err
	}
	b, err := w.who(names[1])
	if err != nil {
		return nil, 0, "", err
	}
	switch {
	case f.Pause != nil:
		return paused(a), f.Pause.For, names[0] + " paused", nil
	case f.Partition != nil:
		return between(a, b, simnet.Verdict{Action: simnet.Drop}), f.Partition.For, "partition between " + names[0] + " and " + names[1], nil
	case f.Slow != nil:
		return w.slowed(a, b, f.Slow), f.Slow.For, "slow from " + names[0] + " to " + names[1], nil
	case f.XDS.Drop:
		return between(a, b, simnet.Verdict{Action: simnet.Drop}), f.XDS.For, "no configuration for " + names[0], nil
	}
	return between(a, b, simnet.Verdict{Delay: f.XDS.Delay}), f.XDS.For, fmt.Sprintf("configuration for %s is %v late", names[0], f.XDS.Delay), nil
}

// who are the Pods that a name means, those that come later among them.
func (w *World) who(name string) (func(place) bool, error) {
	pods, err := w.podsOf(name)
	if err != nil {
		return nil, err
	}
	p := pods[0]
	namespace, workload := p.pod.Namespace, p.workload
	if len(pods) == 1 && name != workload && (name == p.pod.Name || name == namespace+"/"+p.pod.Name || name == "pod/"+p.pod.Name) {
		return func(x place) bool { return x.pod == p.pod.Name && x.namespace == namespace }, nil
	}
	return func(x place) bool { return x.workload == workload && x.namespace == namespace }, nil
}

func between(a, b func(place) bool, v simnet.Verdict) rule {
	return func(from, to place, _ simnet.Segment) simnet.Verdict {
		if a(from) && b(to) || b(from) && a(to) {
			return v
		}
		return simnet.Verdict{}
	}
}

// paused keeps what the processes would send; the kernel still opens connections,
// as it does for a process that is stopped by a signal.
func paused(a func(place) bool) rule {
	return func(from, _ place, s simnet.Segment) simnet.Verdict {
		if a(from) && s.Kind == simnet.Data {
			return simnet.Verdict{Action: simnet.Drop}
		}
		return simnet.Verdict{}
	}
}

// slowed draws by connection and segment, so that connections do not disturb each other.
func (w *World) slowed(a, b func(place) bool, f *spec.Slow) rule {
	type end struct {
		link string
		from netip.AddrPort
	}
	draws := w.o.Seed.Sub(fmt.Sprintf("fault/%d", w.faults))
	var mu sync.Mutex
	sent := make(map[end]uint64)
	return func(from, to place, s simnet.Segment) simnet.Verdict {
		if !a(from) || !b(to) {
			return simnet.Verdict{}
		}
		key := end{s.Link, s.Source}
		mu.Lock()
		n := sent[key]
		sent[key]++
		mu.Unlock()
		return slowVerdict(draws.Sub(s.Link).Sub(s.Source.String()), n, f)
	}
}

func slowVerdict(draws seed.Seed, n uint64, f *spec.Slow) simnet.Verdict {
	v := simnet.Verdict{Delay: f.Latency}
	if f.Jitter > 0 {
		v.Delay += time.Duration(draws.At(2*n) % uint64(f.Jitter))
	}
	if float64(draws.At(2*n+1)>>11)/(1<<53) < f.Loss {
		v.Action = simnet.Drop
	}
	return v
}
