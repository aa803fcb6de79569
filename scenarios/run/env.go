// Package run executes scenarios: steps in order, CEL expectations over their
// results, in whatever world an Env provides. It knows worlds only by the
// interfaces in this file; it imports scenarios/spec and reports/result.
package run

import (
	"context"
	"time"

	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// Env is a kind of world: sim, loopback, kind, kube.
type Env interface {
	Name() string
	// Do builds a world for the scenario, calls f with it, and takes it down.
	// In the simulator f runs in virtual time: it must use the World's clock or
	// package time, and start no goroutine that outlives it.
	Do(ctx context.Context, s *spec.Scenario, o Options, f func(context.Context, World) error) error
}

// Options are the parameters of one run.
type Options struct {
	Seed uint64
	// Timeout is wall time; a world that is still running then is given up. 0: none.
	Timeout time.Duration
}

// World is a mesh that runs. Its methods are called by one goroutine.
type World interface {
	Now() time.Time
	Sleep(ctx context.Context, d time.Duration) error
	// Apply creates or changes objects and returns when every proxy has the result.
	// An error is an object that cannot be read, or a world that broke; an object
	// that the control plane refuses is in Applied.Rejected.
	Apply(ctx context.Context, docs []spec.Document) (*Applied, error)
	Delete(ctx context.Context, refs []spec.Ref, docs []spec.Document) error
	Scale(ctx context.Context, workload string, replicas int) error
	// Fault breaks something, or puts it right, and returns when that is done; what
	// the world cannot do is an error that names it.
	Fault(ctx context.Context, f *spec.Fault) error
	// Send makes the calls of one request step and waits for them.
	Send(ctx context.Context, r *spec.Request) ([]Exchange, error)
	// Load starts a load; Traffic waits for its end.
	Load(ctx context.Context, l *spec.Load) (Load, error)
	// Log is what the sidecars and gateways saw since the world began. Later calls
	// return the same entries with new ones behind them.
	Log() []Seen
	// Events is what happened since the world began, in order (ejections, pods, pushes).
	Events() []Event
	// Endpoint is the state of a workload's endpoints as a client's sidecar sees them.
	Endpoint(workload, client string) (EndpointState, error)
	// Digest is a hash of everything observable that has happened; "" where the
	// world is not deterministic.
	Digest() string
}

// Load is a load that runs.
type Load interface {
	Traffic(ctx context.Context) ([]Exchange, error)
}

// Applied is the outcome of an apply.
type Applied struct {
	Objects  int
	Warnings []string // "file:line:col: text"
	Rejected []string
}

// Exchange is one call as its client saw it.
type Exchange struct {
	// RequestID is the x-request-id; of a TCP connection, FlowID of its client's address.
	RequestID string
	Intended  time.Time // when it was meant to be sent
	Sent      time.Time
	Done      time.Time
	// Client is the pod that sent it; empty for clients outside the cluster.
	Client   string
	Status   int               // of HTTP; 0 where there was none, as with TCP
	GRPC     string            // of a gRPC call that was answered; "0" is good
	Error    string            // why there was no answer
	Kind     string            // what kind of error that is: "timeout", "refused", …
	Socket   int64             // the connection that carried it, by a number of its own in the step; 0: none was made
	Protocol string            // "HTTP/1.1"
	Headers  map[string]string // lower-case names; kept for the first of a step only
	Body     string            // likewise
	Bytes    int64
	TLS      *PeerTLS
}

// PeerTLS is the client's own TLS session.
type PeerTLS struct{ Version, Peer string }

// Seen is one finished exchange as one sidecar or gateway saw it.
type Seen struct {
	RequestID string
	Time      time.Time // when it ended
	Duration  time.Duration
	// Where the proxy stands.
	Workload  string
	Namespace string
	Pod       string
	Inbound   bool

	Method    string
	Authority string
	Path      string
	Status    int
	Flags     []string
	Details   string
	Route     string
	Source    string // file:line of the configuration behind the route
	Cluster   string
	Attempts  int
	MutualTLS bool
	// The other ends, where they are pods.
	UpstreamPod        string
	UpstreamWorkload   string
	DownstreamPod      string
	DownstreamWorkload string
	UpstreamAddress    string
	DownstreamAddress  string
	// UpstreamLocalAddress is where the proxy's connection to the upstream begins.
	UpstreamLocalAddress string
}

// Event is something that happened to the mesh, for timelines.
type Event struct {
	Time time.Time
	Kind string // "apply", "pod", "push", "eject", "uneject", "fault"
	Text string
	// Of "eject" and "uneject": who does it to whom (a Pod, or an address), in which cluster.
	Proxy, Host, Cluster string
}

// EndpointState is a workload's endpoints as one client sees them.
type EndpointState struct {
	Ejected bool // all of them
	Healthy bool // all of them
	Active  int  // requests in flight, summed
}

// UnfitError is a scenario that a world cannot run, for what it needs. The scenario is
// skipped, not failed.
type UnfitError struct{ Reason string }

func (e *UnfitError) Error() string { return e.Reason }
