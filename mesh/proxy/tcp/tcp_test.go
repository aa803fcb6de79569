package tcp

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// connector is an Upstream that fails first and then gives conn.
type connector struct {
	errs  []error
	conn  net.Conn
	asked []string
	hash  string
	// resolved and to are the names that were resolved, and where the connection went.
	resolved []string
	to       string
}

func (c *connector) Tunnel(ctx context.Context, s *message.Stream, _ *snapshot.Tunnel) (io.ReadWriteCloser, error) {
	up, _, err := c.Connect(ctx, s.Conn, s.Cluster)
	return up, err
}

func (c *connector) Connect(_ context.Context, d *message.Conn, cluster string) (net.Conn, netip.AddrPort, error) {
	c.hash, c.to = d.HashKey, d.ForwardTo
	c.asked = append(c.asked, cluster)
	if n := len(c.asked); n <= len(c.errs) {
		return nil, netip.AddrPort{}, c.errs[n-1]
	}
	return c.conn, netip.MustParseAddrPort("10.0.0.2:3306"), nil
}

func run(t *testing.T, config snapshot.TCPProxy, up *connector) (client net.Conn, finished <-chan *message.Stream) {
	t.Helper()
	done := make(chan *message.Stream, 1)
	p, err := New(&config, up, seed.New(1), func(s *message.Stream) { done <- s })
	if err != nil {
		t.Fatal(err)
	}
	client, server := net.Pipe()
	go p.Serve(t.Context(), server, &message.Conn{ID: 1, Start: time.Now(), Remote: netip.MustParseAddrPort("10.0.0.9:4000")}, nil)
	return client, done
}

func TestForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		up := &connector{conn: near}
		client, done := run(t, snapshot.TCPProxy{Clusters: []snapshot.WeightedCluster{{Name: "db"}}, IdleTimeout: time.Minute}, up)
		go func() {
			_, _ = client.Write([]byte("ping"))
		}()
		buf := make([]byte, 4)
		if _, err := io.ReadFull(far, buf); err != nil || string(buf) != "ping" {
			t.Fatalf("%q %v", buf, err)
		}
		time.Sleep(50 * time.Second)
		go func() { _, _ = far.Write([]byte("pong!")) }()
		if _, err := io.ReadFull(client, buf); err != nil || string(buf) != "pong" {
			t.Fatalf("%q %v", buf, err)
		}
		_, _ = io.ReadFull(client, buf[:1])
		begin := time.Now()
		if _, err := far.Read(buf); err != io.EOF || time.Since(begin) != time.Minute { // the idle timeout counts from the last byte
			t.Fatalf("%v after %v", err, time.Since(begin))
		}
		if s := <-done; s.BytesReceived != 4 || s.BytesSent != 5 || s.Cluster != "db" || s.UpstreamHost.Port() != 3306 || s.Flags != 0 || s.Duration != 110*time.Second {
			t.Fatalf("%+v", s)
		}
	})
}

// pair is two ends of a loopback connection, which can be half-closed.
func pair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if a, err = net.Dial("tcp", ln.Addr().String()); err == nil {
		b, err = ln.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

func TestHalfClose(t *testing.T) {
	near, far := pair(t)
	client, server := pair(t)
	done := make(chan *message.Stream, 1)
	p, err := New(&snapshot.TCPProxy{Clusters: []snapshot.WeightedCluster{{Name: "db"}}}, &connector{conn: near}, seed.New(1), func(s *message.Stream) { done <- s })
	if err != nil {
		t.Fatal(err)
	}
	go p.Serve(t.Context(), server, &message.Conn{ID: 1, Start: time.Now()}, nil)
	_, _ = client.Write([]byte("question"))
	_ = client.(*net.TCPConn).CloseWrite()
	if question, err := io.ReadAll(far); string(question) != "question" || err != nil {
		t.Fatalf("%q %v", question, err)
	}
	_, _ = far.Write([]byte("answer")) // after the other direction has ended
	_ = far.Close()
	if answer, err := io.ReadAll(client); string(answer) != "answer" || err != nil {
		t.Fatalf("%q %v", answer, err)
	}
	if s := <-done; s.BytesReceived != 8 || s.BytesSent != 6 {
		t.Fatalf("%+v", s)
	}
}

func TestConnectFailures(t *testing.T) {
	refused := &reply.Reply{Flag: message.UpstreamConnectionFailure}
	tests := map[string]struct {
		errs     []error
		attempts int
		asked    int
		flags    string
	}{
		"refused":    {[]error{refused}, 0, 1, "UF,URX"},
		"twice":      {[]error{refused, refused}, 2, 2, "UF,URX"},
		"no cluster": {[]error{&reply.Reply{Flag: message.NoClusterFound}}, 1, 1, "NC"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			up := &connector{errs: test.errs}
			client, done := run(t, snapshot.TCPProxy{Clusters: []snapshot.WeightedCluster{{Name: "db"}}, MaxConnectAttempts: test.attempts}, up)
			if _, err := client.Read(make([]byte, 1)); err != io.EOF {
				t.Error(err)
			}
			if s := <-done; s.Flags.String() != test.flags || len(up.asked) != test.asked {
				t.Errorf("%v after %d tries", s.Flags, len(up.asked))
			}
		})
	}
}

func TestWeights(t *testing.T) {
	p, err := New(&snapshot.TCPProxy{Clusters: []snapshot.WeightedCluster{{Name: "a", Weight: 90}, {Name: "b", Weight: 10}}}, nil, seed.New(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	b := 0
	for id := range uint64(10000) {
		if p.pick(id) == "b" {
			b++
		}
	}
	if b < 900 || b > 1100 {
		t.Fatalf("%d of 10000 went to the tenth", b)
	}
	if _, err := New(&snapshot.TCPProxy{Clusters: []snapshot.WeightedCluster{{Name: "a"}, {Name: "b"}}}, nil, seed.New(1), nil); err == nil {
		t.Fatal("weights of nothing were taken")
	}
}

func TestHashOfTheClient(t *testing.T) {
	for want, config := range map[string]snapshot.TCPProxy{
		"":         {Clusters: []snapshot.WeightedCluster{{Name: "db"}}},
		"10.0.0.9": {Clusters: []snapshot.WeightedCluster{{Name: "db"}}, HashSourceIP: true},
	} {
		near, far := net.Pipe()
		up := &connector{conn: near}
		client, done := run(t, config, up)
		_, _ = client.Close(), far.Close()
		if <-done; up.hash != want {
			t.Errorf("the balancer goes by %q, want %q", up.hash, want)
		}
	}
}

// Resolve implements Upstream; no name has an address.
func (c *connector) Resolve(_ context.Context, cluster, cache, authority string) error {
	c.resolved = append(c.resolved, cluster+" "+cache+" "+authority)
	return &reply.Reply{Status: 503, Flag: message.DNSFailure}
}

// The server name says where a connection goes; that it has no address the cluster tells.
func TestServerNameIsResolved(t *testing.T) {
	for name, want := range map[string]string{"a.example.com": "c cache a.example.com:8443", "": ""} {
		up := &connector{errs: []error{&reply.Reply{Flag: message.NoHealthyUpstream}}}
		config := snapshot.TCPProxy{Clusters: []snapshot.WeightedCluster{{Name: "c"}}, ByName: &snapshot.SNIForward{Cache: "cache", Port: 8443}}
		var done *message.Stream
		p, err := New(&config, up, seed.New(1), func(s *message.Stream) { done = s })
		if err != nil {
			t.Fatal(err)
		}
		_, server := net.Pipe()
		p.Serve(t.Context(), server, &message.Conn{ID: 1, RequestedServerName: name}, nil)
		if got := strings.Join(up.resolved, ", "); got != want || !strings.HasSuffix(want, up.to) || done.Flags != message.NoHealthyUpstream {
			t.Errorf("server name %q: resolved %q, went to %q, flags %v", name, got, up.to, done.Flags)
		}
	}
}
