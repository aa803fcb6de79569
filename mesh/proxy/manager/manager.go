// Package manager is the HTTP connection manager: it serves the requests of one
// downstream connection, one after the other, the way Envoy's does. A connection comes in
// with its facts; requests go to a message.Handler with their header fields cleaned and
// completed; responses go back; every exchange ends in one call of OnDone.
//
// It knows no routes and no clusters, and must not import anything of them.
package manager

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/http1"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// Done is told of every exchange when it is over. status is 0 where no response began.
// p is nil where none was made. The request's strings and fields may be kept.
type Done func(q *message.Request, p *message.Response, status int, s *message.Stream)

// Options are what a Manager is made of.
type Options struct {
	Config  *snapshot.HTTPManager
	Handler message.Handler
	OnDone  Done // nil: nobody wants to know
	// Seed makes the request ids. Managers of one proxy share it: ids are keyed by
	// connection and request.
	Seed   seed.Seed
	Logger *slog.Logger
}

// Manager is one configuration, immutable. Connections find the current one in a Slot.
type Manager struct {
	config  *snapshot.HTTPManager
	handler message.Handler
	done    Done
	ids     seed.Seed
	logger  *slog.Logger
	limits  http1.Limits
	server  string
	// headBy is how long a head may take, headLate the answer where it takes longer; nil: for ever.
	headBy   time.Duration
	headLate *reply.Reply
}

// New makes a Manager.
func New(o Options) *Manager {
	m := &Manager{
		config: o.Config, handler: o.Handler, done: o.OnDone, ids: o.Seed.Sub("request-id"), logger: o.Logger,
		limits: http1.Limits{HeadBytes: o.Config.MaxRequestHeaderBytes, Fields: o.Config.MaxRequestHeaders},
		server: o.Config.ServerName,
	}
	m.headBy, m.headLate = headDeadline(o.Config)
	if m.server == "" {
		m.server = "envoy"
	}
	if m.done == nil {
		m.done = func(*message.Request, *message.Response, int, *message.Stream) {}
	}
	if m.logger == nil {
		m.logger = slog.New(slog.DiscardHandler)
	}
	return m
}

// Slot holds the Manager in force. A request takes it once and keeps it to its end.
type Slot struct{ current atomic.Pointer[Manager] }

// NewSlot makes a Slot with a first Manager.
func NewSlot(m *Manager) *Slot {
	s := new(Slot)
	s.current.Store(m)
	return s
}

// Swap puts another Manager in force for the requests to come.
func (s *Slot) Swap(m *Manager) { s.current.Store(m) }

// Connection is one accepted connection, TLS done.
type Connection struct {
	Conn  net.Conn
	Facts *message.Conn
	// Draining, once true, closes the connection after the response in progress or the next one.
	Draining *atomic.Bool
}

// Serve serves the connection to its end and closes it. Cancelling ctx ends the request
// in progress and closes at once.
func (s *Slot) Serve(ctx context.Context, c Connection) {
	if speaksHTTP2(s.current.Load(), c) {
		serveHTTP2(ctx, s, c)
		return
	}
	newSession(s, c).serve(ctx)
}
