package meshproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/status"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/bootstrap"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// Environment variables of the sidecar's container, under the names that Istio's agent
// reads them by.
const (
	appProbersEnv   = "ISTIO_KUBE_APP_PROBERS"
	appMetricsEnv   = "ISTIO_PROMETHEUS_ANNOTATIONS"
	drainEnv        = "TERMINATION_DRAIN_DURATION_SECONDS"
	exitOnZeroEnv   = "EXIT_ON_ZERO_ACTIVE_CONNECTIONS"
	minimumDrainEnv = "MINIMUM_DRAIN_DURATION"
)

// Termination is what happens between the signal to end and the end. The application in
// the same pod gets its signal at the same time, and still needs the proxy for what it
// has begun.
type Termination struct {
	// Drain is how long connections have to end by themselves.
	Drain time.Duration
	// ExitOnZero ends the proxy when no connection is left, after Minimum, instead of
	// after Drain. Kubernetes ends the wait with the pod's grace period.
	ExitOnZero bool
	Minimum    time.Duration
}

// defaultDrain is Istio's minimum; the injector gives Drain the same length.
const defaultDrain = 5 * time.Second

// activePoll is how often the connections are counted.
const activePoll = 100 * time.Millisecond

// environment reads what the container's environment says.
func (o *Options) environment(getenv func(string) string) error {
	o.AppProbes, o.AppMetrics = getenv(appProbersEnv), getenv(appMetricsEnv)
	o.Termination = Termination{Minimum: defaultDrain}
	var errs []error
	if s := getenv(drainEnv); s != "" {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s=%s: expected a number of seconds", drainEnv, s))
		}
		o.Termination.Drain = time.Duration(n) * time.Second
	}
	if s := getenv(exitOnZeroEnv); s != "" {
		var err error
		if o.Termination.ExitOnZero, err = strconv.ParseBool(s); err != nil {
			errs = append(errs, fmt.Errorf("%s=%s: expected true or false", exitOnZeroEnv, s))
		}
	}
	if s := getenv(minimumDrainEnv); s != "" {
		var err error
		if o.Termination.Minimum, err = time.ParseDuration(s); err != nil || o.Termination.Minimum < 0 {
			errs = append(errs, fmt.Errorf("%s=%s: expected a duration, such as 5s", minimumDrainEnv, s))
		}
	}
	return errors.Join(errs...)
}

// terminate drains. Where the control plane brings the listeners, connections of the
// bootstrap's own, health and metrics, do not count.
func (p *Proxy) terminate() {
	t := p.o.Termination
	if t.Drain <= 0 && !t.ExitOnZero {
		return
	}
	p.proxy.Drain()
	if !t.ExitOnZero {
		time.Sleep(t.Drain)
		return
	}
	time.Sleep(t.Minimum)
	own := func(name string) bool { return p.client != nil && p.boot.Static[resource.Listener][name] != nil }
	for p.proxy.Active(own) > 0 {
		time.Sleep(activePoll)
	}
}

// ofPod finds out which addresses the pod has, where the proxy is in one, and has all that
// listens anywhere listen on each family of them. The pod's first address is the one by which
// kubelet asks for probes.
func (p *Proxy) ofPod() error {
	if p.o.StatusPort == 0 {
		return nil
	}
	var err error
	if p.addresses, err = p.boot.Addresses(); err != nil {
		return fmt.Errorf("--status-port needs the pod's address in the node's metadata, INSTANCE_IPS: %w", err)
	}
	return p.boot.Widen(p.addresses)
}

// newStatus prepares the status port, where there is to be one.
func (p *Proxy) newStatus() error {
	if p.o.StatusPort == 0 {
		return nil
	}
	var err error
	p.status, err = status.New(status.Options{
		Network: p.o.Network, Address: p.addresses[0], Probes: p.o.AppProbes, Scrape: p.o.AppMetrics,
		Metrics: p.Stats().WritePrometheus, Ready: func() bool { ready, _ := p.state(); return ready }, Logger: p.o.Logger,
	})
	return err
}

// serveStatus opens the status port.
func (p *Proxy) serveStatus(ctx context.Context, background func(string, func(context.Context) error)) error {
	if p.status == nil {
		return nil
	}
	var open []net.Listener
	for _, a := range bootstrap.Wildcards(p.addresses) {
		l, err := p.o.Network.Listen(ctx, netip.AddrPortFrom(a, p.o.StatusPort).String())
		if err != nil {
			for _, l := range open {
				_ = l.Close()
			}
			return fmt.Errorf("listen for the status port: %w", err)
		}
		open = append(open, l)
	}
	background("status", func(ctx context.Context) error { return status.Serve(ctx, p.status, open...) })
	return nil
}
