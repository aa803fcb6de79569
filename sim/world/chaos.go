package world

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/simnet"
)

// chaos is one fault of that name while it runs. Between its faults the cluster is free
// for others, as the canary controller.
type chaos struct {
	w      *World
	c      *spec.Chaos
	rng    *rand.Rand
	debts  []debt
	faults []string // those that may come
}

// debt is what has to be put right at an instant.
type debt struct {
	at    time.Time
	fault spec.Fault
}

// chaos draws faults until their time is over. What is broken then is put right in its
// own time where that is a rule of the network, and by heal: all else.
func (w *World) chaos(ctx context.Context, c *spec.Chaos) error {
	if _, ok := w.o.Fabric.(*simnet.Net); !ok {
		for _, f := range []string{"pause", "partition", "slow", "xds"} {
			if slices.Contains(c.Faults, f) {
				return fmt.Errorf("chaos: %s is not supported on real sockets: name other faults, or run the scenario in the simulator (environments: [sim])", f)
			}
		}
	}
	if err := w.targets(ctx, c.Workloads); err != nil {
		return err
	}
	w.faults++
	x := &chaos{w: w, c: c, faults: c.Faults, rng: w.o.Seed.Sub(fmt.Sprintf("chaos/%d", w.faults)).Rand()}
	end := time.Now().Add(c.For)
	for {
		next := time.Now().Add(x.span())
		if err := x.settle(ctx, next, end); err != nil {
			return err
		}
		if !time.Now().Before(end) {
			return nil
		}
		if f, ok := x.draw(); ok {
			if err := w.Fault(ctx, &f); err != nil {
				return fmt.Errorf("chaos: %w", err)
			}
		}
	}
}

// targets wants workloads that are there, and have sidecars.
func (w *World) targets(ctx context.Context, names []string) error {
	leave, err := w.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	var errs []error
	for _, name := range names {
		pods, err := w.podsOf(name)
		errs = append(errs, err)
		for _, n := range pods {
			if n.daemon == nil || isMeshd(n.pod) {
				errs = append(errs, fmt.Errorf("chaos: %s has no sidecar", n.pod.Name))
			}
		}
	}
	return errors.Join(errs...)
}

// span is how long something takes: twice the mean at most, and never nothing.
func (x *chaos) span() time.Duration {
	return time.Millisecond + time.Duration(x.rng.Int64N(int64(2*x.c.Every)))
}

// settle lets time pass until an instant, or the end, and puts right what is due.
func (x *chaos) settle(ctx context.Context, until, end time.Time) error {
	if until.After(end) {
		until = end
	}
	for {
		first := -1
		for i, d := range x.debts {
			if !d.at.After(until) && (first < 0 || d.at.Before(x.debts[first].at)) {
				first = i
			}
		}
		wake := until
		if first >= 0 {
			wake = x.debts[first].at
		}
		if err := x.w.Sleep(ctx, max(0, time.Until(wake))); err != nil {
			return err
		}
		if first < 0 {
			return nil
		}
		due := x.debts[first]
		x.debts = slices.Delete(x.debts, first, first+1)
		if due.fault.Proxy != nil && x.w.down { // no sidecar gets ready now
			x.wait(due)
			continue
		}
		if err := x.w.Fault(ctx, &due.fault); err != nil {
			return fmt.Errorf("chaos: %w", err)
		}
	}
}

// wait puts a debt off until the control plane is back; where that is not chaos' to say,
// it is left to heal.
func (x *chaos) wait(due debt) {
	for _, d := range x.debts {
		if d.fault.ControlPlane != "" {
			due.at = d.at.Add(time.Millisecond)
			x.debts = append(x.debts, due)
			return
		}
	}
}

// draw makes the next fault; there is none where the one that was drawn cannot be now.
func (x *chaos) draw() (f spec.Fault, ok bool) {
	what := x.faults[x.rng.IntN(len(x.faults))]
	n := len(x.c.Workloads)
	i := x.rng.IntN(n)
	a, b := x.c.Workloads[i], x.c.Workloads[(i+1+x.rng.IntN(max(1, n-1)))%n]
	lasts, extent, kind := x.span(), x.rng.Float64(), x.rng.IntN(2)
	owe := func(f spec.Fault) { x.debts = append(x.debts, debt{time.Now().Add(lasts), f}) }
	switch what {
	case "kill":
		f.Kill = a
		return f, !x.w.down // a new Pod would not get ready
	case "restart":
		f.Restart = a
		return f, !x.w.down
	case "proxy":
		f.Proxy = &spec.ProxyFault{Workload: a, Action: "kill"}
		owe(spec.Fault{Proxy: &spec.ProxyFault{Workload: a, Action: "restart"}})
	case "pause":
		f.Pause = &spec.Pause{Workload: a, For: lasts}
	case "partition":
		f.Partition = &spec.Partition{From: a, To: b, For: lasts}
	case "slow":
		f.Slow = &spec.Slow{From: a, To: b, For: lasts, Latency: time.Duration(extent * float64(200*time.Millisecond)),
			Jitter: 20 * time.Millisecond, Loss: extent / 2}
	case "xds":
		f.XDS = &spec.XDSFault{Workload: a, For: lasts, Drop: kind == 0}
		if kind == 1 {
			f.XDS.Delay = time.Duration(1 + extent*float64(time.Second))
		}
	case "controlPlane":
		if x.w.down {
			return f, false
		}
		f.ControlPlane = "down"
		owe(spec.Fault{ControlPlane: "up"})
	}
	return f, true
}
