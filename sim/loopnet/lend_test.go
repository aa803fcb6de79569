package loopnet

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx/broker"
)

// toSidecar redirects everything that arrives to port 15006.
type toSidecar struct{}

func (toSidecar) Output(capture.Packet) capture.Verdict { return capture.Verdict{} }

func (toSidecar) Prerouting(capture.Packet) capture.Verdict { return capture.Verdict{Redirect: 15006} }

// lend is a host and its network through a broker, as another process has it.
func lend(t *testing.T, n *Net, name, addr string) (*Host, netx.Network) {
	t.Helper()
	h, err := n.AddHost(name, netip.MustParseAddr(addr))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "network")
	b, err := broker.Serve(path, h.(*Host).Lend(1337, 1337))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return h.(*Host), broker.New(path)
}

// A proxy in another process sees the addresses that one in this process sees.
func TestABorrowedSocketKnowsItsAddresses(t *testing.T) {
	n := New()
	defer n.Close()
	ctx := context.Background()
	server, serverNet := lend(t, n, "server", "10.231.7.2")
	server.SetCapture(toSidecar{})
	_, clientNet := lend(t, n, "client", "10.231.7.3")
	l, err := serverNet.Listen(ctx, "0.0.0.0:15006")
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Addr().String(); got != "0.0.0.0:15006" {
		t.Errorf("the listener is at %s", got)
	}
	if _, err := serverNet.Listen(ctx, "0.0.0.0:15006"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second listener: %v", err)
	}
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	out, err := clientNet.Dial(ctx, "10.231.7.2:9080")
	if err != nil {
		t.Fatal(err)
	}
	in := <-accepted
	if dst, ok := netx.OriginalDst(in); !ok || dst.String() != "10.231.7.2:9080" {
		t.Errorf("the original destination is %v, %v", dst, ok)
	}
	if got := in.RemoteAddr().String(); got != out.LocalAddr().String() || netx.AddrPort(in.RemoteAddr()).Addr().String() != "10.231.7.3" {
		t.Errorf("the client is %s here and %s there", got, out.LocalAddr())
	}
	if _, err := out.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	out.Close()
	if text, err := io.ReadAll(in); err != nil || string(text) != "hello" {
		t.Errorf("got %q, %v", text, err)
	}
	in.Close()
	l.Close()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		again, err := serverNet.Listen(ctx, "0.0.0.0:15006")
		if err == nil {
			again.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a closed listener's port stays taken: %v", err)
		}
	}
}

func TestABrokersErrorsKeepTheirNumber(t *testing.T) {
	n := New()
	defer n.Close()
	_, client := lend(t, n, "client", "10.231.8.3")
	if _, err := client.Dial(context.Background(), "10.231.8.9:80"); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("to nobody: %v", err)
	}
	if _, err := client.Dial(context.Background(), "10.231.8.3:80"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("to a closed port: %v", err)
	}
	if _, err := client.LookupHost(context.Background(), "nobody.example"); err == nil {
		t.Error("a name that nobody has was found")
	}
}
