package proxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/accesslog"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/engine"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/listen"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/manager"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/tcp"
)

// listener is one listener in force with the slots of its HTTP filter chains.
type listener struct {
	*listen.Listener
	config *snapshot.Listener
	slots  map[*snapshot.FilterChain]*manager.Slot
}

// plan is all that an Apply is going to change, built but not in force.
type plan struct {
	listeners []*listener
	swaps     []swap
	sockets   map[netip.AddrPort]*listen.Socket // newly bound
	built     []*listen.Retired                 // what was not in force before
}

// swap is a new manager for a chain that stays.
type swap struct {
	slot *manager.Slot
	next *manager.Manager
}

func (pl *plan) abandon() {
	for _, s := range pl.sockets {
		s.Close()
	}
	for _, l := range pl.built {
		l.Close()
	}
}

// plan builds and binds all that next needs and the proxy has not.
func (p *Proxy) plan(next *snapshot.Proxy) (*plan, error) {
	pl := &plan{sockets: map[netip.AddrPort]*listen.Socket{}}
	for _, config := range next.Listeners {
		if err := p.planListener(pl, config, next.Routes); err != nil {
			pl.abandon()
			return nil, err
		}
	}
	for _, l := range pl.listeners {
		if err := p.bind(pl, l.config); err != nil {
			pl.abandon()
			return nil, err
		}
	}
	return pl, nil
}

// bind opens the addresses of a listener that nobody has opened yet.
func (p *Proxy) bind(pl *plan, config *snapshot.Listener) error {
	if !config.BindToPort {
		return nil
	}
	for _, addr := range config.Addresses() {
		if p.socket[addr] != nil {
			continue
		}
		if pl.sockets[addr] != nil {
			return fmt.Errorf("two listeners bind %v", addr)
		}
		s, err := listen.Open(context.Background(), p.o.Network, addr, p.o.Logger)
		if err != nil {
			return err
		}
		pl.sockets[addr] = s
	}
	return nil
}

func (p *Proxy) planListener(pl *plan, config *snapshot.Listener, routes map[string]*snapshot.RouteConfig) error {
	for _, l := range p.open {
		if !same(l.config, config) {
			continue
		}
		pl.listeners = append(pl.listeners, l)
		for chain, slot := range l.slots {
			m, err := p.manager(chain.HTTP, routes)
			if err != nil {
				return fmt.Errorf("listener %q: %w", config.Name, err)
			}
			pl.swaps = append(pl.swaps, swap{slot, m})
		}
		return nil
	}
	before := p.inPlace(config)
	l, err := p.listener(config, before, routes)
	if err != nil {
		return err
	}
	if before == nil {
		pl.built = append(pl.built, l.Retire(nil))
	} else {
		pl.built = append(pl.built, l.Retire(before.Listener))
		if err := p.keepChains(pl, before, l, routes); err != nil {
			return err
		}
	}
	pl.listeners = append(pl.listeners, l)
	return nil
}

// inPlace returns the listener that a configuration differs from in filter chains only.
// Envoy then drains the connections of the chains that changed or went, and no others
// (listener discovery service: filter chain only update); a listener that differs in
// anything else drains all of its connections.
func (p *Proxy) inPlace(config *snapshot.Listener) *listener {
	without := func(l *snapshot.Listener) snapshot.Listener {
		plain := *l
		plain.Chains, plain.Default = nil, nil
		return plain
	}
	for _, l := range p.open {
		if l.config.Name == config.Name && reflect.DeepEqual(without(l.config), without(config)) {
			return l
		}
	}
	return nil
}

// keepChains takes the slots of the chains that stay over, and plans their new managers.
func (p *Proxy) keepChains(pl *plan, before, l *listener, routes map[string]*snapshot.RouteConfig) error {
	for _, c := range l.Chains() {
		slot := before.slots[c]
		if slot == nil || l.slots[c] != nil {
			continue
		}
		m, err := p.manager(c.HTTP, routes)
		if err != nil {
			return fmt.Errorf("listener %q: %w", l.config.Name, err)
		}
		l.slots[c] = slot
		pl.swaps = append(pl.swaps, swap{slot, m})
	}
	return nil
}

func (p *Proxy) listener(config *snapshot.Listener, before *listener, routes map[string]*snapshot.RouteConfig) (*listener, error) {
	l := &listener{config: config, slots: map[*snapshot.FilterChain]*manager.Slot{}}
	logs, err := accesslog.NewLogger(config.AccessLogs, p.openLog)
	if err != nil {
		return nil, fmt.Errorf("listener %q: %w", config.Name, err)
	}
	var old *listen.Listener
	if before != nil {
		old = before.Listener
	}
	l.Listener, err = listen.New(listen.Options{
		Config: config, Before: old, Secrets: p.o.Secrets, Logger: p.o.Logger,
		NextID: func() uint64 { return p.ids.Add(1) },
		Find:   p.lookup,
		Servers: func(c *snapshot.FilterChain) (listen.Server, error) {
			s, err := p.server(l, c, routes)
			return p.counted(config, c, s), err
		},
		Refused: func(facts *message.Conn, details string) {
			p.unmatched(config)
			s := &message.Stream{Conn: facts, Start: facts.Start, Remote: facts.Remote, Flags: message.NoRouteFound, Details: details}
			if details != "filter_chain_not_found" {
				s.Flags = message.DownstreamProtocolError
			}
			p.log(logs, &accesslog.Exchange{Stream: s, End: time.Now()})
		},
	})
	return l, err
}

// server makes what serves the connections of one filter chain.
func (p *Proxy) server(l *listener, c *snapshot.FilterChain, routes map[string]*snapshot.RouteConfig) (listen.Server, error) {
	if c.TCP != nil {
		logs, err := accesslog.NewLogger(c.TCP.AccessLogs, p.openLog)
		if err != nil {
			return nil, err
		}
		var metrics *engine.Connections
		if c.TCP.IstioStats != nil && p.engine != nil {
			if metrics, err = p.engine.Connections(*c.TCP.IstioStats); err != nil {
				return nil, err
			}
		}
		done := func(s *message.Stream) {
			if metrics != nil {
				metrics.Closed(s)
			}
			p.log(logs, &accesslog.Exchange{Stream: s, End: s.Start.Add(s.Duration)})
		}
		next, err := tcp.New(c.TCP, p.o.Upstream, p.o.Seed, done)
		if err != nil {
			return nil, err
		}
		if metrics != nil {
			next.Opened = metrics.Opened
		}
		if len(c.Guards) == 0 {
			return next, nil
		}
		return p.guard(c.Guards, next, done)
	}
	if c.HTTP == nil {
		return nil, fmt.Errorf("it does neither HTTP nor TCP")
	}
	m, err := p.manager(c.HTTP, routes)
	if err != nil {
		return nil, err
	}
	l.slots[c] = manager.NewSlot(m)
	return httpServer{l.slots[c]}, nil
}

func (p *Proxy) manager(config *snapshot.HTTPManager, routes map[string]*snapshot.RouteConfig) (*manager.Manager, error) {
	handler, err := p.o.Stack.Handler(config, routes)
	if err != nil {
		return nil, err
	}
	logs, err := accesslog.NewLogger(config.AccessLogs, p.openLog)
	if err != nil {
		return nil, err
	}
	o := manager.Options{Config: config, Handler: handler, Seed: p.o.Seed, Logger: p.o.Logger}
	if p.o.AccessLog != nil || len(config.AccessLogs) > 0 || config.Tracing != nil {
		o.OnDone = func(q *message.Request, r *message.Response, status int, s *message.Stream) {
			if s.Span != nil {
				s.Span.End(q, r, status, s)
			}
			p.log(logs, &accesslog.Exchange{Request: q, Response: r, Status: status, Stream: s, End: s.Start.Add(s.Duration)})
		}
	}
	return manager.New(o), nil
}

func (p *Proxy) log(logs *accesslog.Logger, x *accesslog.Exchange) {
	x.Node = p.o.Node
	logs.Log(x)
	if p.o.AccessLog != nil {
		e := accesslog.FromExchange(x)
		if p.o.LogHeader && x.Request != nil {
			e.Header = x.Request.Header.Clone()
		}
		p.o.AccessLog(e)
	}
}

// httpServer is a Slot as a listen.Server.
type httpServer struct{ slot *manager.Slot }

// Serve implements listen.Server.
func (h httpServer) Serve(ctx context.Context, c net.Conn, facts *message.Conn, draining *atomic.Bool) {
	h.slot.Serve(ctx, manager.Connection{Conn: c, Facts: facts, Draining: draining})
}

// commit puts a plan in force. Nothing in it can fail.
func (p *Proxy) commit(pl *plan) {
	for _, s := range pl.swaps {
		s.slot.Swap(s.next)
	}
	before := p.open
	p.open = pl.listeners
	for addr, s := range pl.sockets {
		p.socket[addr] = s
	}
	table := make(map[netip.AddrPort]*listen.Listener, len(p.open))
	bound := make(map[netip.AddrPort]bool, len(p.open))
	for _, l := range p.open {
		for _, addr := range l.config.Addresses() {
			table[addr] = l.Listener
		}
	}
	p.find.Store(&table)
	for _, l := range p.open {
		if l.config.BindToPort {
			for _, addr := range l.config.Addresses() {
				bound[addr] = true
				p.socket[addr].Start(l.Listener)
			}
		}
	}
	for addr, s := range p.socket {
		if !bound[addr] {
			delete(p.socket, addr)
			s.Close()
		}
	}
	next := make(map[string]*listener, len(p.open))
	for _, l := range p.open {
		next[l.config.Name] = l
	}
	for _, l := range before {
		switch successor := next[l.config.Name]; successor {
		case l:
		case nil:
			p.retire(l.Retire(nil))
		default:
			p.retire(l.Retire(successor.Listener))
		}
	}
}

// lookup finds the listener of a redirected connection (use_original_dst): that of the
// exact address, else that of any address with the port.
func (p *Proxy) lookup(dst netip.AddrPort) *listen.Listener {
	table := *p.find.Load()
	for _, address := range listen.Candidates(dst) {
		if l := table[address]; l != nil {
			return l
		}
	}
	return nil
}
