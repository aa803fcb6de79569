package client

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// Options of a Client. Conn, Node and OnUpdate are needed.
type Options struct {
	Conn grpc.ClientConnInterface
	Node *corepb.Node
	// Delta takes the incremental protocol; otherwise it is state of the world.
	Delta bool
	// OnUpdate puts a complete set in force. An error refuses it: the control plane
	// gets its text, and the last good set stays. It is called by one goroutine.
	OnUpdate func(resource.Set) error
	// Static has the resources of the bootstrap. What they refer to is asked for, and
	// they are in every set; the control plane's of the same name replace none of them.
	Static resource.Set
	// Names asks for the name table, too.
	Names bool
	// Same, where it is set, is given each resource that comes and returns one that is
	// equal to it, which other clients may have, too.
	Same    func(resource.Type, *resource.Resource) *resource.Resource
	Logger  *slog.Logger
	Seed    seed.Seed
	Backoff Backoff
	// WarmTimeout bounds the wait for resources that others refer to; after it a
	// set is offered without them. Default 15 s, as Envoy's initial_fetch_timeout.
	WarmTimeout time.Duration
}

// Backoff is the wait between two streams: a draw from [0, Base × 2^n), where the
// upper end is at most Max. Defaults are 500 ms and 30 s, Envoy's.
type Backoff struct{ Base, Max time.Duration }

// delay is the wait before the n-th attempt in a row (from 0), with the draw that
// belongs to the all-th attempt of the client.
func (b Backoff) delay(n int, s seed.Seed, all uint64) time.Duration {
	top := b.Max
	if n < 16 && b.Base<<n < top {
		top = b.Base << n
	}
	return time.Duration(s.At(all) % uint64(top))
}

// Client receives the configuration of one proxy.
type Client struct {
	o Options

	mu      sync.Mutex
	inForce resource.Set
}

// New returns a client that does nothing until Run.
func New(o Options) (*Client, error) {
	if o.Conn == nil || o.Node == nil || o.OnUpdate == nil {
		return nil, errors.New("the xDS client needs a connection, a node and OnUpdate")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Backoff.Base <= 0 {
		o.Backoff.Base = 500 * time.Millisecond
	}
	if o.Backoff.Max < o.Backoff.Base {
		o.Backoff.Max = max(30*time.Second, o.Backoff.Base)
	}
	if o.WarmTimeout <= 0 {
		o.WarmTimeout = 15 * time.Second
	}
	return &Client{o: o}, nil
}

// DialOptions are what a connection for a Client wants: gRPC's own reconnect
// back-off without its jitter, which is drawn from a generator that nobody seeds.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 250 * time.Millisecond, Multiplier: 2, MaxDelay: 10 * time.Second},
		MinConnectTimeout: 5 * time.Second,
	})}
}

// Set returns what is in force; nil before the first good set. It must not be changed.
func (c *Client) Set() resource.Set {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inForce
}

func (c *Client) setInForce(s resource.Set) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inForce = s
}

// Run keeps a stream up until ctx ends, and returns the context's error.
func (c *Client) Run(ctx context.Context) error {
	inRow := 0
	for all := uint64(0); ; all++ {
		heard, err := c.stream(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if heard {
			inRow = 0
		}
		wait := c.o.Backoff.delay(inRow, c.o.Seed, all)
		c.o.Logger.Info("the stream to the control plane ended", "error", err, "retry", wait)
		inRow++
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// stream runs one stream to its end and tells whether the control plane said anything.
func (c *Client) stream(ctx context.Context) (heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	w, err := open(ctx, c.o.Conn, c.o.Node, c.o.Delta)
	if err != nil {
		cancel()
		return false, err
	}
	s := newSession(c, w)
	received := make(chan struct{})
	go func() {
		defer close(received)
		s.receive()
	}()
	err = s.run(ctx)
	cancel()
	<-received
	return s.heard, err
}
