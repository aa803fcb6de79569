package simnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/sim/fabric"
)

// fixture is a network of hosts a, b and c at 10.0.0.1 to 3.
type fixture struct {
	*Net
	a, b, c fabric.Host
}

func newFixture(t testing.TB, o Options) *fixture {
	t.Helper()
	o.Seed = seed.New(1)
	f := &fixture{Net: New(o)}
	for i, h := range []*fabric.Host{&f.a, &f.b, &f.c} {
		var err error
		if *h, err = f.AddHost(string(rune('a'+i)), netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// bubble runs f in virtual time with a network that is closed at the end.
func bubble(t *testing.T, o Options, f func(*fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newFixture(t, o)
		defer func() {
			n.Close()
			time.Sleep(10 * time.Minute)
		}()
		f(n)
	})
}

func listen(t testing.TB, h fabric.Host, addr string) net.Listener {
	t.Helper()
	l, err := h.Network(0, 0).Listen(context.Background(), addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func dial(t testing.TB, h fabric.Host, addr string) net.Conn {
	t.Helper()
	c, err := h.Network(0, 0).Dial(context.Background(), addr)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func accept(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pair connects a to b.
func (f *fixture) pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l := listen(t, f.b, ":80")
	defer l.Close()
	client = dial(t, f.a, "10.0.0.2:80")
	return client, accept(t, l)
}

func TestNettest(t *testing.T) {
	for _, o := range []Options{{}, {Latency: 50 * time.Microsecond, Jitter: 20 * time.Microsecond}} {
		nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
			f := newFixture(t, o)
			client, server := f.pair(t)
			return client, server, func() { f.Close() }, nil
		})
	}
}

func TestHandshakeCostsARoundTrip(t *testing.T) {
	bubble(t, Options{Latency: 10 * time.Millisecond}, func(f *fixture) {
		l := listen(t, f.b, ":80")
		start := time.Now()
		c := dial(t, f.a, "10.0.0.2:80")
		near(t, "dial", time.Since(start), 20*time.Millisecond)
		s := accept(t, l)
		near(t, "accept", time.Since(start), 30*time.Millisecond)
		if got, want := s.RemoteAddr().String(), "10.0.0.1:32768"; got != want || c.LocalAddr().String() != want {
			t.Errorf("dialler is %s to the listener and %s to itself, want %s", got, c.LocalAddr(), want)
		}
		if got, want := c.RemoteAddr().String(), "10.0.0.2:80"; got != want || s.LocalAddr().String() != want {
			t.Errorf("listener is %s to the dialler and %s to itself, want %s", got, s.LocalAddr(), want)
		}
		if _, ok := netx.OriginalDst(s); ok {
			t.Error("a connection that no rule turned aside has an original destination")
		}
	})
}

// near allows for the draws within a microsecond per segment.
func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if got < want || got > want+5*time.Microsecond {
		t.Errorf("%s took %v, want %v", what, got, want)
	}
}

func TestRefused(t *testing.T) {
	bubble(t, Options{Latency: 5 * time.Millisecond}, func(f *fixture) {
		start := time.Now()
		_, err := f.a.Network(0, 0).Dial(context.Background(), "10.0.0.2:81")
		if !errors.Is(err, syscall.ECONNREFUSED) || err.Error() != "dial tcp 10.0.0.2:81: connect: connection refused" {
			t.Errorf("error is %v", err)
		}
		near(t, "refusal", time.Since(start), 10*time.Millisecond)

		listen(t, f.b, "127.0.0.1:82")
		if _, err := f.a.Network(0, 0).Dial(context.Background(), "10.0.0.2:82"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a loopback listener is reached from outside: %v", err)
		}
		dial(t, f.b, "localhost:82").Close()
	})
}

func TestBlackHole(t *testing.T) {
	bubble(t, Options{}, func(f *fixture) {
		start := time.Now()
		_, err := f.a.Network(0, 0).Dial(context.Background(), "10.0.0.99:80")
		if !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("error is %v", err)
		}
		near(t, "giving up", time.Since(start), 127*time.Second)

		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err = f.a.Network(0, 0).Dial(ctx, "10.0.0.99:80")
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error of a dial with a deadline is %v", err)
		}

		start = time.Now()
		time.AfterFunc(2*time.Second, func() {
			h, err := f.AddHost("late", netip.MustParseAddr("10.0.0.99"))
			if err != nil {
				t.Error(err)
				return
			}
			listen(t, h, ":80")
		})
		dial(t, f.a, "10.0.0.99:80").Close()
		near(t, "a host that comes up", time.Since(start), 3*time.Second)
	})
}

func TestHalfClose(t *testing.T) {
	bubble(t, Options{Latency: time.Millisecond}, func(f *fixture) {
		c, s := f.pair(t)
		c.Write([]byte("question"))
		if err := c.(*Conn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("more")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write after CloseWrite: %v", err)
		}
		if got, err := io.ReadAll(s); err != nil || string(got) != "question" {
			t.Errorf("read %q, %v", got, err)
		}
		s.Write([]byte("answer"))
		s.Close()
		if got, err := io.ReadAll(c); err != nil || string(got) != "answer" {
			t.Errorf("read %q, %v", got, err)
		}
	})
}

func TestCloseWithUnreadDataResets(t *testing.T) {
	bubble(t, Options{Latency: time.Millisecond}, func(f *fixture) {
		c, s := f.pair(t)
		c.Write([]byte("nobody reads this"))
		s.Write([]byte("last words"))
		time.Sleep(5 * time.Millisecond)
		s.Close()
		time.Sleep(5 * time.Millisecond)
		b := make([]byte, 100)
		if n, err := c.Read(b); err != nil || string(b[:n]) != "last words" {
			t.Errorf("what arrived before the reset reads %q, %v", b[:n], err)
		}
		if _, err := c.Read(b); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v", err)
		}
		if _, err := c.Write(b); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write: %v", err)
		}
	})
}

func TestWriteToClosedPeer(t *testing.T) {
	bubble(t, Options{Latency: time.Millisecond}, func(f *fixture) {
		c, s := f.pair(t)
		s.Close()
		time.Sleep(5 * time.Millisecond)
		if _, err := c.Write([]byte("x")); err != nil {
			t.Errorf("the first write cannot know: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
		if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("the second write: %v", err)
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read: %v", err)
		}
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read of the closed end: %v", err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	bubble(t, Options{}, func(f *fixture) {
		c, s := f.pair(t)
		start := time.Now()
		c.SetReadDeadline(start.Add(time.Second))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		c.SetReadDeadline(time.Time{})
		s.Write([]byte("x"))
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Errorf("read after the deadline was lifted: %v", err)
		}
		c.SetWriteDeadline(time.Now().Add(time.Second))
		if n, err := c.Write(make([]byte, 1<<20)); n != window || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("wrote %d, %v: want a full window and a timeout", n, err)
		}
	})
}

func TestBackPressureAndBandwidth(t *testing.T) {
	links := []Link{{From: "a", To: "b", Latency: time.Millisecond, Bandwidth: 1 << 20}}
	bubble(t, Options{Latency: time.Millisecond, Links: links}, func(f *fixture) {
		c, s := f.pair(t)
		sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
		start := time.Now()
		go func() {
			if _, err := c.Write(sent); err != nil {
				t.Error(err)
			}
			c.Close()
		}()
		got, err := io.ReadAll(s)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("got %d bytes of %d, %v", len(got), len(sent), err)
		}
		if d := time.Since(start); d < time.Second || d > 1100*time.Millisecond {
			t.Errorf("1 MiB at 1 MiB/s took %v", d)
		}
	})
}

func TestLossDelaysButLosesNothing(t *testing.T) {
	bubble(t, Options{Latency: time.Millisecond, Loss: 0.3}, func(f *fixture) {
		c, s := f.pair(t)
		start := time.Now()
		go func() {
			for i := range 200 {
				c.Write([]byte{byte(i)})
				time.Sleep(time.Second)
			}
			c.Close()
		}()
		b, late := make([]byte, 1), 0
		for i := range 200 {
			if _, err := io.ReadFull(s, b); err != nil || b[0] != byte(i) {
				t.Fatalf("byte %d is %d, %v", i, b[0], err)
			}
			if time.Since(start) > time.Duration(i)*time.Second+200*time.Millisecond {
				late++
			}
		}
		if late < 40 || late > 80 {
			t.Errorf("%d of 200 segments came late, want about 60", late)
		}
	})
}

func TestHostCloseResetsPeers(t *testing.T) {
	bubble(t, Options{Latency: time.Millisecond}, func(f *fixture) {
		l := listen(t, f.b, ":80")
		c := dial(t, f.a, "10.0.0.2:80")
		s := accept(t, l)
		f.b.Close()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept: %v", err)
		}
		for who, conn := range map[string]net.Conn{"peer": c, "own": s} {
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s end: %v", who, err)
			}
		}
		if _, err := f.b.Network(0, 0).Dial(context.Background(), "10.0.0.1:80"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("dial from a host that is down: %v", err)
		}
		if _, err := f.AddHost("b", netip.MustParseAddr("10.0.0.2")); err != nil {
			t.Errorf("its name and address are not free: %v", err)
		}
	})
}

func TestListenErrors(t *testing.T) {
	bubble(t, Options{}, func(f *fixture) {
		n := f.a.Network(0, 0)
		listen(t, f.a, "10.0.0.1:80")
		listen(t, f.a, "127.0.0.1:80")
		for addr, want := range map[string]error{
			":80": syscall.EADDRINUSE, "127.0.0.1:80": syscall.EADDRINUSE, "10.0.0.2:81": syscall.EADDRNOTAVAIL,
		} {
			if _, err := n.Listen(context.Background(), addr); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", addr, err, want)
			}
		}
		l := listen(t, f.a, ":0")
		if p := netx.AddrPort(l.Addr()).Port(); p < firstPort {
			t.Errorf("port 0 became %d", p)
		}
		if _, err := f.AddHost("x", netip.MustParseAddr("10.0.0.1")); err == nil {
			t.Error("an address was given twice")
		}
	})
}
