// Package tcp forwards the bytes of connections: one comes in with its facts, one goes
// out to a cluster, and when both are over the facts go to Done. It knows no HTTP; how
// a cluster is reached is Upstream's.
package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/accesslog"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// Upstream connects to an endpoint of a cluster. Its error may be a *reply.Reply with
// the response flag.
type Upstream interface {
	Connect(ctx context.Context, downstream *message.Conn, cluster string) (net.Conn, netip.AddrPort, error)
	// Tunnel opens a tunnel through an endpoint of the stream's cluster, by a request of
	// HTTP, and notes in the stream what it learns of the endpoint.
	Tunnel(ctx context.Context, s *message.Stream, t *snapshot.Tunnel) (io.ReadWriteCloser, error)
	// Resolve has a name resolved for a cluster by name.
	Resolve(ctx context.Context, cluster, cache, authority string) error
}

// Done is told of every connection when it is over.
type Done func(*message.Stream)

// Proxy is Envoy's tcp_proxy filter.
type Proxy struct {
	// Opened, where set, is told of every connection that has reached its cluster.
	Opened Done

	config   *snapshot.TCPProxy
	upstream Upstream
	seed     seed.Seed
	done     Done
	total    uint64 // of the weights
}

// New makes a Proxy. The seed, with a connection's number, picks weighted clusters.
func New(config *snapshot.TCPProxy, upstream Upstream, s seed.Seed, done Done) (*Proxy, error) {
	p := &Proxy{config: config, upstream: upstream, seed: s.Sub("tcp/" + config.StatPrefix), done: done}
	for _, c := range config.Clusters {
		p.total += uint64(c.Weight)
	}
	switch {
	case len(config.Clusters) == 0:
		return nil, errors.New("tcp proxy: no cluster")
	case len(config.Clusters) > 1 && p.total == 0:
		return nil, errors.New("tcp proxy: the weights of its clusters add up to nothing")
	}
	return p, check(config.Tunnel)
}

// check finds formats that are not valid before a connection does.
func check(t *snapshot.Tunnel) error {
	if t == nil {
		return nil
	}
	texts := []string{t.Hostname}
	for _, op := range t.Headers.Set {
		texts = append(texts, op.Value)
	}
	for _, text := range texts {
		if _, err := accesslog.CompileFormat(text); err != nil {
			return fmt.Errorf("tcp proxy: tunnel: %w", err)
		}
	}
	return nil
}

// Serve implements listen.Server. Draining lets the connection live until it is closed.
func (p *Proxy) Serve(ctx context.Context, down net.Conn, facts *message.Conn, _ *atomic.Bool) {
	if p.config.HashSourceIP {
		hashed := *facts
		hashed.HashKey = facts.Remote.Addr().String()
		facts = &hashed
	}
	cluster := p.pick(facts.ID)
	if f := p.config.ByName; f != nil && facts.RequestedServerName != "" {
		forwarded := *facts
		forwarded.ForwardTo = net.JoinHostPort(facts.RequestedServerName, strconv.Itoa(int(f.Port)))
		facts = &forwarded
		_ = p.upstream.Resolve(ctx, cluster, f.Cache, forwarded.ForwardTo) // of a name without an address the cluster has no host
	}
	s := &message.Stream{Conn: facts, Start: facts.Start, Remote: facts.Remote, Cluster: cluster}
	up, err := p.connect(ctx, s)
	if err != nil {
		s.Flags |= flagOf(err)
		if p.config.MaxConnectAttempts > 1 || s.Flags&message.UpstreamConnectionFailure != 0 {
			s.Flags |= message.UpstreamRetryLimitExceeded
		}
		_ = down.Close()
	} else {
		if p.Opened != nil {
			p.Opened(s)
		}
		p.forward(ctx, down, up, s)
	}
	s.Duration = time.Since(s.Start)
	if p.done != nil {
		p.done(s)
	}
}

// pick chooses a cluster by weight, the same for the same connection number.
func (p *Proxy) pick(id uint64) string {
	if len(p.config.Clusters) == 1 {
		return p.config.Clusters[0].Name
	}
	draw := p.seed.At(id) % p.total
	for _, c := range p.config.Clusters {
		if draw < uint64(c.Weight) {
			return c.Name
		}
		draw -= uint64(c.Weight)
	}
	panic("tcp: a draw beyond the sum of weights")
}

// connect tries as often as max_connect_attempts says, once by default.
func (p *Proxy) connect(ctx context.Context, s *message.Stream) (up io.ReadWriteCloser, err error) {
	for range max(p.config.MaxConnectAttempts, 1) {
		s.Attempts++
		if p.config.Tunnel != nil {
			up, err = p.upstream.Tunnel(ctx, s, p.config.Tunnel)
		} else {
			up, err = p.plain(ctx, s)
		}
		if err == nil || ctx.Err() != nil {
			return up, err
		}
		if flagOf(err) != message.UpstreamConnectionFailure {
			return nil, err // no cluster, no host, overflow: another try meets the same
		}
	}
	s.TransportFailure = err.Error()
	return nil, err
}

// plain connects without a tunnel.
func (p *Proxy) plain(ctx context.Context, s *message.Stream) (io.ReadWriteCloser, error) {
	up, host, err := p.upstream.Connect(ctx, s.Conn, s.Cluster)
	s.UpstreamHost = host
	if err != nil {
		return nil, err
	}
	s.UpstreamLocal = netx.AddrPort(up.LocalAddr())
	if secured, ok := up.(interface{ Identities() (local, peer string) }); ok {
		s.UpstreamIdentity, s.UpstreamPeer = secured.Identities()
	}
	return up, nil
}

func flagOf(err error) message.Flags {
	var r *reply.Reply
	if errors.As(err, &r) && r.Flag != 0 {
		return r.Flag
	}
	return message.UpstreamConnectionFailure
}

// pieceSize is how much one read takes.
const pieceSize = 32 << 10

// flow is one forwarded connection.
type flow struct {
	down, up io.ReadWriteCloser
	idle     time.Duration
	last     atomic.Int64 // Unix nanoseconds of the last byte
	timer    *time.Timer
}

// forward copies both ways until both directions have ended. The end of one is passed on
// as a half-close; an error, a time without a byte longer than the idle timeout, or the
// end of ctx ends both.
func (p *Proxy) forward(ctx context.Context, down net.Conn, up io.ReadWriteCloser, s *message.Stream) {
	f := &flow{down: down, up: up, idle: p.config.IdleTimeout}
	f.last.Store(time.Now().UnixNano())
	if f.idle > 0 {
		started := make(chan struct{})
		f.timer = time.AfterFunc(f.idle, func() {
			<-started
			f.checkIdle()
		})
		close(started)
		defer f.timer.Stop()
	}
	stop := context.AfterFunc(ctx, f.close)
	defer stop()
	received := make(chan int64)
	go func() { received <- f.copy(up, down) }()
	s.BytesSent = f.copy(down, up)
	s.BytesReceived = <-received
	f.close()
}

func (f *flow) close() {
	_ = f.down.Close()
	_ = f.up.Close()
}

// checkIdle runs when the timer fires: it closes, or waits for the rest of the time.
func (f *flow) checkIdle() {
	if left := f.idle - time.Since(time.Unix(0, f.last.Load())); left > 0 {
		f.timer.Reset(left)
		return
	}
	f.close()
}

// copy moves bytes one way and returns how many arrived.
func (f *flow) copy(dst io.Writer, src io.Reader) (total int64) {
	buf := make([]byte, pieceSize)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			f.last.Store(time.Now().UnixNano())
			k, err := dst.Write(buf[:n])
			total += int64(k)
			if err != nil {
				f.close()
				return total
			}
		}
		if err == nil {
			continue
		}
		half, ok := dst.(interface{ CloseWrite() error })
		if err != io.EOF || !ok || half.CloseWrite() != nil {
			f.close()
		}
		return total
	}
}
