package manager

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// tunnelPiece is how much of an upgraded connection one read takes, in bytes.
const tunnelPiece = 16 << 10

// tunnel is a connection, or a stream, after its upgrade: bytes both ways until one side
// closes. As in Envoy, whose codec of HTTP/1 knows no half-closed connections, that ends
// the other side too, once what had come was passed on. The client of a stream may end
// its own direction alone.
type tunnel struct {
	down   io.ReadWriteCloser
	up     io.ReadWriteCloser
	halves bool            // down ends its directions one by one
	idle   time.Duration   // without a byte either way; 0: no limit
	stream *message.Stream // is told why it ended, before the sides are closed
	closed chan struct{}   // when they are

	last           atomic.Int64 // Unix nanoseconds of the last byte
	received, sent atomic.Int64

	mu    sync.Mutex // guards what follows; never held while reading or writing
	over  bool
	timer *time.Timer
}

// newTunnel makes what is the same of all tunnels; down is left to set.
func newTunnel(m *Manager, s *message.Stream, p *message.Response) *tunnel {
	t := &tunnel{up: p.Upgraded, stream: s, idle: m.config.StreamIdleTimeout}
	if p.UpgradedIdle != nil {
		t.idle = *p.UpgradedIdle
	}
	return t
}

// tunnelEnd is when a tunnel has to end; zero: never.
func tunnelEnd(m *Manager, s *message.Stream, p *message.Response) time.Time {
	if !p.UpgradedUntil.IsZero() {
		return p.UpgradedUntil
	}
	return deadlinesOf(m, s.Start, false).stream
}

// run copies to the end. early is what had been read of the client already.
func (t *tunnel) run(early []byte, until time.Time) {
	t.closed = make(chan struct{})
	t.last.Store(time.Now().UnixNano())
	if !until.IsZero() {
		limit := time.AfterFunc(time.Until(until), func() { t.end(message.DurationTimeout, "max_duration_timeout") })
		defer limit.Stop()
	}
	if t.idle > 0 {
		t.mu.Lock()
		t.timer = time.AfterFunc(t.idle, t.checkIdle)
		t.mu.Unlock()
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		clean := false
		if len(early) == 0 || t.pass(t.up, early, &t.received) {
			clean = t.copy(t.up, t.down, &t.received)
		}
		if up, ok := t.up.(interface{ CloseWrite() error }); ok && clean && t.halves && up.CloseWrite() == nil {
			return
		}
		t.end(message.DownstreamConnectionTermination, "downstream_remote_disconnect")
	}()
	if t.copy(t.down, t.up, &t.sent) && t.halves {
		t.end(0, "via_upstream") // a stream ends like any other response
	} else {
		t.end(message.UpstreamConnectionTermination, "upstream_reset_after_response_started{connection_termination}")
	}
	<-finished
	<-t.closed
}

// copy moves bytes one way until its source ends, or its destination; it tells whether
// the source ended well.
func (t *tunnel) copy(dst io.Writer, src io.Reader, count *atomic.Int64) bool {
	piece := make([]byte, tunnelPiece)
	for {
		n, err := src.Read(piece)
		if n > 0 && !t.pass(dst, piece[:n], count) || err != nil {
			return err == io.EOF
		}
	}
}

func (t *tunnel) pass(dst io.Writer, b []byte, count *atomic.Int64) bool {
	t.last.Store(time.Now().UnixNano())
	n, err := dst.Write(b)
	count.Add(int64(n))
	return err == nil
}

// checkIdle runs when the timer fires: it ends the tunnel, or waits for the rest of the time.
func (t *tunnel) checkIdle() {
	if left := t.idle - time.Since(time.Unix(0, t.last.Load())); left > 0 {
		t.mu.Lock()
		if !t.over {
			t.timer.Reset(left)
		}
		t.mu.Unlock()
		return
	}
	t.end(message.StreamIdleTimeout, "stream_idle_timeout")
}

// end closes both sides; the first to call it says why.
func (t *tunnel) end(flag message.Flags, details string) {
	t.mu.Lock()
	first := !t.over
	if first {
		t.over = true
		if t.timer != nil {
			t.timer.Stop()
		}
	}
	t.mu.Unlock()
	if first {
		t.stream.Flags |= flag
		t.stream.Details = details
		_ = t.down.Close()
		_ = t.up.Close()
		close(t.closed)
	}
}
