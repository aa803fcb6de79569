package netx_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
)

// pair is both ends of a connection of the system's.
func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := netx.System{}.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = netx.System{}.Dial(context.Background(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestSocketWaitsForRoom(t *testing.T) {
	client, server := pair(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	failed := make(chan error, 1)
	go func() {
		for rest := sent; len(rest) > 0; {
			n, err := client.Write(rest[:min(len(rest), 60<<10)])
			if err != nil {
				failed <- err
				return
			}
			rest = rest[n:]
		}
		failed <- client.(interface{ CloseWrite() error }).CloseWrite()
	}()
	time.Sleep(50 * time.Millisecond) // the buffers of both ends are full by now
	got, err := io.ReadAll(struct{ io.Reader }{server})
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("got %d bytes, %v; want %d", len(got), err, len(sent))
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
}

func TestSocketDeadlines(t *testing.T) {
	client, server := pair(t)
	_ = client.SetDeadline(time.Now().Add(20 * time.Millisecond))
	_, err := client.Read(make([]byte, 10))
	var op *net.OpError
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &op) || op.Op != "read" {
		t.Errorf("a late read: %v", err)
	}
	for err = nil; err == nil; {
		_, err = client.Write(make([]byte, 32<<10))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &op) || op.Op != "write" {
		t.Errorf("a late write: %v", err)
	}
	_ = client.SetDeadline(time.Time{})
	go func() { _, _ = server.Write([]byte("late")) }()
	if n, err := client.Read(make([]byte, 10)); n != 4 || err != nil {
		t.Errorf("after the deadline was taken back: %d, %v", n, err)
	}
}

func TestSocketEnds(t *testing.T) {
	client, server := pair(t)
	_ = server.(*netx.Socket).SetLinger(0)
	server.Close()
	if _, err := client.Read(make([]byte, 10)); err == nil || err == io.EOF {
		t.Errorf("a reset reads as %v", err)
	}
	client.Close()
	if _, err := client.Read(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed socket reads as %v", err)
	}
	if _, err := client.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed socket writes as %v", err)
	}
	client, server = pair(t)
	server.Close()
	if n, err := client.Read(make([]byte, 10)); n != 0 || err != io.EOF {
		t.Errorf("an end reads as %d, %v", n, err)
	}
}

func TestSocketSilent(t *testing.T) {
	silent := func(c net.Conn) bool { return c.(interface{ Silent() bool }).Silent() }
	for what, end := range map[string]func(net.Conn){
		"bytes": func(c net.Conn) { _, _ = c.Write([]byte("x")) },
		"end":   func(c net.Conn) { c.Close() },
		"reset": func(c net.Conn) { _ = c.(*netx.Socket).SetLinger(0); c.Close() },
	} {
		client, server := pair(t)
		if !silent(client) {
			t.Errorf("%s: not silent before", what)
		}
		end(server)
		deadline := time.Now().Add(time.Minute)
		for silent(client) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: not seen", what)
			}
			time.Sleep(time.Millisecond)
		}
	}
}
