package world

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/status"
	"github.com/windtunnel-mesh/windtunnel/sim/cluster"
	"github.com/windtunnel-mesh/windtunnel/sim/images"
)

// application is a container that is neither a proxy nor the control plane, with the
// probes that kubelet makes: whether it is ready, and when it is restarted.
type application struct {
	w         *World
	n         *node
	container corev1.Container
	startup   *prober // nil: none, as the others
	readiness *prober
	liveness  *prober
	restarts  int // so far

	mu      sync.Mutex
	process *images.Process // nil while it is down
	begun   time.Time       // of the process
	ready   bool
	why     string // it is not ready
}

// kubeletAddress is that of the node in the network of its Pods.
var kubeletAddress = netip.MustParseAddr("10.244.0.1")

// newApplication prepares the probes of a container. One without a startup or readiness
// probe is ready while it runs.
func newApplication(w *World, n *node, c corev1.Container) (*application, error) {
	a := &application{w: w, n: n, container: c, begun: time.Now(), ready: true}
	for _, p := range []struct {
		name  string
		probe *corev1.Probe
		place **prober
	}{{"startup", c.StartupProbe, &a.startup}, {"readiness", c.ReadinessProbe, &a.readiness}, {"liveness", c.LivenessProbe, &a.liveness}} {
		if !cluster.Asks(p.probe) {
			continue
		}
		prober, err := newProber(w, n, c, p.name, p.probe)
		if err != nil {
			return nil, fmt.Errorf("%s probe: %w", p.name, err)
		}
		if p.probe.Exec != nil {
			prober.ask = func(context.Context) (int, error) { return 0, a.command(p.probe.Exec.Command) }
		}
		*p.place = prober
	}
	a.unready()
	return a, nil
}

// unready is the state in which a container starts.
func (a *application) unready() {
	switch {
	case a.startup != nil:
		a.ready, a.why = false, "its startup probe has not been made yet"
	case a.readiness != nil:
		a.ready, a.why = false, "its readiness probe has not been made yet"
	default:
		a.ready, a.why = true, ""
	}
}

func (a *application) isReady() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ready
}

// waiting says why it is not ready; "": it is.
func (a *application) waiting() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.why
}

func (a *application) busy() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.process != nil && a.process.Active() > 0
}

func (a *application) close() {
	a.mu.Lock()
	p := a.process
	a.process = nil
	a.mu.Unlock()
	if p != nil {
		p.Close()
	}
}

// explain notes why it is not ready, where it is not.
func (a *application) explain(why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.ready && why != "" {
		a.why = why
	}
}

// set notes whether it is ready.
func (a *application) set(ready bool, why string) {
	a.mu.Lock()
	changed := a.ready != ready
	a.ready, a.why = ready, why
	a.mu.Unlock()
	if !changed {
		return
	}
	text := "is ready"
	if !ready {
		text = "is not ready: " + why
	}
	a.w.log.event("probe", a.n.pod.Name, "container "+a.container.Name+" "+text)
	a.w.readiness.change()
}

// probe makes the probes, where there are any, until ctx ends.
func (a *application) probe(ctx context.Context) {
	if a.startup == nil && a.readiness == nil && a.liveness == nil {
		return
	}
	a.w.follow()
	a.n.probing.Go(func() {
		var wait backOff
		for {
			cause := a.live(ctx)
			if ctx.Err() != nil {
				return
			}
			if !a.restart(ctx, cause, &wait) {
				return
			}
		}
	})
}

// live makes the probes of one process, and returns why it has to end: a startup or a
// liveness probe that has failed too often, or the end of ctx.
func (a *application) live(ctx context.Context) string {
	if a.startup != nil {
		passed := false
		a.startup.watch(ctx, a.begun, func(r finding) bool {
			a.explain(r.why)
			passed = r.passed
			return !r.counts
		})
		if !passed {
			return a.startup.last
		}
	}
	if a.readiness == nil {
		a.set(true, "")
	}
	ctx, cancel := context.WithCancel(ctx)
	var readiness sync.WaitGroup
	defer readiness.Wait()
	defer cancel()
	if a.readiness != nil {
		readiness.Go(func() {
			a.readiness.watch(ctx, a.begun, func(r finding) bool {
				if r.counts {
					a.set(r.passed, r.why)
				} else {
					a.explain(r.why)
				}
				return true
			})
		})
	}
	if a.liveness == nil {
		<-ctx.Done()
		return ""
	}
	a.liveness.watch(ctx, a.begun, func(r finding) bool { return r.passed || !r.counts })
	return a.liveness.last
}

// restart ends the process as kubelet does, and starts it again after the back-off; false: ctx ended.
func (a *application) restart(ctx context.Context, cause string, wait *backOff) bool {
	a.restarts++
	a.w.log.event("probe", a.n.pod.Name, fmt.Sprintf("container %s is restarted (%d): %s", a.container.Name, a.restarts, cause))
	a.set(false, "it is being restarted: "+cause)
	a.mu.Lock()
	p, age := a.process, time.Since(a.begun)
	a.mu.Unlock()
	for end := time.Now().Add(a.grace()); a.busy() && time.Now().Before(end); {
		if err := a.w.Sleep(ctx, lastAnswer); err != nil {
			return false
		}
	}
	p.Close()
	a.mu.Lock()
	a.process = nil
	a.mu.Unlock()
	if err := a.w.Sleep(ctx, wait.next(age)); err != nil {
		return false
	}
	env := inject.Env(a.n.pod, a.container.Name, a.n.pod.Status.PodIP, a.n.pod.Status.HostIP)
	p, err := a.w.startProcess(ctx, a.n, a.container, env)
	if err != nil {
		a.w.log.event("probe", a.n.pod.Name, "container "+a.container.Name+" does not start again: "+err.Error())
		return false
	}
	a.mu.Lock()
	a.process, a.begun = p, time.Now()
	if a.unready(); a.ready {
		a.ready, a.why = false, "it starts"
	}
	a.mu.Unlock()
	return true
}

// grace is how long its process may take to end.
func (a *application) grace() time.Duration {
	for _, p := range []*corev1.Probe{a.container.LivenessProbe, a.container.StartupProbe} {
		if p != nil && p.TerminationGracePeriodSeconds != nil {
			return time.Duration(*p.TerminationGracePeriodSeconds) * time.Second
		}
	}
	return graceOf(a.n.pod)
}

// backOff is kubelet's between a container's end and its next start: none at first, then
// 10 s, twice as much each time, up to 5 minutes; it begins anew after 10 minutes of running.
type backOff struct{ last time.Duration }

func (b *backOff) next(ran time.Duration) time.Duration {
	const first, most, calm = 10 * time.Second, 5 * time.Minute, 10 * time.Minute
	if ran >= calm {
		b.last = 0
	}
	now := b.last
	b.last = min(max(2*now, first), most)
	return now
}

// prober makes one probe of one container.
type prober struct {
	name    string
	probe   *status.Probe
	asker   status.Asker
	ask     func(context.Context) (int, error) // an HTTP status, or 0 and why it failed
	phase   time.Duration                      // of its times after whole seconds
	delay   time.Duration                      // after the container's start
	period  time.Duration
	success int // so many in a row
	failure int
	last    string // why it failed last
}

// finding is the result of a probe. It counts after so many of its kind in a row.
type finding struct {
	passed, counts bool
	why            string // it has not passed
}

func newProber(w *World, n *node, c corev1.Container, name string, p *corev1.Probe) (*prober, error) {
	resolved := p.DeepCopy()
	var err error
	switch {
	case resolved.HTTPGet != nil:
		err = number(c, &resolved.HTTPGet.Port)
	case resolved.TCPSocket != nil:
		err = number(c, &resolved.TCPSocket.Port)
	}
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(resolved)
	if err != nil {
		return nil, err
	}
	own := &prober{name: name, delay: seconds(p.InitialDelaySeconds, 0), period: seconds(p.PeriodSeconds, 10),
		success: int(max(p.SuccessThreshold, 1)), failure: 3}
	own.ask = func(ctx context.Context) (int, error) { return own.probe.Ask(ctx, own.asker) }
	if p.FailureThreshold > 0 {
		own.failure = int(p.FailureThreshold)
	}
	draw := w.o.Seed.Sub("probe/" + name + "/" + string(n.pod.UID) + "/" + c.Name).At(0)
	own.phase = time.Duration(draw % uint64(time.Second))
	if resolved.Exec != nil {
		return own, nil
	}
	if own.probe, err = status.ParseProbe(text); err != nil {
		return nil, err
	}
	own.asker.Address, err = netip.ParseAddr(n.pod.Status.PodIP)
	if err != nil {
		return nil, err
	}
	if w.kubelet == nil {
		if w.kubelet, err = w.o.Fabric.AddHost("kubelet", kubeletAddress); err != nil {
			return nil, err
		}
	}
	own.asker.Network = w.kubelet.Network(0, 0)
	own.asker.Header = http.Header{"User-Agent": {"kube-probe/1.34"}, "Accept": {"*/*"}}
	return own, nil
}

func seconds(s, otherwise int32) time.Duration {
	if s == 0 {
		s = otherwise
	}
	return time.Duration(s) * time.Second
}

// number resolves the name of a container's port.
func number(c corev1.Container, port *intstr.IntOrString) error {
	if port.Type == intstr.Int {
		return nil
	}
	for _, p := range c.Ports {
		if p.Name == port.StrVal {
			*port = intstr.FromInt32(p.ContainerPort)
			return nil
		}
	}
	return fmt.Errorf("no port is called %q", port.StrVal)
}

// watch makes the probe once per period and tells what it finds, until told returns false
// or ctx ends. The first is made when the delay after the container's start is over.
func (p *prober) watch(ctx context.Context, begun time.Time, told func(finding) bool) {
	passed, failed := 0, 0
	// Where that was long ago two probes of a container still do not begin at one instant.
	next := later(begun.Add(p.delay+p.phase), time.Now().Add(p.phase/1000))
	for pauseUntil(ctx, next) {
		next = later(next.Add(p.period), time.Now())
		code, err := p.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		found := finding{passed: err == nil && (code == 0 || code >= 200 && code < 400)}
		switch {
		case found.passed:
			passed, failed = passed+1, 0
			found.counts = passed >= p.success
		case err != nil:
			found.why = fmt.Sprintf("its %s probe failed: %v", p.name, err)
		default:
			found.why = fmt.Sprintf("its %s probe was answered %d", p.name, code)
		}
		if !found.passed {
			passed, failed, p.last = 0, failed+1, found.why
			found.counts = failed >= p.failure
		}
		if !told(found) {
			return
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func pauseUntil(ctx context.Context, at time.Time) bool {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
