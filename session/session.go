// Package session is a world on this machine's loopback addresses that lives until
// somebody ends it: manifests or a scenario come in and are applied, then whenever
// they are saved; ports of 127.0.0.1 and of addresses that stand for Services lead into
// it. What goes out are Reports of what changed, and what the world itself tells.
//
// It is of real time and real sockets only; it must not import the command line or the
// dashboard.
package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/load"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
	"github.com/windtunnel-mesh/windtunnel/source"
)

// Options for Open.
type Options struct {
	Source   Source
	Doors    []Door // ports of 127.0.0.1 that lead to the gateway
	Seed     uint64
	Steps    bool          // the scenario's steps are to be run: Session.Steps
	Interval time.Duration // how often the files are looked at; 0: 300 ms
	Watcher  world.Watcher // nil: none
	// OnReport is told of each change of the files, by one goroutine at a time.
	OnReport func(Report)
	Logger   *slog.Logger
}

// Report is what became of the files' first version, or of a change.
type Report struct {
	Findings []config.Diagnostic // errors: the object, or the whole file, stays as it was
	Rejected []string            // by the control plane or the cluster, as texts with their place
	Warnings []string
	Created  []config.Key
	Changed  []config.Key
	Deleted  []config.Key
	Held     []string // files of which the last good version stays
	Notes    []string
	Took     time.Duration
	Err      error // the world could not follow
}

// Failed tells whether something was not taken.
func (r *Report) Failed() bool {
	return r.Err != nil || len(r.Rejected) > 0 || slices.ContainsFunc(r.Findings, func(d config.Diagnostic) bool { return d.Severity == config.Error })
}

// Changes tells whether anything is different from before.
func (r *Report) Changes() bool { return len(r.Created)+len(r.Changed)+len(r.Deleted) > 0 }

// Session is a world that is up.
type Session struct {
	o      Options
	world  *world.World
	in     *input                // of the watching goroutine, once it runs
	made   *spec.Scenario        // what the world was made for
	good   map[string]*file      // by path: the versions that are applied
	has    map[config.Key]string // what the world took of them, with its text
	dial   load.Dialer           // as a client outside of the mesh
	doors  *doors
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// RefusedError is a first version that was not taken as it is.
type RefusedError struct{ Report Report }

func (*RefusedError) Error() string { return "the manifests are refused" }

// Open starts the world and applies the files. Errors: a *ProblemsError or a *RefusedError
// for what the files say, a *net.OpError for a port that is taken.
func Open(ctx context.Context, o Options) (*Session, error) {
	var first Report
	in, err := source.Until(ctx, func() (*input, error) {
		in, err := o.Source.read()
		if err == nil {
			first = check(in)
		}
		return in, err
	})
	if err != nil {
		return nil, err
	}
	if first.Failed() {
		return nil, &RefusedError{first}
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &Session{o: o, in: in, made: o.scenario(in), good: map[string]*file{}, has: map[config.Key]string{}, cancel: cancel}
	if s.doors, err = openDoors(ctx, o.Doors); err != nil {
		cancel()
		return nil, err
	}
	env := &world.Loopback{Logger: o.Logger, Watcher: o.Watcher}
	if s.world, err = env.Open(ctx, s.made, o.Seed); err != nil {
		cancel()
		return nil, errors.Join(err, s.doors.close())
	}
	if s.dial, err = s.world.Dialer("outside"); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if !o.Steps {
		s.world.Keep(keptEntries)
	}
	first = s.update(ctx, in)
	if first.Err == nil {
		first.Err = s.follow(ctx)
	}
	if first.Failed() {
		return nil, errors.Join(&RefusedError{first}, s.Close())
	}
	s.tasks.Go(func() { s.watch(ctx) })
	s.doors.serve(&s.tasks, s.through)
	if o.OnReport != nil {
		o.OnReport(first)
	}
	return s, nil
}

// keptEntries of the world's log are enough for the calls that run.
const keptEntries = 10_000

// scenario is what the world is made for: without steps where none are run, so that
// nothing is there for their sake.
func (o *Options) scenario(in *input) *spec.Scenario {
	made := *in.scenario
	if !o.Steps {
		made.Steps = nil
	}
	made.Resources = nil
	for _, f := range in.files {
		made.Resources = append(made.Resources, f.documents...)
	}
	return &made
}

// World is the world, for those who look at it. Explain, Send and Admin may be called by
// several goroutines.
func (s *Session) World() *world.World { return s.world }

// Places are what there is, with the addresses on this machine.
func (s *Session) Places(ctx context.Context) (*world.Places, error) {
	p, err := s.world.Places(ctx)
	if err == nil {
		s.doors.fill(p)
	}
	return p, err
}

// Doors are the ports of 127.0.0.1 that lead to the gateway, as they were opened.
func (s *Session) Doors() []Door { return s.doors.list() }

// Steps runs the scenario's steps in the world that is up, which stays as they leave it.
func (s *Session) Steps(ctx context.Context) result.Scenario {
	s.world.Keep(0)
	defer s.world.Keep(keptEntries)
	return run.Run(ctx, here{s.world}, s.made, run.Options{Seed: s.o.Seed})
}

// here is an environment whose one world is up already.
type here struct{ world *world.World }

// Name implements run.Env.
func (here) Name() string { return "loopback" }

// Do implements run.Env.
func (h here) Do(ctx context.Context, _ *spec.Scenario, _ run.Options, f func(context.Context, run.World) error) error {
	return f(ctx, h.world)
}

// Close ends the world and everything that leads to it.
func (s *Session) Close() error {
	s.cancel()
	err := s.doors.close()
	s.tasks.Wait()
	return errors.Join(err, s.world.Close())
}

// follow opens addresses for Services that are new, and closes those of Services that are gone.
func (s *Session) follow(ctx context.Context) error {
	p, err := s.world.Places(ctx)
	if err != nil {
		return fmt.Errorf("look at the world: %w", err)
	}
	return s.doors.follow(ctx, p, &s.tasks, s.through)
}

// through connects a client of this machine with an address in the world.
func (s *Session) through(ctx context.Context, address string) (net.Conn, error) {
	return s.dial(ctx, "tcp", address)
}
