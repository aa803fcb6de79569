package loopnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/sim/fabric"
)

// fixture is a network of hosts a and b at 10.251.7.1 and 2.
func fixture(t *testing.T) (n *Net, a, b *Host) {
	t.Helper()
	n = New()
	t.Cleanup(func() { n.Close() })
	var hosts []*Host
	for i, name := range []string{"a", "b"} {
		h, err := n.AddHost(name, netip.AddrFrom4([4]byte{10, 251, 7, byte(i + 1)}))
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h.(*Host))
	}
	return n, hosts[0], hosts[1]
}

func listen(t *testing.T, h fabric.Host, addr string) net.Listener {
	t.Helper()
	l, err := h.Network(0, 0).Listen(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// connect dials as a user and accepts.
func connect(t *testing.T, h fabric.Host, uid int, source, addr string, l net.Listener) (client, server net.Conn) {
	t.Helper()
	var from netip.Addr
	if source != "" {
		from = netip.MustParseAddr(source)
	}
	client, err := h.Network(uid, uid).DialFrom(t.Context(), from, addr)
	if err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

func check(t *testing.T, what string, c net.Conn, local, remote, original string) {
	t.Helper()
	matches := func(got net.Addr, want string) bool {
		return got.String() == want || strings.HasSuffix(want, ":") && strings.HasPrefix(got.String(), want)
	}
	if !matches(c.LocalAddr(), local) || !matches(c.RemoteAddr(), remote) {
		t.Errorf("%s: %s > %s, want %s > %s", what, c.LocalAddr(), c.RemoteAddr(), local, remote)
	}
	got := ""
	if dst, ok := netx.OriginalDst(c); ok {
		got = dst.String()
	}
	if got != original {
		t.Errorf("%s: original destination %q, want %q", what, got, original)
	}
}

func TestNettest(t *testing.T) {
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		n, a, b := fixture(t)
		client, server := connect(t, a, 0, "", "10.251.7.2:8080", listen(t, b, ":8080"))
		return client, server, func() { n.Close() }, nil
	})
}

// rules redirect as a sidecar's do: out to 15001 but for uid 1337, in to 15006.
type rules struct{}

func (rules) Output(p capture.Packet) capture.Verdict {
	if p.UID == 1337 || p.Loopback {
		return capture.Verdict{}
	}
	return capture.Verdict{Redirect: 15001}
}

func (rules) Prerouting(p capture.Packet) capture.Verdict { return capture.Verdict{Redirect: 15006} }

func TestCapture(t *testing.T) {
	_, a, b := fixture(t)
	a.SetCapture(rules{})
	b.SetCapture(rules{})
	outbound, inbound, app := listen(t, a, "127.0.0.1:15001"), listen(t, b, ":15006"), listen(t, b, ":8080")

	c, s := connect(t, a, 1000, "", "10.96.0.1:80", outbound)
	check(t, "dialler", c, "10.251.7.1:", "10.96.0.1:80", "")
	check(t, "outbound", s, "127.0.0.1:15001", c.LocalAddr().String(), "10.96.0.1:80")

	c, s = connect(t, a, 1337, "", "10.251.7.2:8080", inbound)
	check(t, "proxy", c, "10.251.7.1:", "10.251.7.2:8080", "")
	check(t, "inbound", s, "10.251.7.2:15006", c.LocalAddr().String(), "10.251.7.2:8080")

	c, s = connect(t, b, 1337, "127.0.0.6", "10.251.7.2:8080", app)
	check(t, "passthrough", c, "127.0.0.6:", "10.251.7.2:8080", "")
	check(t, "app", s, "10.251.7.2:8080", c.LocalAddr().String(), "")

	go func() {
		fmt.Fprint(c, "over a socket")
		c.(interface{ CloseWrite() error }).CloseWrite()
	}()
	if got, err := io.ReadAll(s); err != nil || string(got) != "over a socket" {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestServicesAndErrors(t *testing.T) {
	n, a, b := fixture(t)
	n.SetResolver(func(fabric.Process, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("10.96.0.1")}, nil
	})
	n.SetServiceAddress(func(_ fabric.Host, dst netip.AddrPort) (netip.AddrPort, bool, error) {
		return netip.MustParseAddrPort("10.251.7.2:8080"), dst.Addr() == netip.MustParseAddr("10.96.0.1"), nil
	})
	c, s := connect(t, a, 0, "", "svc:80", listen(t, b, ":8080"))
	check(t, "dialler", c, "10.251.7.1:", "10.96.0.1:80", "")
	check(t, "endpoint", s, "10.251.7.2:8080", c.LocalAddr().String(), "")

	listen(t, b, "127.0.0.1:8081")
	for addr, want := range map[string]error{
		"10.251.7.2:8081": syscall.ECONNREFUSED, // on loopback only
		"10.251.7.2:8082": syscall.ECONNREFUSED,
		"10.251.9.9:80":   syscall.EHOSTUNREACH,
	} {
		if _, err := a.Network(0, 0).Dial(t.Context(), addr); !errors.Is(err, want) || !strings.Contains(err.Error(), addr) {
			t.Errorf("%s: %v, want %v", addr, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Network(0, 0).Dial(ctx, "10.251.7.2:8080"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if len(n.dialled) != 0 {
		t.Errorf("%d flows are still announced", len(n.dialled))
	}
}

func TestPortTakenNamesAddressAndPort(t *testing.T) {
	_, a, _ := fixture(t)
	other, err := net.Listen("tcp4", "127.251.7.1:8090")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	_, err = a.Network(0, 0).Listen(t.Context(), ":8090")
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "127.251.7.1:8090") {
		t.Errorf("taken by another process: %v", err)
	}
	listen(t, a, ":8091")
	if _, err = a.Network(0, 0).Listen(t.Context(), "127.0.0.1:8091"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("taken by the host itself: %v", err)
	}
}

func TestForeignClientAndHostClose(t *testing.T) {
	n, a, b := fixture(t)
	l := listen(t, b, ":8080")
	browser, err := net.Dial("tcp4", b.Real(8080).String())
	if err != nil {
		t.Fatal(err)
	}
	defer browser.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	check(t, "browser", s, "10.251.7.2:8080", browser.LocalAddr().String(), "")

	c, _ := connect(t, a, 0, "", "10.251.7.2:8080", l)
	b.Close()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("peer of a host that went down: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
	if _, err := n.AddHost("b", b.Addr()); err != nil {
		t.Errorf("its name and address are not free: %v", err)
	}
	for _, addr := range []string{"10.0.0.7", "8.8.8.8", "fd00::1", b.Addr().String()} {
		if _, err := n.AddHost("x", netip.MustParseAddr(addr)); err == nil {
			t.Errorf("%s was accepted", addr)
		}
	}
}
