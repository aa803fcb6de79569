// Package listen accepts connections, finds out what they are and hands each to the
// filter chain that matches. Configurations come in as snapshot.Listener, sockets from
// a netx.Network; connections with their facts go out to a Server. It knows neither HTTP
// requests nor clusters, and must not import anything of them.
package listen

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/secret"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// Server serves one connection to its end and closes it. draining asks it to come to
// an end soon.
type Server interface {
	Serve(ctx context.Context, c net.Conn, facts *message.Conn, draining *atomic.Bool)
}

// Options are what a Listener is made of.
type Options struct {
	Config *snapshot.Listener
	// Servers makes the server of each filter chain.
	Servers func(*snapshot.FilterChain) (Server, error)
	// Find gives the listener that a redirected connection is for, or nil; used where
	// UseOriginalDst is set.
	Find    func(netip.AddrPort) *Listener
	Secrets secret.Source
	// Before is the listener in whose place this one comes, or nil. Filter chains that
	// both have stay, and their connections with them.
	Before *Listener
	// NextID numbers connections.
	NextID func() uint64
	// Refused hears of connections that no filter chain took, with the reason; may be nil.
	Refused func(facts *message.Conn, details string)
	Logger  *slog.Logger
}

// Listener is one configuration in force. It has no socket: a Socket gives it
// connections, or another listener does.
type Listener struct {
	o        Options
	matcher  matcher[chain]
	matched  []*chain
	fallback *chain
	life     *lifetime // of connections that no chain has yet
}

type chain struct {
	config *snapshot.FilterChain
	tls    *terminator
	server Server
	life   *lifetime
}

// New builds a listener; what it cannot do it refuses by name.
func New(o Options) (*Listener, error) {
	l := &Listener{o: o, life: newLifetime()}
	for _, c := range o.Config.Chains {
		built, err := l.chain(c)
		if err == nil {
			err = l.matcher.add(c.Match, built)
			l.matched = append(l.matched, built)
		}
		if err != nil {
			return nil, fmt.Errorf("listener %q: filter chain %q: %w", o.Config.Name, c.Name, err)
		}
	}
	if c := o.Config.Default; c != nil {
		built, err := l.chain(c)
		if err != nil {
			return nil, fmt.Errorf("listener %q: default filter chain: %w", o.Config.Name, err)
		}
		l.fallback = built
	}
	l.o.Before = nil // it is not needed any more
	return l, nil
}

// chains are all filter chains, the default one last.
func (l *Listener) chains() []*chain {
	if l.fallback == nil {
		return l.matched
	}
	return append(slices.Clip(l.matched), l.fallback)
}

// Chains are the configurations of the filter chains in force. One that stayed when the
// listener changed is the very one that the listener before had.
func (l *Listener) Chains() []*snapshot.FilterChain {
	var list []*snapshot.FilterChain
	for _, c := range l.chains() {
		list = append(list, c.config)
	}
	return list
}

// same tells whether two filter chains do the same; the line that somebody wrote them
// on does not count.
func same(a, b *snapshot.FilterChain) bool {
	x, y := *a, *b
	x.Source, y.Source = "", ""
	return reflect.DeepEqual(&x, &y)
}

func (l *Listener) chain(c *snapshot.FilterChain) (*chain, error) {
	if before := l.o.Before; before != nil {
		for _, old := range before.chains() {
			if old.config == c || same(old.config, c) {
				return old, nil
			}
		}
	}
	server, err := l.o.Servers(c)
	if err != nil {
		return nil, err
	}
	built := &chain{config: c, server: server, life: newLifetime()}
	if c.TLS != nil {
		if built.tls, err = newTerminator(c, l.o.Secrets); err != nil {
			return nil, err
		}
	}
	return built, nil
}

// Config is what the listener was made of.
func (l *Listener) Config() *snapshot.Listener { return l.o.Config }

// Active is the number of its connections.
func (l *Listener) Active() int64 { return l.Retire(nil).Active() }

// Drain asks all connections to end with their next response.
func (l *Listener) Drain() { l.Retire(nil).Drain() }

// Close ends all connections at once and waits for them.
func (l *Listener) Close() { l.Retire(nil).Close() }

// serve takes a connection over; it returns when the connection is done, or false at
// once where the listener is closed and the connection somebody else's.
func (l *Listener) serve(c net.Conn) bool {
	facts := &message.Conn{ID: l.o.NextID(), Start: time.Now(), Remote: netx.AddrPort(c.RemoteAddr()), Local: netx.AddrPort(c.LocalAddr())}
	redirected := false
	if l.o.Config.OriginalDst || l.o.Config.UseOriginalDst {
		var dst netip.AddrPort
		if dst, redirected = netx.OriginalDst(c); redirected {
			facts.Local, facts.Restored = dst, true
		}
	}
	if l.o.Config.UseOriginalDst && redirected {
		for other := l.o.Find(facts.Local); other != nil && other != l; {
			if other.handle(c, facts) {
				return true
			}
			next := l.o.Find(facts.Local)
			if next == other {
				return false
			}
			other = next
		}
	}
	return l.handle(c, facts)
}

func (l *Listener) handle(c net.Conn, facts *message.Conn) bool {
	if !l.life.enter() {
		return false
	}
	facts.Listener, facts.Inbound = l.o.Config.Name, l.o.Config.Inbound
	peeked := &peekConn{Conn: c}
	chosen, seen := l.choose(c, peeked, facts)
	if chosen == nil || !chosen.life.enter() {
		_ = c.Close()
		l.life.leave()
		return true
	}
	l.life.leave() // it is the chain's now
	defer chosen.life.leave()
	stop := context.AfterFunc(chosen.life.ctx, func() { _ = c.Close() })
	defer stop()
	l.run(chosen, c, peeked, seen, facts)
	return true
}

// choose finds out what a connection is, and the filter chain for it; nil for none.
func (l *Listener) choose(c net.Conn, peeked *peekConn, facts *message.Conn) (*chain, inspected) {
	stop := context.AfterFunc(l.life.ctx, func() { _ = c.Close() })
	defer stop()
	if l.o.Config.ProxyProtocol {
		if err := unwrap(peeked, l.o.Config, facts); err != nil {
			if err == errNoHeader || err == errBadHeader {
				l.refuse(facts, "proxy_protocol_error")
			}
			return nil, inspected{}
		}
	}
	seen, err := inspect(peeked, l.o.Config, facts.Local.Port())
	if err != nil {
		return nil, seen
	}
	chosen := l.matcher.find(subject{facts.Local, seen.serverName, seen.transport, seen.protocols, facts.Remote})
	if chosen == nil {
		chosen = l.fallback
	}
	if chosen == nil {
		l.refuse(facts, "filter_chain_not_found")
	}
	return chosen, seen
}

func (l *Listener) run(chosen *chain, c net.Conn, peeked *peekConn, seen inspected, facts *message.Conn) {
	if len(peeked.ahead) > 0 {
		c = peeked
	}
	if chosen.tls == nil {
		if seen.serverName != "" {
			facts.RequestedServerName = seen.serverName
		}
		chosen.server.Serve(chosen.life.ctx, c, facts, &chosen.life.draining)
		return
	}
	secured, tls, err := chosen.tls.handshake(chosen.life.ctx, c)
	if err != nil {
		l.o.Logger.Debug("TLS handshake failed", "listener", l.o.Config.Name, "remote", facts.Remote, "error", err)
		l.refuse(facts, "tls_handshake_failed")
		_ = c.Close()
		return
	}
	facts.TLS, facts.RequestedServerName = tls, tls.ServerName
	chosen.server.Serve(chosen.life.ctx, secured, facts, &chosen.life.draining)
}

func (l *Listener) refuse(facts *message.Conn, details string) {
	if l.o.Refused != nil {
		l.o.Refused(facts, details)
	}
}

// Socket is an open port that gives its connections to the listener in force for it,
// so that one configuration follows another without a moment in which nobody listens.
type Socket struct {
	listener net.Listener
	target   atomic.Pointer[Listener]
	finished chan struct{}
	logger   *slog.Logger
}

// Open binds the address. Nothing is accepted before Start.
func Open(ctx context.Context, network netx.Network, addr netip.AddrPort, logger *slog.Logger) (*Socket, error) {
	ln, err := network.Listen(ctx, addr.String())
	if err != nil {
		return nil, fmt.Errorf("listening on %v: %w", addr, err)
	}
	return &Socket{listener: ln, finished: make(chan struct{}), logger: logger}, nil
}

// Addr is the bound address.
func (s *Socket) Addr() netip.AddrPort { return netx.AddrPort(s.listener.Addr()) }

// Start gives connections to l from now on.
func (s *Socket) Start(l *Listener) {
	if s.target.Swap(l) == nil {
		go s.accept()
	}
}

// Close unbinds. Connections stay with their listener.
func (s *Socket) Close() {
	_ = s.listener.Close()
	if s.target.Load() != nil {
		<-s.finished
	}
}

// acceptPause follows a failed accept, as when file descriptors have run out.
const acceptPause = 50 * time.Millisecond

func (s *Socket) accept() {
	defer close(s.finished)
	for {
		c, err := s.listener.Accept()
		if err == nil {
			go s.serve(c)
			continue
		}
		if t, ok := err.(interface{ Temporary() bool }); !ok || !t.Temporary() {
			return
		}
		s.logger.Warn("accept failed", "address", s.Addr(), "error", err)
		time.Sleep(acceptPause)
	}
}

// serve gives a connection to the listener in force, also where that changes meanwhile.
func (s *Socket) serve(c net.Conn) {
	for {
		l := s.target.Load()
		if l.serve(c) {
			return
		}
		if s.target.Load() == l {
			_ = c.Close()
			return
		}
	}
}
