// Package canary is Flagger in small: a controller that releases new revisions of
// Deployments step by step, by the metrics of the mesh, as Canary objects ask for.
//
// In: Canary objects, and a Cluster to read, change and ask for metrics. Out: changes
// of the cluster (a primary Deployment, Services, DestinationRules, a VirtualService)
// and a State per Canary. What it does, and in which round, follows Flagger's
// documentation for the provider istio. It must not import worlds.
package canary

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// Cluster is what the controller works on. Its methods are called between Enter and
// the function that Enter returns.
type Cluster interface {
	// Enter waits for the turn to look at the cluster and to change it.
	Enter(ctx context.Context) (leave func(), err error)
	// Object returns an object as it is, or nil.
	Object(k config.Key) *config.Object
	// Apply changes objects and returns when the Pods that follow from them are ready
	// and the proxies have the rest.
	Apply(ctx context.Context, objects []*config.Object) error
	// Scale sets a Deployment's replicas; otherwise like Apply.
	Scale(ctx context.Context, k config.Key, replicas int) error
	// Query asks Prometheus.
	Query(ctx context.Context, promQL string) (values []float64, err error)
}

// Phase of a release, in Flagger's words.
type Phase string

// The phases.
const (
	Initializing Phase = "Initializing" // the primary is not there yet
	Initialized  Phase = "Initialized"  // all traffic goes to the primary
	Progressing  Phase = "Progressing"  // a new revision is analysed
	Promoting    Phase = "Promoting"    // the primary becomes the new revision
	Finalising   Phase = "Finalising"   // all traffic goes to the primary again
	Succeeded    Phase = "Succeeded"
	Failed       Phase = "Failed"
)

// State of a Canary.
type State struct {
	Phase        Phase
	Weights      []int     // the canary's shares in the last analysis, in per cent, in their order
	FailedChecks int       // of the last analysis
	Detected     time.Time // when its revision was
	Changed      time.Time // when the phase did
	Message      string    // what happened last
	// Pending tells whether the target is another revision than the state is about.
	Pending bool
}

// Options for New.
type Options struct {
	Cluster Cluster
	Seed    seed.Seed
	// OnEvent is told what happens to a Canary, "default/reviews".
	OnEvent func(canary, text string)
}

// Controller runs a loop per Canary.
type Controller struct {
	o    Options
	ctx  context.Context
	wait sync.WaitGroup

	mu       sync.Mutex
	releases map[config.Key]*release
}

// New makes a controller; its loops end with the context.
func New(ctx context.Context, o Options) *Controller {
	return &Controller{o: o, ctx: ctx, releases: make(map[config.Key]*release)}
}

// Wait returns when all loops have ended.
func (c *Controller) Wait() { c.wait.Wait() }

// Update tells which Canaries there are. New ones start, those that are gone end,
// and what they made (by key, in the order in which to remove it) is returned.
func (c *Controller) Update(canaries []*config.Object) (orphans []config.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	present := make(map[config.Key]bool, len(canaries))
	for _, o := range canaries {
		present[o.Key()] = true
		if r := c.releases[o.Key()]; r != nil {
			r.canary = o
			continue
		}
		r := newRelease(c.o, o)
		c.releases[o.Key()] = r
		ctx, cancel := context.WithCancel(c.ctx)
		r.cancel = cancel
		c.wait.Go(func() { c.loop(ctx, r) })
	}
	for _, k := range slices.SortedFunc(maps.Keys(c.releases), func(a, b config.Key) int { return strings.Compare(a.String(), b.String()) }) {
		if r := c.releases[k]; !present[k] {
			r.cancel()
			orphans = append(orphans, r.made...)
			delete(c.releases, k)
		}
	}
	return orphans
}

// State tells how a Canary is doing; false where there is none. It is to be called
// between Enter and leave.
func (c *Controller) State(k config.Key) (State, bool) {
	c.mu.Lock()
	r := c.releases[k]
	c.mu.Unlock()
	if r == nil {
		return State{}, false
	}
	return r.state(), true
}

// Flagger's limits for the interval of rounds.
const (
	defaultInterval = time.Minute
	leastInterval   = 10 * time.Second
)

// interval is the time between two rounds.
func interval(a *config.CanaryAnalysis) time.Duration {
	if a == nil || a.Interval == "" {
		return defaultInterval
	}
	d, err := time.ParseDuration(a.Interval) // validated
	if err != nil {
		return defaultInterval
	}
	return max(d, leastInterval)
}

// roundLimit is how long one round may take, so that a world that does not answer
// lets others have their turn.
const roundLimit = 30 * time.Second

// loop makes a round at once (at a phase of its own within a second) and then one per interval.
func (c *Controller) loop(ctx context.Context, r *release) {
	next := time.Now().Add(c.o.Seed.Sub(r.name).Duration("phase", time.Second))
	for {
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		leave, err := c.o.Cluster.Enter(ctx)
		if err != nil {
			return
		}
		c.mu.Lock()
		canary := r.canary
		c.mu.Unlock()
		spec := &canary.Value.(*config.Canary).Spec
		if ctx.Err() == nil {
			limited, cancel := context.WithTimeout(ctx, roundLimit)
			r.round(limited, spec, time.Now())
			cancel()
		}
		leave()
		for every := interval(spec.Analysis); !next.After(time.Now()); { // as a ticker: rounds that were missed are left out
			next = next.Add(every)
		}
	}
}
