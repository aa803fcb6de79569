package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/accesslog"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/http1"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// fakes stand for the upstream half: every request goes to one address, over kept
// connections; the route configuration's name comes back in a field.
type fakes struct {
	target netip.AddrPort
	idle   chan *upstreamConn
	fail   string // name of a route configuration that cannot be built

	mu       sync.Mutex
	clusters []string
}

type upstreamConn struct {
	net.Conn
	r *http1.Reader
	w *http1.Writer
}

func newFakes(target netip.AddrPort) *fakes {
	return &fakes{target: target, idle: make(chan *upstreamConn, 100)}
}

func (f *fakes) Handler(m *snapshot.HTTPManager, _ map[string]*snapshot.RouteConfig) (message.Handler, error) {
	if f.fail != "" && m.RouteConfig == f.fail {
		return nil, fmt.Errorf("route configuration %q is broken", f.fail)
	}
	return message.HandlerFunc(func(ctx context.Context, q *message.Request) (*message.Response, error) {
		return f.forward(m.RouteConfig, q)
	}), nil
}

func (f *fakes) forward(routes string, q *message.Request) (*message.Response, error) {
	c, err := f.get()
	if err != nil {
		return nil, &reply.Reply{Status: 503, Flag: message.UpstreamConnectionFailure, Body: err.Error()}
	}
	if err = c.w.WriteRequest(q); err == nil {
		var p *message.Response
		if p, err = c.r.ReadResponse(q.Method); err == nil {
			p.Header.Add("x-routes", routes)
			p.Body = &returning{p.Body, f, c}
			return p, nil
		}
	}
	_ = c.Close()
	return nil, &reply.Reply{Status: 503, Flag: message.UpstreamConnectionTermination, Body: err.Error()}
}

func (f *fakes) get() (*upstreamConn, error) {
	select {
	case c := <-f.idle:
		return c, nil
	default:
	}
	c, err := net.Dial("tcp", f.target.String())
	if err != nil {
		return nil, err
	}
	return &upstreamConn{c, http1.NewReader(c), http1.NewWriter(c)}, nil
}

// returning gives its connection back when it is closed.
type returning struct {
	message.Body
	f *fakes
	c *upstreamConn
}

func (b *returning) Ready() bool { return message.Ready(b.Body) }

func (b *returning) Close() error {
	if b.c.r.KeepAlive() {
		b.f.idle <- b.c
		return nil
	}
	return b.c.Close()
}

func (f *fakes) UpdateClusters(clusters map[string]*snapshot.Cluster) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clusters = append(f.clusters, fmt.Sprint(len(clusters)))
	return nil
}

func (f *fakes) Connect(context.Context, *message.Conn, string) (net.Conn, netip.AddrPort, error) {
	c, err := net.Dial("tcp", f.target.String())
	return c, f.target, err
}

func (f *fakes) Tunnel(ctx context.Context, s *message.Stream, _ *snapshot.Tunnel) (io.ReadWriteCloser, error) {
	c, _, err := f.Connect(ctx, s.Conn, s.Cluster)
	return c, err
}

func config(version, routes string, listeners ...*snapshot.Listener) *snapshot.Proxy {
	if listeners == nil {
		listeners = []*snapshot.Listener{httpListener("in", routes)}
	}
	return &snapshot.Proxy{Version: version, Listeners: listeners, Clusters: map[string]*snapshot.Cluster{version: {Name: version}}}
}

func httpListener(name, routes string) *snapshot.Listener {
	return &snapshot.Listener{Name: name, Address: netip.MustParseAddrPort("127.0.0.1:0"), BindToPort: true,
		Default: &snapshot.FilterChain{HTTP: &snapshot.HTTPManager{RouteConfig: routes, NormalizePath: true, GenerateRequestID: true, ServerName: "istio-envoy"}}}
}

func tcpListener(name string) *snapshot.Listener {
	return &snapshot.Listener{Name: name, Address: netip.MustParseAddrPort("127.0.0.2:0"), BindToPort: true,
		Default: &snapshot.FilterChain{TCP: &snapshot.TCPProxy{Clusters: []snapshot.WeightedCluster{{Name: "c"}}, IdleTimeout: time.Minute}}}
}

// backend answers every request with the same bytes, as fast as it can.
func backend(tb testing.TB) netip.AddrPort {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = ln.Close() })
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nX-Upstream: v1\r\n\r\nhello")
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 4096)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					if bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
						_, _ = c.Write(answer)
					}
				}
			}()
		}
	}()
	return netx.AddrPort(ln.Addr())
}

func start(tb testing.TB, sink accesslog.Sink) (*Proxy, *fakes) {
	f := newFakes(backend(tb))
	p := New(Options{Network: netx.System{}, Seed: seed.New(1), Stack: f, Upstream: f, AccessLog: sink})
	tb.Cleanup(func() { _ = p.Close() })
	return p, f
}

func get(t *testing.T, c *http.Client, addr netip.AddrPort) (routes string) {
	t.Helper()
	p, err := c.Get("http://" + addr.String() + "/x")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Body.Close()
	if content, err := io.ReadAll(p.Body); p.StatusCode != 200 || string(content) != "hello" || err != nil {
		t.Fatalf("%s %q %v", p.Status, content, err)
	}
	return p.Header.Get("X-Routes")
}

func TestApply(t *testing.T) {
	entries := make(chan accesslog.Entry, 10)
	p, f := start(t, func(e accesslog.Entry) { entries <- e })
	if err := p.Apply(config("1", "r1")); err != nil {
		t.Fatal(err)
	}
	addr, ok := p.Addr("in")
	if !ok {
		t.Fatal("no address")
	}
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	if got := get(t, client, addr); got != "r1" {
		t.Fatal(got)
	}
	if e := <-entries; e.Status != 200 || e.Method != "GET" || e.BytesSent != 5 || e.Path != "/x" || e.Listener != "in" {
		t.Fatalf("%+v", e)
	}
	// A configuration that cannot be built changes nothing.
	f.fail = "bad"
	if err := p.Apply(config("2", "bad")); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Fatal(err)
	}
	if got := get(t, client, addr); got != "r1" || p.Snapshot().Version != "1" {
		t.Fatal(got)
	}
	// Another configuration keeps the port; the old connection drains.
	if err := p.Apply(config("3", "r3")); err != nil {
		t.Fatal(err)
	}
	if now, _ := p.Addr("in"); now != addr {
		t.Fatalf("the port moved from %v to %v", addr, now)
	}
	get(t, client, addr) // by the old listener still
	if got := get(t, client, addr); got != "r3" {
		t.Fatalf("after draining: %q", got)
	}
	// An added listener binds; a removed one unbinds.
	if err := p.Apply(config("4", "", httpListener("in", "r3"), tcpListener("tcp"))); err != nil {
		t.Fatal(err)
	}
	tcpAddr, _ := p.Addr("tcp")
	if got := get(t, client, tcpAddr); got != "" {
		t.Fatal(got)
	}
	if err := p.Apply(config("5", "r3")); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", tcpAddr.String()); err == nil {
		t.Fatal("a removed listener still accepts")
	}
	if got := strings.Join(f.clusters, " "); got != "1 2 1 2 1 2 1" {
		t.Fatalf("clusters were set to %s", got)
	}
}

// No request fails while configurations come and go.
func TestApplyUnderLoad(t *testing.T) {
	p, _ := start(t, nil)
	if err := p.Apply(config("0", "r0")); err != nil {
		t.Fatal(err)
	}
	addr, _ := p.Addr("in")
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: false}}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				response, err := client.Get("http://" + addr.String() + "/")
				if err != nil {
					t.Errorf("a request failed: %v", err)
					return
				}
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
				if response.StatusCode != 200 {
					t.Errorf("a request got %s", response.Status)
				}
			}
		})
	}
	for i := range 20 {
		if err := p.Apply(config(fmt.Sprint(i), fmt.Sprint("r", i/2))); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	close(stop)
	clients.Wait()
}

// whole is a configuration for the proxy's own engine.
func whole(target netip.AddrPort) *snapshot.Proxy {
	slash := "/"
	breaker := snapshot.Breaker{MaxConnections: 1024, MaxPending: 1024, MaxRequests: 1024, MaxRetries: 3}
	forward := &snapshot.Forward{Clusters: []snapshot.WeightedCluster{{Name: "c", Weight: 1}}, NotFoundStatus: 503}
	c := config("whole", "r", httpListener("in", "r"), tcpListener("tcp"))
	c.Listeners[0].Default.HTTP.Filters = []snapshot.Filter{snapshot.Router{}}
	c.Routes = map[string]*snapshot.RouteConfig{"r": {Name: "r", VirtualHosts: []*snapshot.VirtualHost{{Name: "v", Domains: []string{"*"},
		Routes: []*snapshot.Route{{Name: "all", Match: snapshot.RouteMatch{Prefix: &slash}, Forward: forward}}}}}}
	c.Clusters = map[string]*snapshot.Cluster{"c": {Name: "c", ConnectTimeout: time.Minute, Breaker: [2]snapshot.Breaker{breaker, breaker},
		Endpoints: []*snapshot.Locality{{Weight: 1, Endpoints: []*snapshot.Endpoint{{Address: target, Weight: 1}}}}}}
	return c
}

func TestWhole(t *testing.T) {
	entries := make(chan accesslog.Entry, 10)
	p := New(Options{Network: netx.System{}, Seed: seed.New(1), AccessLog: func(e accesslog.Entry) { entries <- e }})
	if err := p.Apply(whole(backend(t))); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: new(http.Transport)}
	for _, name := range []string{"in", "tcp"} {
		addr, _ := p.Addr(name)
		get(t, client, addr)
		client.CloseIdleConnections()
		if e := <-entries; e.Listener != name || e.Cluster != "c" || e.Flags != "-" || !e.UpstreamHost.IsValid() || e.BytesSent == 0 {
			t.Errorf("%+v", e)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(whole(netip.AddrPort{})); err == nil {
		t.Fatal("a closed proxy took a configuration")
	}
}

// BenchmarkProxy compares the proxy with net/http's own on one core: one client, one kept
// connection, a small response.
func BenchmarkProxy(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	b.Run("windtunnel", func(b *testing.B) {
		p := New(Options{Network: netx.System{}, Seed: seed.New(1)})
		defer p.Close()
		if err := p.Apply(whole(backend(b))); err != nil {
			b.Fatal(err)
		}
		addr, _ := p.Addr("in")
		load(b, addr)
	})
	b.Run("ReverseProxy", func(b *testing.B) {
		target := backend(b)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		server := &http.Server{Handler: httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: target.String()})}
		go func() { _ = server.Serve(ln) }()
		defer server.Close()
		load(b, netx.AddrPort(ln.Addr()))
	})
	b.Run("direct", func(b *testing.B) { load(b, backend(b)) })
}

func load(b *testing.B, addr netip.AddrPort) {
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	request := []byte("GET /productpage?u=normal HTTP/1.1\r\nHost: productpage:9080\r\nUser-Agent: bench\r\nAccept: */*\r\nX-B3-Sampled: 0\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				b.Fatal(err)
			}
			if len(line) == 2 {
				break
			}
		}
		if _, err := r.Discard(5); err != nil {
			b.Fatal(err)
		}
	}
}

// Resolve implements tcp.Upstream.
func (f *fakes) Resolve(context.Context, string, string, string) error { return nil }
