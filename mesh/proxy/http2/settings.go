package http2

import (
	"errors"
	"time"

	"golang.org/x/net/http2"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// Settings are what one side of a connection chooses for itself: Envoy's
// http2_protocol_options, as far as they are the codec's.
type Settings struct {
	// StreamWindow and ConnectionWindow are offered to the peer, in bytes; 0: 1 MiB and 16 MiB.
	StreamWindow, ConnectionWindow uint32
	// Keepalive is the time from one PING to the next; 0: none are sent. A PING that is
	// not answered within KeepaliveTimeout ends the connection.
	Keepalive, KeepaliveTimeout time.Duration
}

// ErrKeepalive is the error of a connection whose peer did not answer a PING.
var ErrKeepalive = errors.New("http/2: the peer did not answer a PING in time")

func (s Settings) defaulted() Settings {
	if s.StreamWindow == 0 {
		s.StreamWindow = streamWindow
	}
	if s.ConnectionWindow == 0 {
		s.ConnectionWindow = connectionWindow
	}
	return s
}

// announceWindow gives the connection's window where it is more than the protocol's
// first one, which cannot be less. The lock must be held.
func (c *conn) announceWindow() {
	if more := int64(c.own.ConnectionWindow) - initialWindow; more > 0 {
		must(c.framer.WriteWindowUpdate(0, uint32(more)))
	}
}

// keepAlive begins to send PINGs. The lock must be held.
func (c *conn) keepAlive() {
	if c.own.Keepalive > 0 {
		c.pinger = time.AfterFunc(c.own.Keepalive, c.ping)
	}
}

// ping runs in the timer's goroutine.
func (c *conn) ping() {
	c.mu.Lock()
	if c.err != nil || c.closing {
		c.mu.Unlock()
		return
	}
	if c.unanswered {
		c.mu.Unlock()
		c.fail(ErrKeepalive)
		return
	}
	c.pings++
	c.unanswered = true
	must(c.framer.WritePing(false, c.pingData()))
	c.wake()
	c.pinger.Reset(c.own.KeepaliveTimeout)
	c.mu.Unlock()
}

// pingData tells one PING from the next.
func (c *conn) pingData() (b [8]byte) {
	for i := range b {
		b[i] = byte(c.pings >> (8 * i))
	}
	return b
}

// pong hears of an answered PING. The lock must be held.
func (c *conn) pong(f *http2.PingFrame) {
	if c.unanswered && f.Data == c.pingData() {
		c.unanswered = false
		c.pinger.Reset(c.own.Keepalive)
	}
}

// SettingsOf makes settings of a configuration; jitter is a draw from 0 to 1.
func SettingsOf(o *snapshot.HTTP2Options, jitter float64) Settings {
	return Settings{
		StreamWindow: o.StreamWindow, ConnectionWindow: o.ConnectionWindow, KeepaliveTimeout: o.KeepaliveTimeout,
		Keepalive: o.Keepalive + time.Duration(float64(o.Keepalive)*o.KeepaliveJitter/100*jitter),
	}
}
