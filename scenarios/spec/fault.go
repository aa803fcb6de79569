package spec

import (
	"math"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Fault breaks something, or puts it right. Exactly one field is set.
type Fault struct {
	Kill         string // a Pod, or all Pods of a workload
	Restart      string // a workload
	Pause        *Pause
	Proxy        *ProxyFault
	Partition    *Partition
	Slow         *Slow
	ControlPlane string // down, up, restart
	XDS          *XDSFault
	Chaos        *Chaos
	Heal         string // all
	Position     Position
}

// Name is the word that a scenario has for the fault; "" where there is none.
func (f *Fault) Name() string {
	for _, x := range []struct {
		name string
		set  bool
	}{{"kill", f.Kill != ""}, {"restart", f.Restart != ""}, {"pause", f.Pause != nil}, {"proxy", f.Proxy != nil}, {"partition", f.Partition != nil},
		{"slow", f.Slow != nil}, {"controlPlane", f.ControlPlane != ""}, {"xds", f.XDS != nil}, {"chaos", f.Chaos != nil}, {"heal", f.Heal != ""}} {
		if x.set {
			return x.name
		}
	}
	return ""
}

// Pause stops the processes of a workload from answering.
type Pause struct {
	Workload string
	For      time.Duration // 0: until healed, as in all faults
}

// ProxyFault is about the sidecars of a workload.
type ProxyFault struct {
	Workload string
	Action   string // kill, restart
}

// Partition cuts two workloads off from each other.
type Partition struct {
	From, To string
	For      time.Duration
}

// Slow worsens the links from one workload to another, in that direction.
type Slow struct {
	From, To string
	Latency  time.Duration // added to the link's
	Jitter   time.Duration // added at most, per segment
	Loss     float64       // share of segments that are sent again
	// Bandwidth of each line from a Pod to a Pod, in bytes per second; 0: as it was.
	Bandwidth int64
	For       time.Duration
}

// XDSFault disturbs what the control plane and the proxies of a workload say to each other.
type XDSFault struct {
	Workload string
	Delay    time.Duration
	Drop     bool
	For      time.Duration
}

func faultFormat() object[Fault] {
	fields := []field[Fault]{
		at("kill", "A Pod, or the Pods of a workload, that die without a warning; their controller replaces them.", workload(), func(f *Fault) *string { return &f.Kill }),
		at("restart", "A workload whose Pods are replaced, the new ones first.", workload(), func(f *Fault) *string { return &f.Restart }),
		at("pause", "Processes that stop answering while their connections stay open.", pointer(pauseFormat()), func(f *Fault) **Pause { return &f.Pause }),
		at("proxy", "A sidecar that dies; until it is restarted, redirected traffic is refused.", pointer(proxyFaultFormat()), func(f *Fault) **ProxyFault { return &f.Proxy }),
		at("partition", "Two workloads that do not reach each other.", pointer(partitionFormat()), func(f *Fault) **Partition { return &f.Partition }),
		at("slow", "Worse links from one workload to another.", pointer(slowFormat()), func(f *Fault) **Slow { return &f.Slow }),
		at("controlPlane", "The control plane goes or comes back; proxies keep what they have.", enum("down", "up", "restart"), func(f *Fault) *string { return &f.ControlPlane }),
		at("xds", "Configuration that comes late, or not at all.", pointer(xdsFaultFormat()), func(f *Fault) **XDSFault { return &f.XDS }),
		at("chaos", "Faults drawn from the seed, one after the other.", pointer(chaosFormat()), func(f *Fault) **Chaos { return &f.Chaos }),
		at("heal", "Undoes all faults and waits until every proxy is up to date, 5 minutes at most.", enum("all"), func(f *Fault) *string { return &f.Heal }),
	}
	return object[Fault]{what: "a fault", fields: fields, rules: func(d *decoder, n *yaml.Node, keys map[string]*yaml.Node, f *Fault) {
		f.Position = d.at(n)
		var found []string
		for _, x := range fields {
			if keys[x.name] != nil {
				found = append(found, x.name)
			}
		}
		if len(found) > 1 {
			d.problem(keys[found[1]], "a fault is exactly one thing, found %s; make a step of each", strings.Join(found, " and "))
		}
		if len(found) == 0 && len(keys) == 0 {
			d.problem(n, "a fault needs one of kill, restart, pause, proxy, partition, slow, controlPlane, xds, chaos, heal")
		}
	}, extend: func(s schema) {
		s["minProperties"], s["maxProperties"] = 1, 1
	}}
}

func faultEnd[T any](place func(*T) *time.Duration) field[T] {
	return at("for", "Its time, in the world's. Default: until healed.", positive(), place)
}

func pauseFormat() object[Pause] {
	return object[Pause]{what: "a pause", fields: []field[Pause]{
		need(at("workload", "Who.", workload(), func(p *Pause) *string { return &p.Workload })),
		faultEnd(func(p *Pause) *time.Duration { return &p.For }),
	}}
}

func proxyFaultFormat() object[ProxyFault] {
	return object[ProxyFault]{what: "a proxy fault", fields: []field[ProxyFault]{
		need(at("workload", "Whose sidecars.", workload(), func(p *ProxyFault) *string { return &p.Workload })),
		need(at("action", "kill leaves it dead; restart starts it, after killing it where it runs.", enum("kill", "restart"), func(p *ProxyFault) *string { return &p.Action })),
	}}
}

func partitionFormat() object[Partition] {
	return object[Partition]{what: "a partition", fields: []field[Partition]{
		need(at("from", "A workload.", workload(), func(p *Partition) *string { return &p.From })),
		need(at("to", "The other one.", workload(), func(p *Partition) *string { return &p.To })),
		faultEnd(func(p *Partition) *time.Duration { return &p.For }),
	}}
}

func slowFormat() object[Slow] {
	return object[Slow]{what: "a slow link", fields: []field[Slow]{
		need(at("from", "A workload.", workload(), func(s *Slow) *string { return &s.From })),
		need(at("to", "A workload.", workload(), func(s *Slow) *string { return &s.To })),
		at("latency", "Added, one way.", duration(), func(s *Slow) *time.Duration { return &s.Latency }),
		at("jitter", "Added at most, per segment.", duration(), func(s *Slow) *time.Duration { return &s.Jitter }),
		at("loss", "Share of segments that are sent again, 0 to 1.", number(0, 1), func(s *Slow) *float64 { return &s.Loss }),
		at("bandwidth", "Bytes per second from a Pod to a Pod; what is too much waits.", whole[int64](1, math.MaxInt64), func(s *Slow) *int64 { return &s.Bandwidth }),
		faultEnd(func(s *Slow) *time.Duration { return &s.For }),
	}, rules: func(d *decoder, n *yaml.Node, keys map[string]*yaml.Node, _ *Slow) {
		if keys["latency"] == nil && keys["jitter"] == nil && keys["loss"] == nil && keys["bandwidth"] == nil {
			d.problem(n, "a slow link needs latency, jitter, loss or bandwidth")
		}
	}}
}

func xdsFaultFormat() object[XDSFault] {
	return object[XDSFault]{what: "an xds fault", fields: []field[XDSFault]{
		need(at("workload", "Whose proxies.", workload(), func(x *XDSFault) *string { return &x.Workload })),
		at("delay", "Added, one way, in both directions.", positive(), func(x *XDSFault) *time.Duration { return &x.Delay }),
		at("drop", "Nothing gets through.", flag(), func(x *XDSFault) *bool { return &x.Drop }),
		faultEnd(func(x *XDSFault) *time.Duration { return &x.For }),
	}, rules: func(d *decoder, n *yaml.Node, _ map[string]*yaml.Node, x *XDSFault) {
		if (x.Delay > 0) == x.Drop {
			d.problem(n, "an xds fault needs either delay or drop: true")
		}
	}}
}
