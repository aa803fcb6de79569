package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/bubble"
	"github.com/windtunnel-mesh/windtunnel/sim/loopnet"
	"github.com/windtunnel-mesh/windtunnel/sim/simnet"
	"github.com/windtunnel-mesh/windtunnel/sim/trace"
)

// Sim is the simulator: virtual time, a virtual network, one seed, one trace.
type Sim struct {
	Logger *slog.Logger
	// Stacks takes the stacks of a scenario that exceeded its wall time; OnStuck then
	// has to end the process, because a stuck bubble cannot be left.
	Stacks  io.Writer
	OnStuck func()
	// OnTrace, where set, gets the events of every scenario that ended.
	OnTrace func(s *spec.Scenario, events []trace.Event)
	// Wrap, where set, stands before the HTTP handler of every container: there a test
	// plants what no application is allowed to do here.
	Wrap func(workload string, h http.Handler) http.Handler
}

var _ run.Env = (*Sim)(nil)

// Name implements run.Env.
func (*Sim) Name() string { return "sim" }

// latency of a link between two Pods where the scenario names none.
const defaultLatency = 200 * time.Microsecond

// Do implements run.Env.
func (e *Sim) Do(ctx context.Context, s *spec.Scenario, o run.Options, f func(context.Context, run.World) error) error {
	return bubble.Run(ctx, bubble.Options{Watchdog: o.Timeout, Stacks: e.Stacks, OnStuck: e.OnStuck}, func(ctx context.Context) error {
		recorder := trace.New()
		root := seed.New(o.Seed)
		network := networkOptions(s, root, recorder)
		if err := network.Validate(); err != nil {
			return fmt.Errorf("%s: network: %w", s.Position, err)
		}
		w, err := newWorld(ctx, options{
			Scenario: s, Fabric: simnet.New(network), Seed: root, Deterministic: true, Trace: recorder, Logger: logger(e.Logger),
			Wrap: e.Wrap,
		})
		if err != nil {
			return err
		}
		err = f(ctx, w)
		if e.OnTrace != nil { // what the digest is of: the end of the world is not part of it
			e.OnTrace(s, recorder.Events())
		}
		return errors.Join(err, w.Close())
	})
}

func networkOptions(s *spec.Scenario, root seed.Seed, recorder *trace.Recorder) simnet.Options {
	o := simnet.Options{
		Seed:    root.Sub("network"),
		Latency: s.Network.Latency,
		Jitter:  s.Network.Jitter,
		Loss:    s.Network.Loss,
		Trace:   recorder,
	}
	if o.Latency == 0 {
		o.Latency = defaultLatency
	}
	for _, l := range s.Network.Links {
		o.Links = append(o.Links, simnet.Link{From: l.From, To: l.To, Latency: l.Latency, Jitter: l.Jitter, Loss: l.Loss, Bandwidth: l.Bandwidth})
	}
	return o
}

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}

// Loopback is the same world on sockets of 127.0.0.0/8, in real time.
type Loopback struct {
	Logger   *slog.Logger
	Programs *Programs // nil: proxies run in this process
	Watcher  Watcher   // nil: nobody watches
}

var _ run.Env = (*Loopback)(nil)

// Name implements run.Env.
func (*Loopback) Name() string { return "loopback" }

// Do implements run.Env.
func (e *Loopback) Do(ctx context.Context, s *spec.Scenario, o run.Options, f func(context.Context, run.World) error) error {
	if o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("the scenario took longer than %s: %w", o.Timeout, os.ErrDeadlineExceeded))
		defer cancel()
	}
	w, err := e.Open(ctx, s, o.Seed)
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, w), w.Close())
}

// Open starts a world for a caller that has no steps: it applies what it wants and
// sends what it likes, until Close.
func (e *Loopback) Open(ctx context.Context, s *spec.Scenario, n uint64) (*World, error) {
	return newWorld(ctx, options{
		Scenario: s, Fabric: loopnet.New(), Seed: seed.New(n), Programs: e.Programs, Watcher: e.Watcher, Logger: logger(e.Logger),
	})
}
