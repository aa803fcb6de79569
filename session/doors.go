package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/windtunnel-mesh/windtunnel/sim/world"
)

// Door is a port of 127.0.0.1 that leads to a gateway's port.
type Door struct {
	Local, Remote uint16 // a Local of 0 is any that is free
}

// ParseDoor reads LOCAL or LOCAL:REMOTE, as kubectl's port-forward has it; REMOTE is 80
// where it is left out.
func ParseDoor(text string) (Door, error) {
	local, remote, both := strings.Cut(text, ":")
	d := Door{Remote: 80}
	for _, part := range []struct {
		text string
		to   *uint16
	}{{local, &d.Local}, {remote, &d.Remote}} {
		if !both && part.to == &d.Remote {
			continue
		}
		n, err := strconv.ParseUint(part.text, 10, 16)
		if err != nil || part.to == &d.Remote && n == 0 {
			return d, fmt.Errorf("%q: expected LOCAL or LOCAL:REMOTE, two port numbers", text)
		}
		*part.to = uint16(n)
	}
	return d, nil
}

// doors are the listeners of this machine that lead into the world.
type doors struct {
	ctx     context.Context
	mu      sync.Mutex
	front   []*door             // of 127.0.0.1
	back    map[string]*door    // of Services, by their address in the world
	closed  bool                // nothing opens any more
	active  map[net.Conn]bool   // both ends of what is open
	entries map[uint16][]string // addresses of gateways by port, the one that serves it first
}

// door is one listener.
type door struct {
	net.Listener
	remote uint16 // of a gateway
	local  uint16
}

// openDoors listens on the ports of 127.0.0.1. They answer once they are served.
func openDoors(ctx context.Context, list []Door) (*doors, error) {
	d := &doors{ctx: ctx, back: map[string]*door{}, active: map[net.Conn]bool{}, entries: map[uint16][]string{}}
	for _, one := range list {
		l, err := listen(ctx, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), one.Local))
		if err != nil {
			return nil, errors.Join(err, d.close())
		}
		d.front = append(d.front, &door{Listener: l, remote: one.Remote, local: uint16(l.Addr().(*net.TCPAddr).Port)})
	}
	return d, nil
}

func listen(ctx context.Context, address netip.AddrPort) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	return lc.Listen(ctx, "tcp4", address.String())
}

func (d *doors) list() []Door {
	var all []Door
	for _, f := range d.front {
		all = append(all, Door{f.local, f.remote})
	}
	return all
}

// dialer connects to an address in the world.
type dialer func(ctx context.Context, address string) (net.Conn, error)

// serve lets clients through the front doors.
func (d *doors) serve(tasks *sync.WaitGroup, dial dialer) {
	for _, f := range d.front {
		tasks.Go(func() {
			d.accept(tasks, f, func() string { return d.entry(f.remote) }, dial)
		})
	}
}

// entry is the gateway's address for a port; empty: there is no gateway with it.
func (d *doors) entry(port uint16) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if list := d.entries[port]; len(list) > 0 {
		return list[0]
	}
	return ""
}

func (d *doors) accept(tasks *sync.WaitGroup, l net.Listener, address func() string, dial dialer) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // it was closed
		}
		tasks.Go(func() {
			defer c.Close()
			to := address()
			if to == "" {
				return
			}
			peer, err := dial(d.ctx, to)
			if err != nil {
				return
			}
			defer peer.Close()
			d.join(c, peer)
		})
	}
}

// join copies both ways until both have ended.
func (d *doors) join(a, b net.Conn) {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return
	}
	d.active[a], d.active[b] = true, true
	d.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Go(func() {
			if _, err := io.Copy(way[0], way[1]); err != nil {
				_ = way[1].Close() // who sends to nobody shall hear of it
			}
			if half, ok := way[0].(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite() // it may be closed by its peer
			}
		})
	}
	both.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.active, a)
	delete(d.active, b)
}

// follow has an address for each Service's ports, and none for those that are gone.
func (d *doors) follow(_ context.Context, p *world.Places, tasks *sync.WaitGroup, dial dialer) error {
	wanted := map[string]netip.AddrPort{}
	entries := map[uint16][]string{}
	for _, s := range p.Services {
		for _, port := range s.Ports {
			inside := net.JoinHostPort(s.IP, strconv.Itoa(int(port.Port)))
			if s.Loopback.IsValid() {
				wanted[inside] = netip.AddrPortFrom(s.Loopback, port.Port)
			}
			if s.Gateway && (port.Serves || s.Name == "istio-ingressgateway") {
				// One that serves the port comes first, the mesh's own gateway before others.
				if port.Serves && (s.Name == "istio-ingressgateway" || len(entries[port.Port]) == 0) {
					entries[port.Port] = append([]string{inside}, entries[port.Port]...)
				} else {
					entries[port.Port] = append(entries[port.Port], inside)
				}
			}
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = entries
	for inside, one := range d.back {
		if _, ok := wanted[inside]; !ok {
			_ = one.Close()
			delete(d.back, inside)
		}
	}
	var errs []error
	for inside, address := range wanted {
		if d.back[inside] != nil || d.closed {
			continue
		}
		l, err := listen(d.ctx, address)
		if errors.Is(err, syscall.EACCES) { // a port that is not everybody's
			l, err = listen(d.ctx, netip.AddrPortFrom(address.Addr(), 0))
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		d.back[inside] = &door{Listener: l, local: uint16(l.Addr().(*net.TCPAddr).Port)}
		tasks.Go(func() { d.accept(tasks, l, func() string { return inside }, dial) })
	}
	return errors.Join(errs...)
}

// fill notes the addresses of Services.
func (d *doors) fill(p *world.Places) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range p.Services {
		s := &p.Services[i]
		for k := range s.Ports {
			if one := d.back[net.JoinHostPort(s.IP, strconv.Itoa(int(s.Ports[k].Port)))]; one != nil {
				s.Ports[k].Address = netip.AddrPortFrom(s.Loopback, cmp.Or(one.local, s.Ports[k].Port))
			}
		}
	}
}

// close closes all of them, with what is open.
func (d *doors) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	var errs []error
	for _, f := range d.front {
		errs = append(errs, f.Close())
	}
	for _, one := range d.back {
		errs = append(errs, one.Close())
	}
	for c := range d.active {
		_ = c.Close() // it may be closed already
	}
	return errors.Join(errs...)
}
